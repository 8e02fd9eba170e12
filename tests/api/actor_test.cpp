// Actors: state, order of calls, handles, names, the end.
#include "support/catch.hpp"

#include <ray/ray.hpp>

#include "api/probes.hpp"

#include <algorithm>
#include <memory>
#include <numeric>
#include <stdexcept>
#include <string>
#include <thread>
#include <tuple>
#include <vector>

namespace actor_test {

namespace {

using namespace std::chrono_literals;
using probes::eventually;
using probes::kDeadline;

class Counter {
public:
  Counter() = default;
  explicit Counter(int start) : value_(start) {}
  int add(int n) {
    value_ += n;
    return value_;
  }
  void set(int n) { value_ = n; }
  int value() const { return value_; }
  const int& value_ref() const { return value_; }
  std::tuple<int, int> both() const { return {value_, -value_}; }
  int fails(int) { throw std::domain_error("method"); }
  int sum(const std::vector<int>& x) const noexcept { return std::reduce(x.begin(), x.end()); }
  std::unique_ptr<int> box() const { return std::make_unique<int>(value_); }
  static int fixed() { return 11; }

private:
  int value_ = 0;
};

struct Base {
  virtual ~Base() = default;
  virtual int number() { return 1; }
  int inherited() { return 10 + number(); }
};
struct Derived : Base {
  int number() override { return 2; }
};

struct Recorder {
  std::vector<int> seen;
  void note(int n) { seen.push_back(n); }
  std::vector<int> all() const { return seen; }
};

int add_through(ray::ActorHandle<Counter> counter, int n) {
  return ray::get(ray::remote<&Counter::add>(counter, n));
}
int same(int x) { return x; }

struct Thrower {
  explicit Thrower(bool now) {
    if (now) throw std::logic_error("constructor");
  }
  int number() { return 3; }
};

struct MoveOnlyState {
  std::unique_ptr<int> held;
  explicit MoveOnlyState(std::unique_ptr<int> p) : held(std::move(p)) {}
  int read() const { return *held; }
};

}  // namespace

TEST_CASE("an actor keeps its state from call to call") {
  ray::Runtime rt({.num_cpus = 1});
  ray::ActorHandle<Counter> counter = rt.actor<Counter>();
  CHECK(rt.get(rt.remote<&Counter::add>(counter, 2)) == 2);
  CHECK(rt.get(rt.remote<&Counter::add>(counter, 3)) == 5);
  rt.get(rt.remote<&Counter::set>(counter, 40));
  CHECK(rt.get(rt.remote<&Counter::value>(counter)) == 40);
  CHECK(rt.get(rt.remote<&Counter::value_ref>(counter)) == 40);
}

TEST_CASE("an actor's constructor takes values and references") {
  ray::Runtime rt({.num_cpus = 1});
  auto a = rt.actor<Counter>(5);
  auto b = rt.actor<Counter>(rt.put(6));
  auto c = rt.actor<Counter>(rt.remote<same>(7));
  CHECK(rt.get(rt.remote<&Counter::value>(a)) == 5);
  CHECK(rt.get(rt.remote<&Counter::value>(b)) == 6);
  CHECK(rt.get(rt.remote<&Counter::value>(c)) == 7);
  auto d = rt.actor<MoveOnlyState>(std::make_unique<int>(8));
  CHECK(rt.get(rt.remote<&MoveOnlyState::read>(d)) == 8);
}

TEST_CASE("methods take and give what functions do") {
  ray::Runtime rt({.num_cpus = 1});
  auto counter = rt.actor<Counter>(4);
  auto [p, n] = rt.remote<&Counter::both>(counter);
  CHECK(rt.get(p) == 4);
  CHECK(rt.get(n) == -4);
  CHECK(rt.get(rt.remote<&Counter::sum>(counter, rt.put(std::vector<int>{1, 2, 3}))) == 6);
  CHECK(*rt.get(rt.remote<&Counter::box>(counter)) == 4);
  CHECK(rt.get(rt.remote<Counter::fixed>()) == 11);
  CHECK(rt.get(rt.remote<&Counter::add>(counter, rt.remote<same>(1))) == 5);
  CHECK(rt.get(rt.remote<same>(rt.remote<&Counter::value>(counter))) == 5);
}

TEST_CASE("virtual and inherited methods are called on a derived actor") {
  ray::Runtime rt({.num_cpus = 1});
  auto derived = rt.actor<Derived>();
  CHECK(rt.get(rt.remote<&Derived::number>(derived)) == 2);
  CHECK(rt.get(rt.remote<&Base::number>(derived)) == 2);
  CHECK(rt.get(rt.remote<&Base::inherited>(derived)) == 12);
}

TEST_CASE("calls from one caller run in the order they were made") {
  ray::Runtime rt({.num_cpus = 2});
  auto recorder = rt.actor<Recorder>();
  const int count = probes::scaled(10'000);
  for (int i = 0; i < count; ++i) rt.remote<&Recorder::note>(recorder, i);
  const auto seen = rt.get(rt.remote<&Recorder::all>(recorder));
  REQUIRE(seen.size() == static_cast<std::size_t>(count));
  CHECK(std::is_sorted(seen.begin(), seen.end()));
}

TEST_CASE("a call whose argument is late holds back the later calls of its caller") {
  static probes::Gate gate;
  constexpr auto late = [](int n) {
    gate.pass();
    return n;
  };
  ray::Runtime rt({.num_cpus = 2});
  const probes::OpenAtExit guard(gate);
  auto recorder = rt.actor<Recorder>();
  rt.remote<&Recorder::note>(recorder, 0);
  rt.remote<&Recorder::note>(recorder, rt.remote<late>(1));
  for (int i = 2; i < 100; ++i) rt.remote<&Recorder::note>(recorder, i);
  gate.open();
  std::vector<int> expected(100);
  std::iota(expected.begin(), expected.end(), 0);
  CHECK(rt.get(rt.remote<&Recorder::all>(recorder)) == expected);
}

TEST_CASE("each of many callers has its own order") {
  struct Pairs {
    std::vector<std::pair<int, int>> seen;
    void note(int caller, int n) { seen.emplace_back(caller, n); }
    std::vector<std::pair<int, int>> all() const { return seen; }
  };
  constexpr auto calls = [](ray::ActorHandle<Pairs> pairs, int caller) {
    for (int i = 0; i < 200; ++i) ray::remote<&Pairs::note>(pairs, caller, i);
  };
  ray::Runtime rt({.num_cpus = 2});
  auto pairs = rt.actor<Pairs>();
  std::vector<ray::ObjectRef<void>> callers;
  for (int i = 0; i < 10; ++i) callers.push_back(rt.remote<calls>(pairs, i));
  rt.get(callers);
  std::vector<int> next(10, 0);
  REQUIRE(eventually([&] { return rt.get(rt.remote<&Pairs::all>(pairs)).size() == 2000; }));
  for (const auto& [caller, n] : rt.get(rt.remote<&Pairs::all>(pairs))) {
    CHECK(next[static_cast<std::size_t>(caller)]++ == n);
  }
}

TEST_CASE("methods of an actor never overlap by default, whoever calls") {
  struct Alone {
    int inside = 0;
    int most = 0;
    void enter() {
      most = std::max(most, ++inside);
      --inside;
    }
    int most_inside() const { return most; }
  };
  ray::Runtime rt({.num_cpus = 4});
  auto alone = rt.actor<Alone>();
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&] {
      for (int k = 0; k < probes::scaled(2000); ++k) rt.remote<&Alone::enter>(alone);
    });
  }
  for (std::thread& thread : threads) thread.join();
  CHECK(rt.get(rt.remote<&Alone::most_inside>(alone)) == 1);
}

TEST_CASE("a method that throws fails its call and leaves the actor alive") {
  ray::Runtime rt({.num_cpus = 1});
  auto counter = rt.actor<Counter>(1);
  CHECK_THROWS_AS(rt.get(rt.remote<&Counter::fails>(counter, 1)), std::domain_error);
  CHECK(rt.get(rt.remote<&Counter::add>(counter, 1)) == 2);
  const auto bad = rt.remote<&Counter::fails>(counter, 1);
  CHECK_THROWS_AS(rt.get(rt.remote<&Counter::add>(counter, bad)), std::domain_error);
  CHECK(rt.get(rt.remote<&Counter::value>(counter)) == 2);
}

TEST_CASE("an actor whose constructor throws fails every call with what happened") {
  ray::Runtime rt({.num_cpus = 1});
  auto bad = rt.actor<Thrower>(true);
  for (int i = 0; i < 3; ++i) {
    const auto result = rt.try_get(rt.remote<&Thrower::number>(bad), kDeadline);
    REQUIRE_FALSE(result.has_value());
    CHECK_THROWS_AS(result.value(), ray::ActorDiedError);
    CHECK(std::string(result.error().what()).find("constructor") != std::string::npos);
  }
  auto good = rt.actor<Thrower>(false);
  CHECK(rt.get(rt.remote<&Thrower::number>(good)) == 3);
}

TEST_CASE("handles are passed to tasks, stored in objects and given to other actors") {
  struct Holder {
    ray::ActorHandle<Counter> counter;
    explicit Holder(ray::ActorHandle<Counter> given) : counter(std::move(given)) {}
    int add(int n) { return add_through(counter, n); }
    ray::ActorHandle<Counter> give() const { return counter; }
  };
  constexpr auto through_object = [](const std::vector<ray::ActorHandle<Counter>>& counters) {
    return add_through(counters.at(0), 100);
  };
  ray::Runtime rt({.num_cpus = 2});
  auto counter = rt.actor<Counter>();
  CHECK(rt.get(rt.remote<add_through>(counter, 1)) == 1);
  CHECK(rt.get(rt.remote<through_object>(rt.put(std::vector{counter}))) == 101);
  auto holder = rt.actor<Holder>(counter);
  CHECK(rt.get(rt.remote<&Holder::add>(holder, 1000)) == 1101);
  const auto back = rt.get(rt.remote<&Holder::give>(holder));
  CHECK(back == counter);
  CHECK(rt.get(rt.remote<&Counter::value>(back)) == 1101);
}

TEST_CASE("a task makes an actor and returns its handle") {
  constexpr auto makes = [](int start) { return ray::actor<Counter>(start); };
  ray::Runtime rt({.num_cpus = 1});
  const auto counter = rt.get(rt.remote<makes>(9));
  CHECK(rt.get(rt.remote<&Counter::add>(counter, 1)) == 10);
}

TEST_CASE("the destructor runs when the last handle goes, after the calls that were made") {
  static probes::Shared<int> destroyed;
  static probes::Shared<int> calls;
  struct Mortal {
    ~Mortal() { destroyed = 1 + calls; }
    void call() { ++calls; }
  };
  ray::Runtime rt({.num_cpus = 1});
  {
    auto mortal = rt.actor<Mortal>();
    const auto copy = mortal;
    for (int i = 0; i < 100; ++i) rt.remote<&Mortal::call>(mortal);
    mortal = {};
    CHECK(destroyed == 0);
  }
  CHECK(eventually([] { return destroyed != 0; }));
  CHECK(destroyed == 101);
}

TEST_CASE("the destructor runs when the runtime ends") {
  static probes::Shared<int> destroyed;
  struct Mortal {
    ~Mortal() { ++destroyed; }
    int number() { return 1; }
  };
  {
    ray::Runtime rt({.num_cpus = 1});
    auto mortal = rt.actor<Mortal>();
    rt.get(rt.remote<&Mortal::number>(mortal));
    CHECK(destroyed == 0);
  }
  CHECK(destroyed == 1);
}

// In threads only: a process that is killed runs no destructors.
TEST_CASE("the destructor runs on kill", "[threads]") {
  static probes::Shared<int> destroyed;
  struct Mortal {
    ~Mortal() { ++destroyed; }
    int number() { return 1; }
  };
  ray::Runtime rt({.num_cpus = 1});
  auto mortal = rt.actor<Mortal>();
  rt.get(rt.remote<&Mortal::number>(mortal));
  rt.kill(mortal);
  CHECK(eventually([] { return destroyed == 1; }));
}

TEST_CASE("a killed actor fails its calls, waiting and later ones") {
  static probes::Gate gate, inside;
  struct Slow {
    int hold() {
      inside.open();
      gate.pass();
      return 1;
    }
    int number() { return 2; }
  };
  ray::Runtime rt({.num_cpus = 2});
  const probes::OpenAtExit guard(gate);
  auto slow = rt.actor<Slow>();
  const auto running = rt.remote<&Slow::hold>(slow);
  inside.pass();
  const auto queued = rt.remote<&Slow::number>(slow);
  rt.kill(slow);
  CHECK_THROWS_AS(rt.get(queued, kDeadline), ray::ActorDiedError);
  CHECK_THROWS_AS(rt.get(rt.remote<&Slow::number>(slow), kDeadline), ray::ActorDiedError);
  gate.open();
  rt.try_get(running, kDeadline).has_value();
  rt.kill(slow);
}

TEST_CASE("the error of a call to a dead actor says why it is dead") {
  static probes::Gate gate;
  static probes::Gate inside[2];
  static probes::Shared<int> made;
  struct Mortal {
    explicit Mortal(bool throws) {
      if (throws) throw std::runtime_error("no such file");
    }
    int hold(int n) {
      inside[n].open();
      gate.pass();
      return n;
    }
  };
  struct Once {
    Once() {
      if (made++ != 0) throw std::runtime_error("only once");
    }
    int number() { return 1; }
  };
  ray::Runtime rt({.num_cpus = 2});
  const probes::OpenAtExit guard(gate);
  const auto says = [&](const auto& ref, const std::vector<std::string>& parts) {
    const auto result = rt.try_get(ref, kDeadline);
    const std::string text = result.has_value() ? "a value" : result.error().what();
    INFO(text);
    for (const std::string& part : parts) CHECK(text.find(part) != std::string::npos);
    CHECK_THROWS_AS(result.value(), ray::ActorDiedError);
  };

  auto killed = ray::actor<Mortal>.options({.name = "the first"})(false);
  const auto running = rt.remote<&Mortal::hold>(killed, 0);
  inside[0].pass();
  const auto queued = rt.remote<&Mortal::hold>(killed, 0);
  rt.kill(killed);
  says(running, {"Mortal::hold", "Mortal \"the first\" was killed by ray::kill"});
  says(queued, {"was killed by ray::kill", "max_restarts", "{.no_restart = false}"});
  says(rt.remote<&Mortal::hold>(killed, 0), {"was killed by ray::kill"});

  auto mortal = rt.actor<Mortal>(false);
  rt.kill(mortal, {.no_restart = false});
  says(rt.remote<&Mortal::hold>(mortal, 0),
       {"was killed by ray::kill", "max_restarts, which is 0"});

  auto again = ray::actor<Mortal>.options({.max_restarts = 1})(false);
  const auto cut = rt.remote<&Mortal::hold>(again, 1);
  inside[1].pass();
  rt.kill(again, {.no_restart = false});
  says(cut, {"was killed by ray::kill while this call ran", "max_task_retries"});
  rt.kill(again, {.no_restart = false});
  says(rt.remote<&Mortal::hold>(again, 1), {"killed", "used up its restarts", "max_restarts (1)"});
  says(cut, {"while this call ran"});

  auto unborn = rt.actor<Mortal>(true);
  says(rt.remote<&Mortal::hold>(unborn, 1), {"constructor threw", "no such file"});
  auto once = ray::actor<Once>.options({.max_restarts = 2})();
  CHECK(rt.get(rt.remote<&Once::number>(once)) == 1);
  rt.kill(once, {.no_restart = false});
  says(rt.remote<&Once::number>(once), {"only once", "after 2 restarts"});
}

TEST_CASE("actors are found by name from anywhere in the runtime") {
  constexpr auto finds = [](int n) {
    return add_through(ray::get_actor<Counter>("the counter"), n);
  };
  ray::init({.num_cpus = 1});
  {
    auto counter = ray::actor<Counter>.options({.name = "the counter"})(5);
    CHECK(ray::get(ray::remote<finds>(1)) == 6);
    CHECK(ray::get_actor<Counter>("the counter") == counter);
    CHECK_THROWS_AS(ray::get_actor<Counter>("nobody"), ray::InvalidArgumentError);
    CHECK_THROWS_AS(ray::get_actor<Recorder>("the counter"), ray::InvalidArgumentError);
    CHECK_THROWS_AS(ray::actor<Counter>.options({.name = "the counter"})(1),
                    ray::InvalidArgumentError);
    ray::kill(counter);
    CHECK(eventually([] {
      try {
        ray::get_actor<Counter>("the counter");
        return false;
      } catch (const ray::InvalidArgumentError&) {
        return true;
      }
    }));
    auto again = ray::actor<Counter>.options({.name = "the counter"})(7);
    CHECK(ray::get(ray::remote<&Counter::value>(again)) == 7);
  }
  ray::shutdown();
}

TEST_CASE("get_if_exists makes one actor however many ask at once") {
  static probes::Shared<int> made;
  struct Single {
    Single() { ++made; }
    int number() { return 4; }
  };
  ray::init({.num_cpus = 4});
  {
    std::vector<std::thread> threads;
    std::vector<ray::ActorHandle<Single>> handles(8);
    for (std::size_t i = 0; i < handles.size(); ++i) {
      threads.emplace_back([&handles, i] {
        handles[i] = ray::actor<Single>.options({.name = "single", .get_if_exists = true})();
      });
    }
    for (std::thread& thread : threads) thread.join();
    for (const auto& handle : handles) {
      CHECK(handle == handles[0]);
      CHECK(ray::get(ray::remote<&Single::number>(handle)) == 4);
    }
    CHECK(made == 1);
  }
  ray::shutdown();
}

TEST_CASE("a detached actor lives on without handles, an owned one does not") {
  ray::init({.num_cpus = 1});
  {
    ray::actor<Counter>.options({.name = "stays", .lifetime = ray::Lifetime::detached})(3);
    ray::actor<Counter>.options({.name = "goes"})(3);
    CHECK(eventually([] {
      try {
        ray::get_actor<Counter>("goes");
        return false;
      } catch (const ray::InvalidArgumentError&) {
        return true;
      }
    }));
    auto found = ray::get_actor<Counter>("stays");
    CHECK(ray::get(ray::remote<&Counter::value>(found)) == 3);
    ray::kill(found);
  }
  ray::shutdown();
}

TEST_CASE("an empty handle, and one that outlived its runtime, give errors and do not crash") {
  ray::ActorHandle<Counter> counter;
  ray::Runtime outer({.num_cpus = 1});
  CHECK_FALSE(counter);
  CHECK_THROWS_AS(outer.remote<&Counter::value>(counter), ray::InvalidArgumentError);
  CHECK_THROWS_AS(outer.kill(counter), ray::InvalidArgumentError);
  {
    ray::Runtime rt({.num_cpus = 1});
    counter = rt.actor<Counter>(1);
  }
  const auto call = [&] { outer.get(outer.remote<&Counter::value>(counter), kDeadline); };
  CHECK_THROWS_AS(call(), ray::Error);
}

}  // namespace actor_test
