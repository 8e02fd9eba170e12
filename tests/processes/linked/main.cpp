// A program whose tasks run in processes, as a user links it: with -flto, with --gc-sections, with
// tasks in a shared library. A worker must know each function that the driver calls.
#include "library.hpp"

#include <unistd.h>

#include <cstdio>

namespace {

int twice(int number) { return 2 * number; }

int call_on(int number) { return ray::get(ray::remote<twice>(number)) + 1; }

}  // namespace

int main(int argc, char** argv) {
  ray::init(argc, argv, {.num_cpus = 2, .isolation = ray::Isolation::processes});
  const library::Answer answer = ray::get(ray::remote<library::answer>("yes"));
  const auto counter = ray::actor<library::Counter>(5);
  const int sum = ray::get(ray::remote<&library::Counter::add>(counter, 2));
  const int nested = ray::get(ray::remote<call_on>(4));
  const int there = library::submit_here(7);
  const bool right =
      answer.text == "yes!" && answer.pid != ::getpid() && sum == 7 && nested == 9 && there == 21;
  std::printf("%s %d %d %d: %s\n", answer.text.c_str(), sum, nested, there,
              right ? "right" : "wrong");
  return right ? 0 : 1;
}
