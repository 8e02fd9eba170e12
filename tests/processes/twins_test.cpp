// Two functions of one name, each of which only its own file can see: a process that is told the
// name cannot know which is meant. The other is in twins_second_test.cpp.
#include "support/catch.hpp"

#include <ray/ray.hpp>

#include <string>

int second_twin(const ray::RuntimeOptions& options);  // In the other file.
std::string second_twin_refused(ray::Runtime& rt);

static int twin(int number) { return number + 1; }
static int only_here(int number) { return number + 2; }

namespace {

template <class Ref>
std::string refusal(ray::Runtime& rt, const Ref& ref) {
  try {
    return std::to_string(rt.get(ref));
  } catch (const ray::UnknownFunctionError& error) {
    return error.what();
  }
}

}  // namespace

TEST_CASE("two functions of one name in two files are refused where they must cross") {
  ray::Runtime rt({.num_cpus = 1, .isolation = ray::Isolation::processes});
  const std::string first = refusal(rt, rt.remote<twin>(1));
  INFO(first);
  CHECK(first.find("'twin' cannot be called in another process") != std::string::npos);
  CHECK(first.find("two files of the program have a function of this name") != std::string::npos);
  CHECK(first.find("name one of them otherwise") != std::string::npos);
  CHECK(second_twin_refused(rt) == first);
  CHECK(refusal(rt, rt.remote<only_here>(1)) == "3");
}

TEST_CASE("two functions of one name in two files are two in threads") {
  const ray::RuntimeOptions threads{.num_cpus = 1};
  {
    ray::Runtime rt(threads);
    CHECK(rt.get(rt.remote<twin>(1)) == 2);
  }
  CHECK(second_twin(threads) == 11);
}
