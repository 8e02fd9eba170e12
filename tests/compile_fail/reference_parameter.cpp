// Objects are immutable: nobody could see what a task writes through a reference.
// expect-error: ray: this parameter is a non-const reference, and a task cannot change
// expect-error: CheckArgument<1
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
