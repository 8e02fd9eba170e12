// A small program of somebody else.
#include <ray/ray.hpp>

#include <cstdio>
#include <string>

int twice(int x);  // in second.cpp, where it is called as a task too
int second();

int main() {
  const int first = ray::get(ray::remote<twice>(ray::put(20)));
  const std::string version = RAY_VERSION_STRING;
  std::printf("ray %s: %d\n", version.c_str(), first + second());
  return 0;
}
