// Tasks in processes of their own. Notice: the functions and calls are those of any other program,
// only the option says where they run; a crash ends the task that crashes and nothing else; each
// process has globals of its own; and plain structs cross by themselves.
#include <ray/ray.hpp>

#include <cstdio>
#include <cstdlib>
#include <string>

struct Page {
  int number = 0;
  std::string text;
};

int rendered = 0;  // Of this process: the workers' own copies count, the driver's does not.

std::string render(const Page& page) {
  ++rendered;
  if (page.text.empty()) std::abort();  // As a bug in somebody's library would.
  return std::to_string(page.number) + ": " + page.text;
}

int main() {
  // A worker is this program once more: it comes to this line too, and goes no further.
  ray::init({.isolation = ray::Isolation::processes});

  auto good = ray::remote<render>(Page{.number = 1, .text = "once upon a time"});
  auto bad = ray::remote<render>.options({.max_retries = 0})(Page{.number = 2, .text = ""});

  std::printf("%s\n", ray::get(good).c_str());
  try {
    ray::get(bad);
    return 1;
  } catch (const ray::WorkerCrashedError& error) {
    std::fprintf(stderr, "%s\n", error.what());
    std::printf("page 2 is not there, its worker crashed\n");
  }
  auto next = ray::remote<render>(Page{.number = 3, .text = "and they lived"});
  std::printf("%s\n", ray::get(next).c_str());
  std::printf("rendered here: %d\n", rendered);
}
