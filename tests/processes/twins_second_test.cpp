// The second file of twins_test.cpp.
#include "support/catch.hpp"

#include <ray/ray.hpp>

#include <string>

static int twin(int number) { return number + 10; }

int second_twin(const ray::RuntimeOptions& options);
std::string second_twin_refused(ray::Runtime& rt);

int second_twin(const ray::RuntimeOptions& options) {
  ray::Runtime rt(options);
  return rt.get(rt.remote<twin>(1));
}

std::string second_twin_refused(ray::Runtime& rt) {
  try {
    return std::to_string(rt.get(rt.remote<twin>(1)));
  } catch (const ray::UnknownFunctionError& error) {
    return error.what();
  }
}
