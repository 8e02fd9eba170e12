// A class whose state can be saved says how it comes back.
// expect-error: ray: an actor's class with checkpoint() also needs `void restore(const State&)`
#include <ray/ray.hpp>

#include <vector>

struct Diary {
  void write(int line) { lines.push_back(line); }
  std::vector<int> checkpoint() const { return lines; }
#ifdef TWIN
  void restore(std::vector<int> saved) { lines = std::move(saved); }
#else
  void restore(int saved) { lines.assign(1, saved); }
#endif
  std::vector<int> lines;
};

void call() { ray::remote<&Diary::write>(ray::actor<Diary>(), 1); }
