// What a task throws comes out of get as itself, goes to every dependent, and says where it was.
#include "support/catch.hpp"

#include <ray/ray.hpp>

#include "api/probes.hpp"

#include <new>
#include <stdexcept>
#include <string>
#include <system_error>
#include <thread>
#include <vector>

namespace errors_test {

namespace {

using probes::kDeadline;

/// Comes back from another process as itself, for it says how.
struct OwnError : std::runtime_error {
  explicit OwnError(const std::string& text = {}, int number = 0)
      : std::runtime_error(text), code(number) {}
  template <class Archive>
  void save(Archive& archive) const {
    archive(std::string(what()), code);
  }
  template <class Archive>
  void load(Archive& archive) {
    std::string text;
    archive(text, code);
    static_cast<std::runtime_error&>(*this) = std::runtime_error(text);
  }
  int code;
};
const bool registered = (ray::register_exception<OwnError>(), true);
struct NotAnException {
  int number;
};

int throws_own(int code) { throw OwnError("own", code); }
int throws_logic() { throw std::logic_error("logic"); }
int throws_system() { throw std::system_error(std::make_error_code(std::errc::io_error), "disk"); }
int throws_bad_alloc() { throw std::bad_alloc(); }
int throws_int() { throw 42; }
int throws_text() { throw "text"; }
int throws_struct() { throw NotAnException{7}; }
int throws_error() { throw ray::Error("an error of ray"); }
int throws_long() { throw std::runtime_error(std::string(1'000'000, 'x')); }
void void_throws() { throw std::range_error("void"); }
int next(int x) { return x + 1; }
int add(int a, int b) { return a + b; }

probes::Shared<int> runs;
int counted(int x) {
  ++runs;
  return x;
}

struct BadCopy {
  BadCopy() = default;
  BadCopy(const BadCopy&) { throw std::runtime_error("will not be copied"); }
  BadCopy(BadCopy&&) noexcept = default;
  BadCopy& operator=(const BadCopy&) = default;
  BadCopy& operator=(BadCopy&&) = default;
  ~BadCopy() = default;
};
int takes_bad_copy(BadCopy) { return 1; }

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

}  // namespace

TEST_CASE("get throws what the task threw, in its own type") {
  ray::Runtime rt({.num_cpus = 1});
  CHECK_THROWS_AS(rt.get(rt.remote<throws_logic>()), std::logic_error);
  CHECK_THROWS_AS(rt.get(rt.remote<throws_bad_alloc>()), std::bad_alloc);
  CHECK_THROWS_AS(rt.get(rt.remote<throws_system>()), std::system_error);
  CHECK_THROWS_AS(rt.get(rt.remote<throws_error>()), ray::Error);
  CHECK_THROWS_AS(rt.get(rt.remote<void_throws>()), std::range_error);
  try {
    rt.get(rt.remote<throws_own>(17));
    FAIL("nothing was thrown");
  } catch (const OwnError& error) {
    CHECK(error.code == 17);
    CHECK(std::string(error.what()) == "own");
  }
}

// In threads only: such a one cannot be sent.
TEST_CASE("what is not an exception of the standard library comes out as itself too", "[threads]") {
  ray::Runtime rt({.num_cpus = 1});
  try {
    rt.get(rt.remote<throws_int>());
    FAIL("nothing was thrown");
  } catch (int number) {
    CHECK(number == 42);
  }
  try {
    rt.get(rt.remote<throws_struct>());
    FAIL("nothing was thrown");
  } catch (const NotAnException& thrown) {
    CHECK(thrown.number == 7);
  }
  CHECK_THROWS_AS(rt.get(rt.remote<throws_text>()), const char*);
}

TEST_CASE("get throws every time, for every reference and in every form") {
  ray::Runtime rt({.num_cpus = 1});
  const auto bad = rt.remote<throws_logic>();
  const auto good = rt.put(1);
  for (int i = 0; i < 3; ++i) CHECK_THROWS_AS(rt.get(bad), std::logic_error);
  CHECK_THROWS_AS(rt.get(bad, kDeadline), std::logic_error);
  CHECK_THROWS_AS(rt.get(std::vector{good, bad}), std::logic_error);
  CHECK_THROWS_AS(rt.get(good, bad), std::logic_error);
  CHECK_THROWS_AS(rt.get(ray::ObjectRef<int>(bad)), std::logic_error);
}

TEST_CASE("the text of an error names the type, the message and the task") {
  ray::Runtime rt({.num_cpus = 1});
  const auto result = rt.try_get(rt.remote<throws_own>(1));
  REQUIRE_FALSE(result.has_value());
  const std::string text = result.error().what();
  CHECK(contains(text, "own"));
  CHECK(contains(text, "OwnError"));
  CHECK(contains(text, "throws_own"));
  const auto not_std = rt.try_get(rt.remote<throws_struct>());
  CHECK(contains(not_std.error().what(), "NotAnException"));
}

TEST_CASE("try_get gives a TaskError with the type, the trail and the original") {
  ray::Runtime rt({.num_cpus = 1});
  const auto first = rt.remote<throws_own>(3);
  const auto second = rt.remote<next>(first);
  const auto result = rt.try_get(second);
  REQUIRE_FALSE(result.has_value());
  const auto* error = dynamic_cast<const ray::TaskError*>(&result.error());
  REQUIRE(error != nullptr);
  CHECK(contains(error->type_name(), "OwnError"));
  REQUIRE(error->trail().size() == 2);
  CHECK(contains(error->trail()[0], "throws_own"));
  CHECK(contains(error->trail()[1], "next"));
  CHECK_THROWS_AS(std::rethrow_exception(error->cause()), OwnError);
}

TEST_CASE("a task that depends on a failed object fails with it and does not run") {
  ray::Runtime rt({.num_cpus = 1});
  const auto bad = rt.remote<throws_own>(5);
  const auto child = rt.remote<counted>(bad);
  const auto grandchild = rt.remote<counted>(child);
  const auto mixed = rt.remote<add>(rt.put(1), grandchild);
  CHECK_THROWS_AS(rt.get(child), OwnError);
  CHECK_THROWS_AS(rt.get(grandchild), OwnError);
  CHECK_THROWS_AS(rt.get(mixed), OwnError);
  CHECK_THROWS_AS(rt.get(rt.remote<counted>(bad)), OwnError);
  CHECK(runs == 0);
}

TEST_CASE("an error in a task within a task comes out through both") {
  static constexpr auto inner = [](int code) -> int { throw OwnError("inner", code); };
  constexpr auto outer = [](int code) { return ray::get(ray::remote<inner>(code)) + 1; };
  constexpr auto handles = [](int code) {
    try {
      return ray::get(ray::remote<inner>(code));
    } catch (const OwnError& error) {
      return -error.code;
    }
  };
  ray::Runtime rt({.num_cpus = 1});
  CHECK_THROWS_AS(rt.get(rt.remote<outer>(6)), OwnError);
  CHECK(rt.get(rt.remote<handles>(6)) == -6);
}

TEST_CASE("a failed object may be passed as a reference itself") {
  constexpr auto looks = [](ray::ObjectRef<int> ref) { return !ray::try_get(ref).has_value(); };
  ray::Runtime rt({.num_cpus = 1});
  CHECK(rt.get(rt.remote<looks>(rt.remote<throws_logic>())));
}

TEST_CASE("the failure of a chain of 100,000 reaches its end without deep recursion") {
  static probes::Gate gate;
  constexpr auto fails_late = []() -> int {
    gate.pass();
    throw OwnError("first", 1);
  };
  const int length = probes::scaled(100'000);
  ray::Runtime rt({.num_cpus = 1});
  const probes::OpenAtExit guard(gate);
  auto ref = rt.remote<fails_late>();
  std::vector<ray::ObjectRef<int>> all;
  for (int i = 0; i < length; ++i) {
    ref = rt.remote<next>(ref);
    if (i % 1000 == 0) all.push_back(ref);
  }
  gate.open();
  CHECK_THROWS_AS(rt.get(ref, kDeadline), OwnError);
  for (const auto& each : all) CHECK_THROWS_AS(rt.get(each, kDeadline), OwnError);
  const auto result = rt.try_get(ref);
  CHECK(std::string(result.error().what()).size() < 100'000);
}

TEST_CASE("a failure fans out to 10,000 dependents") {
  static probes::Gate gate;
  constexpr auto fails_late = []() -> int {
    gate.pass();
    throw OwnError("first", 1);
  };
  ray::Runtime rt({.num_cpus = 2});
  const probes::OpenAtExit guard(gate);
  const auto bad = rt.remote<fails_late>();
  std::vector<ray::ObjectRef<int>> refs;
  for (int i = 0; i < probes::scaled(10'000); ++i) refs.push_back(rt.remote<next>(bad));
  gate.open();
  int failed = 0;
  for (const auto& ref : refs) failed += rt.try_get(ref).has_value() ? 0 : 1;
  CHECK(failed == probes::scaled(10'000));
}

TEST_CASE("a very long text is cut in an error that quotes it") {
  ray::Runtime rt({.num_cpus = 1});
  const auto result = rt.try_get(rt.remote<throws_long>());
  REQUIRE_FALSE(result.has_value());
  CHECK(std::string(result.error().what()).size() <= 70'000);
}

// In threads only: no argument is copied where it is sent.
TEST_CASE("a copy that throws while arguments are prepared fails the task", "[threads]") {
  ray::Runtime rt({.num_cpus = 1});
  const auto ref = rt.put(BadCopy());
  CHECK_THROWS_AS(rt.get(rt.remote<takes_bad_copy>(ref)), std::runtime_error);
  CHECK(rt.get(rt.remote<next>(1)) == 2);
}

TEST_CASE("a worker goes on after a thousand tasks that threw") {
  ray::Runtime rt({.num_cpus = 2});
  std::vector<ray::ObjectRef<int>> refs;
  for (int i = 0; i < 1000; ++i) refs.push_back(rt.remote<throws_own>(i));
  int sum = 0;
  for (const auto& ref : refs) {
    try {
      rt.get(ref);
    } catch (const OwnError& error) {
      sum += error.code;
    }
  }
  CHECK(sum == 999 * 500);
  CHECK(rt.get(rt.remote<next>(1)) == 2);
}

TEST_CASE("several threads may look at one failure at a time") {
  ray::Runtime rt({.num_cpus = 1});
  const auto bad = rt.remote<throws_own>(1);
  std::atomic<int> seen{0};
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&] {
      for (int k = 0; k < 100; ++k) {
        try {
          rt.get(bad);
        } catch (const OwnError& error) {
          seen += error.code;
        }
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  CHECK(seen == 400);
}

TEST_CASE("every error of the library is an Error with a code of its own") {
  static_assert(std::is_base_of_v<std::runtime_error, ray::Error>);
  static_assert(std::is_base_of_v<ray::Error, ray::TaskError>);
  static_assert(std::is_base_of_v<ray::ObjectLostError, ray::OwnerDiedError>);
  CHECK_THROWS_AS(throw ray::TaskCancelledError("x"), ray::Error);
  CHECK_THROWS_AS(throw ray::GetTimeoutError("x"), ray::Error);
  CHECK_THROWS_AS(throw ray::WorkerCrashedError("x"), ray::Error);
  CHECK_THROWS_AS(throw ray::NodeDiedError("x"), ray::Error);
  CHECK_THROWS_AS(throw ray::ActorDiedError("x"), ray::Error);
  CHECK_THROWS_AS(throw ray::ActorUnavailableError("x"), ray::Error);
  CHECK_THROWS_AS(throw ray::OwnerDiedError("x"), ray::ObjectLostError);
  CHECK_THROWS_AS(throw ray::ObjectStoreFullError("x"), ray::Error);
  CHECK_THROWS_AS(throw ray::OutOfMemoryError("x"), ray::Error);
  CHECK_THROWS_AS(throw ray::OutOfDiskError("x"), ray::Error);
  CHECK_THROWS_AS(throw ray::SerializationError("x"), ray::Error);
  CHECK_THROWS_AS(throw ray::UnknownFunctionError("x"), ray::Error);
  CHECK_THROWS_AS(throw ray::UnschedulableError("x"), ray::Error);
  CHECK_THROWS_AS(throw ray::DeadlockError("x"), ray::Error);
  CHECK_THROWS_AS(throw ray::PendingCallsLimitExceededError("x"), ray::Error);
  CHECK_THROWS_AS(throw ray::InvalidArgumentError("x"), ray::Error);
  CHECK_THROWS_AS(throw ray::ConnectionError("x"), ray::Error);
  CHECK_THROWS_AS(throw ray::AuthenticationError("x"), ray::Error);
  CHECK(ray::DeadlockError("x").code() != ray::TaskCancelledError("x").code());
}

}  // namespace errors_test
