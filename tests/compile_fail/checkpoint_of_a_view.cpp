// A saved state must not point into the object that is gone by then.
// expect-error: ray: an actor's checkpoint() cannot return a pointer, std::string_view or std::span
#include <ray/ray.hpp>

#include <string>
#include <string_view>

struct Name {
  void set(std::string to) { text = std::move(to); }
#ifdef TWIN
  std::string checkpoint() const { return text; }
#else
  std::string_view checkpoint() const { return text; }
#endif
  void restore(std::string_view saved) { text = saved; }
  std::string text;
};

void call() { ray::remote<&Name::set>(ray::actor<Name>(), "x"); }
