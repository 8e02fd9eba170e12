// Generators: streams that fill while their task runs, and hold it back when nobody reads.
#include "support/catch.hpp"

#include <ray/ray.hpp>

#include "api/probes.hpp"

#include <iterator>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

namespace generator_test {

namespace {

using probes::eventually;
using probes::kDeadline;

ray::Generator<int> count_to(int n) {
  for (int i = 0; i < n; ++i) co_yield i;
}
ray::Generator<int> empty() { co_return; }
ray::Generator<std::string> words() {
  co_yield "one";
  co_yield std::string("two");
}
ray::Generator<std::unique_ptr<int>> pointers() {
  co_yield std::make_unique<int>(1);
  co_yield std::make_unique<int>(2);
}
ray::Generator<int> fails_after(int n) {
  for (int i = 0; i < n; ++i) co_yield i;
  throw std::domain_error("no more");
}
int twice(int x) { return 2 * x; }

template <class Tag>
probes::Shared<int> produced;
template <class Tag>
ray::Generator<int> produces(int n) {
  for (int i = 0; i < n; ++i) {
    ++produced<Tag>;
    co_yield i;
  }
}

std::vector<int> read_all(ray::Runtime& rt, ray::ObjectRefStream<int> stream) {
  std::vector<int> values;
  for (const auto& ref : stream) values.push_back(rt.get(ref));
  return values;
}

}  // namespace

TEST_CASE("a stream gives a reference per yield, in order") {
  ray::Runtime rt({.num_cpus = 1});
  CHECK(read_all(rt, rt.remote<count_to>(5)) == std::vector<int>{0, 1, 2, 3, 4});
  CHECK(read_all(rt, rt.remote<empty>()).empty());
  const auto many = read_all(rt, rt.remote<count_to>(1000));
  CHECK(many.size() == 1000);
  CHECK(many.back() == 999);
}

TEST_CASE("next gives one reference at a time and then none") {
  ray::Runtime rt({.num_cpus = 1});
  auto stream = rt.remote<words>();
  std::optional<ray::ObjectRef<std::string>> ref = stream.next();
  REQUIRE(ref.has_value());
  CHECK(rt.get(*ref) == "one");
  ref = stream.next();
  REQUIRE(ref.has_value());
  CHECK(rt.get(*ref) == "two");
  CHECK_FALSE(stream.next().has_value());
  CHECK_FALSE(stream.next().has_value());
}

TEST_CASE("a stream is an input range") {
  ray::Runtime rt({.num_cpus = 1});
  auto stream = rt.remote<count_to>(3);
  static_assert(std::input_iterator<decltype(stream.begin())>);
  int sum = 0;
  for (auto it = stream.begin(); it != stream.end(); ++it) sum += rt.get(*it);
  CHECK(sum == 3);
}

TEST_CASE("the first element is there before the last is made") {
  static probes::Gate gate;
  constexpr auto two = []() -> ray::Generator<int> {
    co_yield 1;
    gate.pass();
    co_yield 2;
  };
  ray::Runtime rt({.num_cpus = 1});
  const probes::OpenAtExit guard(gate);
  auto stream = rt.remote<two>();
  CHECK(rt.get(*stream.next(), kDeadline) == 1);
  gate.open();
  CHECK(rt.get(*stream.next(), kDeadline) == 2);
  CHECK_FALSE(stream.next());
}

TEST_CASE("references of a stream go into tasks like any others") {
  ray::Runtime rt({.num_cpus = 2});
  std::vector<ray::ObjectRef<int>> results;
  for (const auto& ref : rt.remote<count_to>(100)) results.push_back(rt.remote<twice>(ref));
  int sum = 0;
  for (int x : rt.get(results)) sum += x;
  CHECK(sum == 9900);
}

TEST_CASE("an exception in a generator is its last reference") {
  ray::Runtime rt({.num_cpus = 1});
  int good = 0;
  int bad = 0;
  for (const auto& ref : rt.remote<fails_after>(3)) {
    try {
      rt.get(ref);
      ++good;
    } catch (const std::domain_error&) {
      ++bad;
    }
  }
  CHECK(good == 3);
  CHECK(bad == 1);
}

TEST_CASE("an argument that failed is the stream's only reference") {
  constexpr auto fails = []() -> int { throw std::logic_error("argument"); };
  ray::Runtime rt({.num_cpus = 1});
  auto stream = rt.remote<count_to>(rt.remote<fails>());
  const auto ref = stream.next();
  REQUIRE(ref.has_value());
  CHECK_THROWS_AS(rt.get(*ref), std::logic_error);
  CHECK_FALSE(stream.next().has_value());
}

TEST_CASE("values that cannot be copied are streamed") {
  ray::Runtime rt({.num_cpus = 1});
  int sum = 0;
  for (const auto& ref : rt.remote<pointers>()) sum += *rt.get(ref);
  CHECK(sum == 3);
}

TEST_CASE("a stream nobody reads holds its task back at the default of 64") {
  ray::Runtime rt({.num_cpus = 1});
  auto stream = rt.remote<produces<struct Default>>(1000);
  REQUIRE(eventually([] { return produced<struct Default> >= 64; }));
  // The slot is free while the producer is held back; when a task has run, it was.
  CHECK(rt.get(rt.remote<twice>(1), kDeadline) == 2);
  CHECK(produced<struct Default> <= 66);
  int read = 0;
  for (const auto& ref : stream) {
    CHECK(rt.get(ref) == read);
    ++read;
    CHECK(produced<struct Default> <= read + 66);
  }
  CHECK(read == 1000);
}

TEST_CASE("back-pressure of one lets the producer be one ahead") {
  ray::init({.num_cpus = 1});
  {
    auto stream = ray::remote<produces<struct One>>.options({.generator_backpressure = 1})(50);
    int read = 0;
    for (const auto& ref : stream) {
      CHECK(ray::get(ref) == read);
      ++read;
      CHECK(produced<struct One> <= read + 2);
    }
    CHECK(read == 50);
  }
  ray::shutdown();
}

TEST_CASE("a stream that is dropped ends its task and frees what it made") {
  struct DropTag;
  using Counted = probes::Counted<DropTag>;
  static probes::Shared<bool> ended;
  struct SetAtEnd {
    ~SetAtEnd() { ended = true; }
  };
  constexpr auto forever = []() -> ray::Generator<Counted> {
    const SetAtEnd at_end;
    for (int i = 0;; ++i) co_yield Counted(i);
  };
  ray::Runtime rt({.num_cpus = 1});
  {
    auto stream = rt.remote<forever>();
    CHECK(rt.get(*stream.next()).value() == 0);
    CHECK(rt.get(*stream.next()).value() == 1);
  }
  CHECK(eventually([] { return ended.load(); }));
  CHECK(Counted::none_left());
  CHECK(Counted::copies() == 0);
  CHECK(rt.get(rt.remote<twice>(4), kDeadline) == 8);
}

TEST_CASE("a generator awaits objects between its yields") {
  static constexpr auto square = [](int x) { return x * x; };
  constexpr auto squares = [](int n) -> ray::Generator<int> {
    for (int i = 0; i < n; ++i) co_yield co_await ray::remote<square>(i);
  };
  ray::Runtime rt({.num_cpus = 1});
  CHECK(read_all(rt, rt.remote<squares>(5)) == std::vector<int>{0, 1, 4, 9, 16});
}

TEST_CASE("a task reads the stream of another") {
  constexpr auto reads = [](int n) {
    int sum = 0;
    for (const auto& ref : ray::remote<count_to>(n)) sum += ray::get(ref);
    return sum;
  };
  ray::Runtime rt({.num_cpus = 1});
  CHECK(rt.get(rt.remote<reads>(500), kDeadline) == 500 * 499 / 2);
}

TEST_CASE("streams and their references outlive the runtime") {
  ray::ObjectRefStream<int> stream;
  std::vector<ray::ObjectRef<int>> refs;
  {
    ray::Runtime rt({.num_cpus = 1});
    stream = rt.remote<count_to>(100);
    for (int i = 0; i < 5; ++i) refs.push_back(*stream.next());
    CHECK(rt.get(refs).back() == 4);
  }
  stream = {};
  refs.clear();
}

// In threads only: max_threads.
TEST_CASE("when all threads wait and none is left for what is ready, one gives up for the others",
          "[threads]") {
  constexpr auto reads = [] {
    int sum = 0;
    for (const auto& ref : ray::remote<count_to>(3)) sum += ray::get(ref);
    return sum;
  };
  ray::Runtime rt({.num_cpus = 2, .max_threads = 2});
  std::vector<ray::ObjectRef<int>> sums;
  for (int i = 0; i < 6; ++i) sums.push_back(rt.remote<reads>());
  // By wait, which runs nothing on this thread.
  REQUIRE(rt.wait(sums, {.num_returns = 6, .timeout = kDeadline}).ready.size() == 6);
  int gave_up = 0;
  for (const auto& sum : sums) {
    try {
      const int value = rt.get(sum);  // Outside CHECK, which would catch.
      CHECK(value == 3);
    } catch (const ray::DeadlockError& e) {
      CHECK_THAT(e.what(), Catch::Contains("all 2 threads") && Catch::Contains("max_threads"));
      ++gave_up;
    }
  }
  CHECK(gave_up < 6);
}

TEST_CASE("a generator that is tried again does not repeat what it gave before") {
  constexpr auto gives = [](int n) -> ray::Generator<int> {
    for (int i = 0; i < n; ++i) {
      co_yield i;
      if (i == 2 && ray::context().attempt() == 0) throw std::runtime_error("once");
      if (i == 4 && ray::context().attempt() == 1) throw std::runtime_error("twice");
    }
  };
  ray::Runtime rt({.num_cpus = 1});
  CHECK(read_all(rt, rt.with<gives>({.max_retries = 2, .retry_exceptions = true})(7)) ==
        std::vector<int>{0, 1, 2, 3, 4, 5, 6});
  CHECK(read_all(rt, rt.with<gives>(
                         {.max_retries = 2, .retry_exceptions = true, .generator_backpressure = 1})(
                         7)) == std::vector<int>{0, 1, 2, 3, 4, 5, 6});
}

}  // namespace generator_test
