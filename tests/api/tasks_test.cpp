// Tasks: everything that can be called, every way an argument can be passed, every kind of result.
#include "support/catch.hpp"

#include <ray/ray.hpp>

#include "api/probes.hpp"

#include <array>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <tuple>
#include <variant>
#include <vector>

int global_add(int a, int b) { return a + b; }

namespace outer::inner {
int twice(int x) { return 2 * x; }
}  // namespace outer::inner

namespace tasks_test {

namespace {

int add(int a, int b) { return a + b; }
int overloaded(int x) { return x + 1; }
double overloaded(double x) { return x + 0.5; }
std::string overloaded(const std::string& x) { return x + "1"; }

template <class T>
T plus_one(T x) {
  return x + 1;
}
template <int N>
int times(int x) {
  return N * x;
}

struct Numbers {
  static int sum(int a, int b) { return a + b; }
};

/// A function object of structural type.
struct Multiply {
  int factor;
  int operator()(int x) const { return factor * x; }
};

enum class Colour { red, green };
struct Base {
  virtual ~Base() = default;
  virtual int number() const { return 1; }
};
struct Derived : Base {
  int number() const override { return 2; }
};
int number_of(const std::shared_ptr<Base>& base) { return base->number(); }

int size_of_copy(std::vector<int> x) {
  x.push_back(1);
  return static_cast<int>(x.size());
}
int size_of_const_ref(const std::vector<int>& x) { return static_cast<int>(x.size()); }
int size_of_rvalue(std::vector<int>&& x) {
  const std::vector<int> mine = std::move(x);
  return static_cast<int>(mine.size());
}
int no_throw(int x) noexcept { return x; }
std::string text_of(const std::string& x) { return x; }
double as_double(double x) { return x / 2; }
int none() { return 7; }
int many(int a, int b, int c, int d, int e, int f, int g, int h) {
  return a + b + c + d + e + f + g + h;
}
std::tuple<int, std::string, std::vector<int>> mixed() { return {1, "two", {3, 3, 3}}; }
std::tuple<int, int, int> three() { return {1, 2, 3}; }
std::tuple<int, int> broken_pair() { throw std::domain_error("broken"); }
std::tuple<int> only_one() { return {5}; }
std::pair<int, int> pair() { return {1, 2}; }

template <class Tag>
probes::Shared<int> marks;
template <class Tag>
void mark(int n) {
  marks<Tag> += n;
}

bool is_the_reference_itself(ray::ObjectRef<int> ref) { return static_cast<bool>(ref); }
int get_inside(ray::ObjectRef<int> ref) { return ray::get(ref); }
ray::ObjectRef<int> give_back(ray::ObjectRef<int> ref) { return ref; }
int sum_of(const std::vector<ray::ObjectRef<int>>& refs) {
  int sum = 0;
  for (int x : ray::get(refs)) sum += x;
  return sum;
}

}  // namespace

TEST_CASE("every kind of function can be a task") {
  ray::Runtime rt({.num_cpus = 2});
  CHECK(rt.get(rt.remote<global_add>(1, 2)) == 3);
  CHECK(rt.get(rt.remote<&global_add>(1, 2)) == 3);
  CHECK(rt.get(rt.remote<outer::inner::twice>(4)) == 8);
  CHECK(rt.get(rt.remote<add>(1, 2)) == 3);
  CHECK(rt.get(rt.remote<Numbers::sum>(1, 2)) == 3);
  CHECK(rt.get(rt.remote<none>()) == 7);
  CHECK(rt.get(rt.remote<no_throw>(1)) == 1);
  CHECK(rt.get(rt.remote<many>(1, 2, 3, 4, 5, 6, 7, 8)) == 36);
}

TEST_CASE("instances of templates are different tasks") {
  ray::Runtime rt({.num_cpus = 2});
  CHECK(rt.get(rt.remote<plus_one<int>>(1)) == 2);
  CHECK(rt.get(rt.remote<plus_one<double>>(1.5)) == 2.5);
  CHECK(rt.get(rt.remote<plus_one<long>>(1L)) == 2);
  CHECK(rt.get(rt.remote<times<2>>(10)) == 20);
  CHECK(rt.get(rt.remote<times<3>>(10)) == 30);
}

TEST_CASE("a cast picks one of several overloads") {
  ray::Runtime rt({.num_cpus = 1});
  CHECK(rt.get(rt.remote<static_cast<int (*)(int)>(overloaded)>(1)) == 2);
  CHECK(rt.get(rt.remote<static_cast<double (*)(double)>(overloaded)>(1.0)) == 1.5);
  CHECK(rt.get(rt.remote<static_cast<std::string (*)(const std::string&)>(overloaded)>(
            std::string("x"))) == "x1");
}

TEST_CASE("lambdas without captures are tasks, each one of its own") {
  constexpr auto first = [](int x) { return x + 1; };
  constexpr auto second = [](int x) { return x + 2; };
  ray::Runtime rt({.num_cpus = 1});
  CHECK(rt.get(rt.remote<first>(1)) == 2);
  CHECK(rt.get(rt.remote<second>(1)) == 3);
  CHECK(rt.get(rt.remote<[](int x) { return x * x; }>(5)) == 25);
}

TEST_CASE("function objects of structural type are tasks with their state") {
  ray::Runtime rt({.num_cpus = 1});
  CHECK(rt.get(rt.remote<Multiply{3}>(5)) == 15);
  CHECK(rt.get(rt.remote<Multiply{4}>(5)) == 20);
  CHECK(rt.get(rt.remote<std::plus<>{}>(2, 3)) == 5);
}

TEST_CASE("callables whose parameters are not known take the values behind references") {
  constexpr auto twice = [](auto x) { return x + x; };
  ray::Runtime rt({.num_cpus = 1});
  CHECK(rt.get(rt.remote<std::plus<>{}>(rt.put(2), 3)) == 5);
  CHECK(rt.get(rt.remote<twice>(rt.put(std::string("ab")))) == "abab");
  CHECK(rt.get(rt.remote<twice>(4)) == 8);
}

TEST_CASE("values and references mix freely in the arguments") {
  ray::Runtime rt({.num_cpus = 2});
  CHECK(rt.get(rt.remote<add>(1, 2)) == 3);
  CHECK(rt.get(rt.remote<add>(1, rt.put(2))) == 3);
  CHECK(rt.get(rt.remote<add>(rt.put(1), rt.put(2))) == 3);
  const auto one = rt.put(1);
  CHECK(rt.get(rt.remote<add>(one, one)) == 2);
  int two = 2;
  const int three_ = 3;
  CHECK(rt.get(rt.remote<add>(two, three_)) == 5);
}

TEST_CASE("arguments convert as in a call") {
  ray::Runtime rt({.num_cpus = 1});
  CHECK(rt.get(rt.remote<as_double>(3)) == 1.5);
  CHECK(rt.get(rt.remote<as_double>(rt.put(3))) == 1.5);
  CHECK(rt.get(rt.remote<text_of>("literal")) == "literal");
  CHECK(rt.get(rt.remote<text_of>(std::string("text"))) == "text");
  CHECK(rt.get(rt.remote<[](std::optional<int> x) { return x.value_or(0); }>(4)) == 4);
  CHECK(rt.get(rt.remote<[](std::variant<int, std::string> x) { return x.index(); }>(
            std::string("b"))) == 1);
  CHECK(rt.get(rt.remote<[](Colour c) { return c == Colour::green; }>(Colour::green)));
}

TEST_CASE("an lvalue argument is copied in, later changes are not seen") {
  static probes::Gate gate;
  constexpr auto size_later = [](const std::vector<int>& x) {
    gate.pass();
    return x.size();
  };
  ray::Runtime rt({.num_cpus = 1});
  std::vector<int> mine{1, 2, 3};
  auto ref = rt.remote<size_later>(mine);
  mine.clear();
  gate.open();
  CHECK(rt.get(ref) == 3);
}

TEST_CASE("parameters by value, by const reference and by rvalue reference all take an object") {
  ray::Runtime rt({.num_cpus = 1});
  const auto ref = rt.put(std::vector<int>{1, 2, 3});
  CHECK(rt.get(rt.remote<size_of_copy>(ref)) == 4);
  CHECK(rt.get(rt.remote<size_of_const_ref>(ref)) == 3);
  CHECK(rt.get(rt.remote<size_of_rvalue>(ref)) == 3);
  CHECK(rt.get(ref).size() == 3);
  CHECK(rt.get(rt.remote<size_of_copy>(std::vector<int>{1})) == 2);
  CHECK(rt.get(rt.remote<size_of_const_ref>(std::vector<int>{1})) == 1);
  CHECK(rt.get(rt.remote<size_of_rvalue>(std::vector<int>{1})) == 1);
}

// In threads only: a pointer to a base class cannot be sent.
TEST_CASE("virtual functions are called through shared objects", "[threads]") {
  ray::Runtime rt({.num_cpus = 1});
  CHECK(rt.get(rt.remote<number_of>(std::shared_ptr<Base>(std::make_shared<Derived>()))) == 2);
  CHECK(rt.get(rt.remote<number_of>(rt.put(std::make_shared<Derived>()))) == 2);
}

TEST_CASE("a parameter declared as a reference receives the reference itself") {
  ray::Runtime rt({.num_cpus = 1});
  const auto ref = rt.put(9);
  CHECK(rt.get(rt.remote<is_the_reference_itself>(ref)));
  CHECK(rt.get(rt.remote<get_inside>(ref)) == 9);
  CHECK(rt.get(rt.remote<get_inside>(rt.remote<add>(4, 5))) == 9);
  CHECK(rt.get(rt.remote<give_back>(ref)) == ref);
}

TEST_CASE("a task given a reference itself starts before that object exists") {
  static probes::Gate gate, started;
  constexpr auto hold = [] {
    gate.pass();
    return 1;
  };
  constexpr auto starts = [](ray::ObjectRef<int> ref) {
    started.open();
    return ref.is_ready();
  };
  ray::Runtime rt({.num_cpus = 2});
  const probes::OpenAtExit guard(gate);
  const auto held = rt.remote<hold>();
  CHECK_FALSE(rt.get(rt.remote<starts>(held), probes::kDeadline));
  CHECK(started.is_open());
}

TEST_CASE("references travel inside containers") {
  ray::Runtime rt({.num_cpus = 2});
  std::vector<ray::ObjectRef<int>> refs;
  for (int i = 1; i <= 10; ++i) refs.push_back(rt.remote<add>(i, 0));
  CHECK(rt.get(rt.remote<sum_of>(refs)) == 55);
  CHECK(rt.get(rt.remote<sum_of>(rt.put(refs))) == 55);
}

TEST_CASE("a task that returns nothing gives a reference to wait for") {
  struct Nothing;
  ray::Runtime rt({.num_cpus = 1});
  ray::ObjectRef<void> done = rt.remote<mark<Nothing>>(3);
  rt.get(done);
  CHECK(marks<Nothing> == 3);
  rt.get(rt.remote<mark<Nothing>>(2));
  CHECK(marks<Nothing> == 5);
  const std::vector<ray::ObjectRef<void>> several{rt.remote<mark<Nothing>>(1),
                                                  rt.remote<mark<Nothing>>(1)};
  rt.get(several);
  CHECK(marks<Nothing> == 7);
  CHECK(rt.wait(several, {.num_returns = 2}).ready.size() == 2);
  CHECK(rt.try_get(done).has_value());
}

TEST_CASE("a tuple becomes one reference per element") {
  ray::Runtime rt({.num_cpus = 1});
  auto [p, q, r] = rt.remote<three>();
  static_assert(std::is_same_v<decltype(p), ray::ObjectRef<int>>);
  CHECK(rt.get(p) + 10 * rt.get(q) + 100 * rt.get(r) == 321);
  CHECK(rt.get(rt.remote<add>(p, r)) == 4);
  auto [i, text, list] = rt.remote<mixed>();
  CHECK(rt.get(i) == 1);
  CHECK(rt.get(text) == "two");
  CHECK(rt.get(rt.remote<size_of_const_ref>(list)) == 3);
  auto [single] = rt.remote<only_one>();
  CHECK(rt.get(single) == 5);
  CHECK(rt.get(rt.remote<three>()) == std::tuple(1, 2, 3));
}

TEST_CASE("when a task of a tuple throws, each element fails") {
  ray::Runtime rt({.num_cpus = 1});
  auto [a, b] = rt.remote<broken_pair>();
  CHECK_THROWS_AS(rt.get(a), std::domain_error);
  CHECK_THROWS_AS(rt.get(b), std::domain_error);
}

TEST_CASE("a pair is one object") {
  ray::Runtime rt({.num_cpus = 1});
  CHECK(rt.get(rt.remote<pair>()) == std::pair(1, 2));
}

TEST_CASE("dropping every reference does not keep a task from running") {
  struct Dropped;
  ray::Runtime rt({.num_cpus = 1});
  for (int i = 0; i < 100; ++i) rt.remote<mark<Dropped>>(1);
  CHECK(probes::eventually([] { return marks<Dropped> == 100; }));
}

TEST_CASE("free remote acts on the current runtime") {
  ray::init({.num_cpus = 1});
  CHECK(ray::get(ray::remote<add>(1, 2)) == 3);
  CHECK(ray::get(ray::remote<add>.options({.name = "named"})(1, 2)) == 3);
  const auto call = ray::remote<add>;
  CHECK(ray::get(call(2, 3)) == 5);
  const auto with_options = ray::remote<add>.options({.num_cpus = 0.5});
  CHECK(ray::get(with_options(2, 4)) == 6);
  CHECK(ray::get(with_options(2, 5)) == 7);
  ray::shutdown();
}

TEST_CASE("text is kept as a string, whatever it comes as and whatever takes it") {
  static probes::Gate gate;
  constexpr auto hold = [] {
    gate.pass();
    return 0;
  };
  constexpr auto generic = [](const auto& text, int) { return std::string(text); };
  constexpr auto viewing = [](std::string_view text, int) { return std::string(text); };
  struct Keeper {
    Keeper(std::string_view text, int) : kept(text) {}
    std::string text() { return kept; }
    std::string kept;
  };

  ray::Runtime rt({.num_cpus = 1});
  const auto late = rt.remote<hold>();
  char buffer[] = "before";
  const std::string_view view = buffer;
  const auto a = rt.remote<generic>(view, late);
  const auto b = rt.remote<generic>(buffer, late);
  const auto c = rt.remote<viewing>(view, late);
  const auto keeper = rt.actor<Keeper>(view, late);
  const auto other = rt.actor<Keeper>(buffer, late);
  for (char& letter : std::span(buffer).first(6)) letter = '?';  // Nothing has run yet.
  gate.open();
  CHECK(rt.get(a) == "before");
  CHECK(rt.get(b) == "before");
  CHECK(rt.get(c) == "before");
  CHECK(rt.get(rt.remote<&Keeper::text>(keeper)) == "before");
  CHECK(rt.get(rt.remote<&Keeper::text>(other)) == "before");
}

}  // namespace tasks_test
