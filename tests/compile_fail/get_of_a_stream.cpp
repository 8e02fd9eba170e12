// A stream is read item by item.
// expect-error: ray: get of a stream: read its items with next() or a for loop
#include <ray/ray.hpp>

void call(ray::ObjectRefStream<int>& stream) {
#ifdef TWIN
  for (const auto& ref : stream) ray::get(ref);
#else
  ray::get(stream);
#endif
}
