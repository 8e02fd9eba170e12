// Objects are immutable: nobody could see what a task writes through a reference.
// expect-error: ray: argument 1 goes to a parameter that is a non-const reference, and a task
// cannot expect-error: Argument<1>
#include <ray/ray.hpp>

#include <string>

void append(std::string& text) { text += "!"; }
std::string appended(std::string text) { return text + "!"; }

void call() {
  std::string text = "text";
#ifdef TWIN
  ray::remote<appended>(text);
#else
  ray::remote<append>(text);
#endif
}
