// Objects: put, the forms of get, references as regular values.
#include "support/catch.hpp"

#include <ray/future.hpp>
#include <ray/ray.hpp>

#include "api/probes.hpp"

#include <array>
#include <chrono>
#include <deque>
#include <list>
#include <map>
#include <memory>
#include <numeric>
#include <set>
#include <span>
#include <string>
#include <unordered_set>
#include <utility>
#include <vector>

namespace objects_test {

namespace {

using namespace std::chrono_literals;

int add(int a, int b) { return a + b; }
std::unique_ptr<int> make_unique_int(int n) { return std::make_unique<int>(n); }

probes::Gate never_opened_early;
int late() {
  never_opened_early.pass();
  return 7;
}

struct Pair {
  int a;
  std::string b;
  bool operator==(const Pair&) const = default;
};

}  // namespace

TEST_CASE("get gives what put took") {
  ray::Runtime rt({.num_cpus = 1});
  CHECK(rt.get(rt.put(42)) == 42);
  CHECK(rt.get(rt.put(std::string("example"))) == "example");
  CHECK(rt.get(rt.put(std::vector<int>{})).empty());
  CHECK(rt.get(rt.put(Pair{1, "b"})) == Pair{1, "b"});
  CHECK(rt.get(rt.put(true)));
  CHECK(rt.get(rt.put(std::map<std::string, std::vector<int>>{{"a", {1}}})).at("a")[0] == 1);
}

TEST_CASE("put takes a named type, from whatever makes one") {
  ray::Runtime rt({.num_cpus = 1});
  std::string text = "example";
  const std::string constant = text;
  CHECK(ray::get(ray::put<std::string>(text)) == "example");
  CHECK(rt.get(rt.put<std::string>(text)) == "example");
  CHECK(ray::get(ray::put<std::string>(constant)) == "example");
  CHECK(rt.get(rt.put<std::string>("example")) == "example");
  CHECK(ray::get(ray::put<std::vector<int>>({1, 2, 3})).size() == 3);
  CHECK(ray::get(ray::put<double>(1)) == 1.0);
  CHECK(ray::get(ray::put<std::string>(std::move(text))) == "example");
  CHECK(text.empty());  // NOLINT(bugprone-use-after-move)
  using Tagged = probes::Counted<struct PutOfAType>;
  const Tagged counted(1);
  CHECK(ray::get(ray::put(counted)).value() == 1);
  CHECK(Tagged::copies() == 1);
}

namespace {

struct Samples {
  std::vector<int> values;
  std::vector<ray::ObjectRef<int>> parts;
  static inline int copies = 0;

  Samples() = default;
  Samples(std::size_t size, ray::ObjectRef<int> part) : values(size, 7), parts{std::move(part)} {}
  Samples(const Samples& other) : values(other.values), parts(other.parts) { ++copies; }
  Samples(Samples&&) = default;
  template <class Archive>
  void serialize(Archive& archive) {
    archive(values, parts);
  }
};

int sum_of(const Samples& samples) {
  return std::accumulate(samples.values.begin(), samples.values.end(), 0) +
         ray::get(samples.parts.at(0));
}

}  // namespace

TEST_CASE("put copies what stays with its owner once, and not at all into a shared store") {
  ray::Runtime rt({.num_cpus = 1});
  for (const std::size_t size : {std::size_t{1}, std::size_t{100'000}}) {
    const Samples samples(size, rt.put(1));
    Samples::copies = 0;
    const auto kept = rt.put(samples);
    CHECK(Samples::copies == (probes::in_processes() && size > 1 ? 0 : 1));
    Samples given = samples;
    Samples::copies = 0;
    const auto moved = rt.put(std::move(given));
    CHECK(Samples::copies == 0);
    const int sum = static_cast<int>(size) * 7 + 1;
    CHECK(sum_of(rt.get(kept)) == sum);
    CHECK(rt.get(rt.remote<sum_of>(kept)) == sum);
    CHECK(rt.get(rt.remote<sum_of>(moved)) == sum);
  }
}

namespace {

/// Can be copied, though its array cannot.
struct Frame {
  ray::Array<int> pixels;
  Frame() = default;
  explicit Frame(std::size_t size) : pixels(size) {}
  Frame(const Frame& other) : pixels(other.pixels.clone()) {}
  Frame(Frame&&) = default;
  template <class Archive>
  void serialize(Archive& archive) {
    archive(pixels);
  }
};

}  // namespace

TEST_CASE("an object made of a value that its owner keeps and changes stays as it was") {
  ray::Runtime rt({.num_cpus = 1});
  Frame frame(100'000);
  std::vector<ray::ObjectRef<Frame>> frames;
  for (int i = 0; i < 4; ++i) {
    frame.pixels[0] = i;
    frames.push_back(rt.put(frame));
  }
  frame.pixels[0] = -1;
  for (int i = 0; i < 4; ++i) CHECK(std::as_const(rt.get(frames[std::size_t(i)]).pixels)[0] == i);
  frames.clear();
  const auto other = rt.put(std::vector<int>(100'000, 5));
  CHECK(std::as_const(frame.pixels)[0] == -1);
  frame.pixels[1] = 6;
  CHECK(rt.get(other)[1] == 5);
}

TEST_CASE("extreme values pass unchanged") {
  ray::Runtime rt({.num_cpus = 1});
  CHECK(rt.get(rt.put(std::numeric_limits<long long>::min())) ==
        std::numeric_limits<long long>::min());
  CHECK(rt.get(rt.put(std::numeric_limits<unsigned long long>::max())) ==
        std::numeric_limits<unsigned long long>::max());
  CHECK(rt.get(rt.put(std::numeric_limits<double>::infinity())) ==
        std::numeric_limits<double>::infinity());
  CHECK(rt.get(rt.put(std::string())).empty());
  CHECK(rt.get(rt.put(std::string("a\0b", 3))).size() == 3);
}

TEST_CASE("free put and get act on the current runtime") {
  ray::init({.num_cpus = 1});
  const ray::ObjectRef<std::string> x = ray::put(std::string("example"));
  CHECK(ray::get(x) == "example");
  ray::shutdown();
}

TEST_CASE("get of an lvalue gives the stored object itself") {
  ray::Runtime rt({.num_cpus = 1});
  const ray::ObjectRef<std::string> ref = rt.put(std::string("example"));
  const std::string& first = rt.get(ref);
  const std::string& second = rt.get(ref);
  CHECK(&first == &second);
  const ray::ObjectRef<std::string> other = ref;  // NOLINT(performance-unnecessary-copy-*)
  CHECK(&rt.get(other) == &first);
}

TEST_CASE("get of a temporary gives a value") {
  ray::Runtime rt({.num_cpus = 1});
  static_assert(std::is_same_v<decltype(rt.get(rt.put(1))), int>);
  std::string text = rt.get(rt.put(std::string("mine")));
  text += " now";
  CHECK(text == "mine now");
}

TEST_CASE("get of a moved reference copies while others hold it") {
  ray::Runtime rt({.num_cpus = 1});
  ray::ObjectRef<std::string> ref = rt.put(std::string("shared"));
  const ray::ObjectRef<std::string> other = ref;
  std::string text = rt.get(std::move(ref));
  text += "!";
  CHECK(rt.get(other) == "shared");
}

TEST_CASE("get takes every range of references and keeps the order") {
  ray::Runtime rt({.num_cpus = 2});
  std::vector<ray::ObjectRef<int>> vector;
  for (int i = 0; i < 10; ++i) vector.push_back(rt.put(i));
  const std::vector<int> expected{0, 1, 2, 3, 4, 5, 6, 7, 8, 9};
  CHECK(rt.get(vector) == expected);
  CHECK(rt.get(std::deque<ray::ObjectRef<int>>(vector.begin(), vector.end())) == expected);
  CHECK(rt.get(std::list<ray::ObjectRef<int>>(vector.begin(), vector.end())) == expected);
  CHECK(rt.get(std::array{rt.put(1), rt.put(2)}) == std::vector<int>{1, 2});
  CHECK(rt.get(std::vector<ray::ObjectRef<int>>{}).empty());
}

TEST_CASE("get takes the same reference twice in a range") {
  ray::Runtime rt({.num_cpus = 1});
  auto ref = rt.remote<add>(1, 1);
  CHECK(rt.get(std::vector{ref, ref, ref}) == std::vector<int>{2, 2, 2});
}

TEST_CASE("get of several references gives a tuple, whatever their types") {
  ray::Runtime rt({.num_cpus = 1});
  auto a = rt.put(1);
  auto b = rt.put(std::string("two"));
  auto c = rt.remote<add>(1, 2);
  const auto [x, y, z] = rt.get(a, b, c);
  CHECK(x == 1);
  CHECK(y == "two");
  CHECK(z == 3);
}

TEST_CASE("get of a tuple of references gives a tuple") {
  ray::Runtime rt({.num_cpus = 1});
  const auto [x, y] = rt.get(std::tuple(rt.put(1), rt.put(std::string("two"))));
  CHECK(x == 1);
  CHECK(y == "two");
}

TEST_CASE("a value that cannot be copied is put, passed on and read in place") {
  ray::Runtime rt({.num_cpus = 1});
  constexpr auto read = [](const std::unique_ptr<int>& p) { return *p; };
  const auto ref = rt.put(std::make_unique<int>(5));
  CHECK(*rt.get(ref) == 5);
  CHECK(rt.get(rt.remote<read>(ref)) == 5);
  CHECK(rt.get(rt.remote<read>(rt.remote<make_unique_int>(6))) == 6);
  CHECK(rt.get(rt.remote<read>(std::make_unique<int>(7))) == 7);
}

TEST_CASE("a value that cannot be copied is moved out by the last reference") {
  ray::Runtime rt({.num_cpus = 1});
  const std::unique_ptr<int> mine = rt.get(rt.remote<make_unique_int>(8));
  CHECK(*mine == 8);
}

TEST_CASE("a range of values that cannot be copied gives references to them") {
  ray::Runtime rt({.num_cpus = 1});
  const std::vector refs{rt.put(std::make_unique<int>(1)), rt.put(std::make_unique<int>(2))};
  const auto values = rt.get(refs);
  static_assert(
      std::is_same_v<decltype(values),
                     const std::vector<std::reference_wrapper<const std::unique_ptr<int>>>>);
  CHECK(*values[0].get() + *values[1].get() == 3);
}

TEST_CASE("get with a timeout throws when the object is late and gives it when it is there") {
  ray::Runtime rt({.num_cpus = 1});
  const probes::OpenAtExit guard(never_opened_early);
  auto ref = rt.remote<late>();
  CHECK_THROWS_AS(rt.get(ref, 5ms), ray::GetTimeoutError);
  CHECK_THROWS_AS(rt.get(ref, 0ms), ray::GetTimeoutError);
  CHECK_THROWS_AS(rt.get(std::vector{ref, ref}, 1ms), ray::GetTimeoutError);
  const auto result = rt.try_get(ref, 1ms);
  CHECK_FALSE(result.has_value());
  CHECK_THROWS_AS(result.value(), ray::GetTimeoutError);
  never_opened_early.open();
  CHECK(rt.get(ref, 30s) == 7);
  CHECK(rt.get(ref, 0ms) == 7);
  CHECK(rt.get(ref, std::chrono::hours(24 * 365 * 200)) == 7);
}

TEST_CASE("a timeout is an Error and a runtime_error and names the object") {
  ray::Runtime rt({.num_cpus = 1});
  static probes::Gate gate;
  constexpr auto hold = [] { gate.pass(); };
  const probes::OpenAtExit guard(gate);
  auto ref = rt.remote<hold>();
  try {
    rt.get(ref, 1ms);
    FAIL("came back");
  } catch (const ray::Error& error) {
    CHECK(std::string(error.what()).size() > 10);
  }
  CHECK_THROWS_AS(rt.get(ref, 1ms), std::runtime_error);
}

TEST_CASE("try_get gives a value or an error and never throws") {
  ray::Runtime rt({.num_cpus = 1});
  constexpr auto fails = []() -> int { throw std::logic_error("no"); };
  const auto good = rt.try_get(rt.remote<add>(1, 2));
  CHECK(good.has_value());
  CHECK(static_cast<bool>(good));
  CHECK(*good == 3);
  CHECK(good.value() == 3);
  const auto text = rt.try_get(rt.put(std::string("four")));
  CHECK(text->size() == 4);
  const auto bad = rt.try_get(rt.remote<fails>());
  CHECK_FALSE(bad.has_value());
  CHECK_FALSE(static_cast<bool>(bad));
  CHECK_THROWS_AS(bad.value(), std::logic_error);
  CHECK(std::string(bad.error().what()).find("no") != std::string::npos);
  CHECK_THROWS_AS(std::rethrow_exception(bad.exception()), std::logic_error);
}

TEST_CASE("a reference is a regular value") {
  ray::Runtime rt({.num_cpus = 1});
  ray::ObjectRef<int> empty;
  CHECK_FALSE(empty);
  CHECK(empty == ray::ObjectRef<int>());
  ray::ObjectRef<int> a = rt.put(1);
  ray::ObjectRef<int> b = a;
  CHECK(a);
  CHECK(a == b);
  CHECK(a.id() == b.id());
  CHECK(a != rt.put(1));
  CHECK(a.id() != rt.put(1).id());
  ray::ObjectRef<int> c = std::move(b);
  CHECK_FALSE(b);  // NOLINT(bugprone-use-after-move)
  CHECK(c == a);
  b = c;
  ray::ObjectRef<int>& same = b;
  b = same;
  CHECK(rt.get(b) == 1);
  b = std::move(same);
  CHECK(rt.get(b) == 1);
  b = {};
  CHECK_FALSE(b);
  CHECK(rt.get(a) == 1);
  std::swap(a, b);
  CHECK(rt.get(b) == 1);
}

TEST_CASE("references are keys of hashed sets") {
  ray::Runtime rt({.num_cpus = 1});
  std::unordered_set<ray::ObjectRef<int>> set;
  auto a = rt.put(1);
  set.insert(a);
  set.insert(a);
  set.insert(rt.put(1));
  set.insert(ray::ObjectRef<int>());
  CHECK(set.size() == 3);
  CHECK(set.count(a) == 1);
}

TEST_CASE("is_ready tells without waiting") {
  ray::Runtime rt({.num_cpus = 1});
  static probes::Gate gate;
  constexpr auto hold = [] { gate.pass(); };
  const probes::OpenAtExit guard(gate);
  CHECK(rt.put(1).is_ready());
  auto ref = rt.remote<hold>();
  CHECK_FALSE(ref.is_ready());
  gate.open();
  rt.get(ref);
  CHECK(ref.is_ready());
}

TEST_CASE("using an empty reference is an InvalidArgumentError") {
  ray::Runtime rt({.num_cpus = 1});
  const ray::ObjectRef<int> empty;
  CHECK_THROWS_AS(rt.get(empty), ray::InvalidArgumentError);
  CHECK_THROWS_AS(rt.get(ray::ObjectRef<int>()), ray::InvalidArgumentError);
  CHECK_THROWS_AS(rt.get(std::vector{rt.put(1), empty}), ray::InvalidArgumentError);
  CHECK_THROWS_AS(rt.wait(std::vector{rt.put(1), empty}), ray::InvalidArgumentError);
  CHECK_THROWS_AS(rt.cancel(empty), ray::InvalidArgumentError);
  CHECK_THROWS_AS(rt.remote<add>(1, empty), ray::InvalidArgumentError);
  CHECK_THROWS_AS(empty.future(), ray::InvalidArgumentError);
}

TEST_CASE("a reference turns into a future of the standard library") {
  ray::Runtime rt({.num_cpus = 1});
  constexpr auto fails = []() -> int { throw std::out_of_range("far"); };
  std::future<int> sum = rt.remote<add>(1, 2).future();
  CHECK(sum.get() == 3);
  CHECK(rt.put(std::string("x")).future().get() == "x");
  CHECK_THROWS_AS(rt.remote<fails>().future().get(), std::out_of_range);
  constexpr auto nothing = [] {};
  rt.remote<nothing>().future().get();
}

TEST_CASE("ids of objects are all different") {
  ray::Runtime rt({.num_cpus = 1});
  std::set<ray::ObjectId> ids;
  for (int i = 0; i < 1000; ++i) ids.insert(rt.put(i).id());
  CHECK(ids.size() == 1000);
  for (int i = 0; i < 1000; ++i) ids.insert(rt.remote<add>(i, 1).id());
  CHECK(ids.size() == 2000);
}

// In threads only: each process has a copy of its own.
TEST_CASE("a parameter by value takes what cannot be copied with its last reference only",
          "[threads]") {
  constexpr auto take = [](std::unique_ptr<int> p) { return *p; };
  ray::Runtime rt({.num_cpus = 2});
  for (int i = 0; i < 1000; ++i) {
    REQUIRE(rt.get(rt.remote<take>(rt.remote<make_unique_int>(i))) == i);
    REQUIRE(*rt.get(rt.remote<make_unique_int>(i)) == i);
  }
  const auto shared = rt.put(std::make_unique<int>(7));
  CHECK_THROWS_AS(rt.get(rt.remote<take>(shared)), ray::InvalidArgumentError);
  CHECK(*rt.get(shared) == 7);
  auto mine = shared;
  CHECK_THROWS_AS(rt.get(std::move(mine)), ray::InvalidArgumentError);
}

TEST_CASE("get of a view leaves the references to who owns them") {
  ray::Runtime rt({.num_cpus = 1});
  constexpr auto text = [] { return std::string("x"); };
  const std::vector<ray::ObjectRef<std::string>> fixed{rt.remote<text>()};
  std::vector<ray::ObjectRef<std::string>> refs{rt.remote<text>(), rt.remote<text>()};
  CHECK(rt.get(std::span(refs)).size() == 2);
  REQUIRE((refs[0] && refs[1]));
  CHECK(rt.get(refs[0]) == "x");
  CHECK(rt.get(std::span(fixed)).front() == "x");
}

TEST_CASE("a reference stays what it was when its value can be neither moved nor copied") {
  ray::Runtime rt({.num_cpus = 1});
  auto mine = rt.remote<make_unique_int>(7);
  const auto other = mine;
  CHECK_THROWS_AS(rt.get(std::move(mine)), ray::InvalidArgumentError);
  REQUIRE(mine);  // NOLINT(bugprone-use-after-move)
  CHECK(*rt.get(mine) == 7);
  CHECK_THROWS_AS(rt.get(std::move(mine), 30s), ray::InvalidArgumentError);
  const auto result = rt.try_get(std::move(mine));
  CHECK_FALSE(result.has_value());
  CHECK(mine == other);

  auto alone = rt.remote<make_unique_int>(8);
  CHECK_THROWS_AS(rt.get(std::move(alone), std::move(mine)), ray::InvalidArgumentError);
  std::vector refs{std::move(alone), std::move(mine)};
  CHECK_THROWS_AS(rt.get(std::move(refs)), ray::InvalidArgumentError);
  CHECK(*rt.get(refs[0]) == 8);  // Not taken before the other was refused.
  CHECK(*rt.get(refs[1]) == 7);
}

TEST_CASE("a reference stays when copying its value throws") {
  struct Refuses {
    Refuses() = default;
    Refuses(Refuses&&) = default;
    Refuses(const Refuses&) { throw std::runtime_error("not again"); }
  };
  ray::Runtime rt({.num_cpus = 1});
  auto mine = rt.put(Refuses());
  const auto other = mine;
  CHECK_THROWS_AS(rt.get(std::move(mine)), std::runtime_error);
  CHECK(mine == other);  // NOLINT(bugprone-use-after-move)
}

}  // namespace objects_test
