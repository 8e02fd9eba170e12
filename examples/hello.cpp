// The tutorial in one page. Notice: functions are ordinary functions; remote<f>(...) starts a task
// and returns a reference at once; a reference goes in wherever its value would, and that alone
// says which task waits for which; get() waits and gives the value.
#include <ray/ray.hpp>

#include <cstdio>
#include <string>
#include <tuple>

int add(int a, int b) { return a + b; }
std::tuple<int, int, int> three() { return {1, 2, 3}; }
std::string greet(const std::string& name, int n) { return name + " " + std::to_string(n); }

int main() {
  ray::init();

  ray::ObjectRef<std::string> x = ray::put(std::string("example"));
  ray::ObjectRef<int> a = ray::remote<add>(1, 2);            // by value
  ray::ObjectRef<int> b = ray::remote<add>(1, ray::put(2));  // by reference, mixed freely
  ray::ObjectRef<int> c = ray::remote<add>(a, b);            // runs when a and b are there
  auto [p, q, r] = ray::remote<three>();                     // one reference per element
  ray::ObjectRef<std::string> text = ray::remote<greet>(x, c);

  std::printf("%s, and %d + %d + %d\n", ray::get(text).c_str(), ray::get(p), ray::get(q),
              ray::get(r));  // example 6, and 1 + 2 + 3
  return ray::get(text) == "example 6" ? 0 : 1;
}
