// Destructors of users' values that call ray: as arguments go, as results go that nobody wants, and
// after the record is gone of the task at whose end they run. AddressSanitizer sees most of it.
#include "support/catch.hpp"

#include <ray/ray.hpp>

#include "api/probes.hpp"

#include <atomic>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace destructors_test {

namespace {

using probes::eventually;
using probes::kDeadline;

int plus_one(int x) { return x + 1; }

/// When the last one is destroyed it makes an object and tasks, gets a result, and asks where it
/// is.
template <class Tag>
class Busy {
public:
  Busy() = default;
  Busy(Busy&& other) noexcept : alive_(std::exchange(other.alive_, false)) {}
  ~Busy() {
    if (!alive_) return;
    ray::remote<plus_one>(1);
    const auto here = ray::context();  // No task's, or that of one that is still there.
    if (here.task_name().empty() != (here.task_id() == ray::TaskId{})) return;
    if (ray::get(ray::remote<plus_one>(ray::put(2))) == 3) ++ended_;
  }

  /// Whether so many have ended well; in processes each of them may have been in several.
  static bool ended(int count) {
    return eventually(
        [count] { return probes::in_processes() ? ended_ >= count : ended_ == count; });
  }

  template <class Archive>
  void serialize(Archive& archive) {
    archive(alive_);
  }

private:
  bool alive_ = true;
  inline static probes::Shared<int> ended_;
};

template <class Tag>
using Ref = ray::ObjectRef<Busy<Tag>>;

template <class Tag>
probes::Gate gate;
template <class Tag>
int throws_when_open() {
  gate<Tag>.pass();
  throw std::runtime_error("no");
}

/// ray::init for one test: what a driver's destructors make has to go somewhere.
struct Initialized {
  explicit Initialized(const ray::RuntimeOptions& options) { ray::init(options); }
  ~Initialized() { ray::shutdown(); }
  Initialized(const Initialized&) = delete;
  Initialized& operator=(const Initialized&) = delete;
};

bool back_to_full() {
  return eventually([] { return ray::available_resources() == ray::cluster_resources(); });
}

}  // namespace

TEST_CASE("a destructor of an argument may make objects and get results") {
  struct Arg;
  constexpr auto takes = [](Busy<Arg>) { return 1; };
  constexpr auto looks = [](const Busy<Arg>&) { return 1; };
  constexpr auto holds = [](const std::vector<Ref<Arg>>& refs) { return refs.size(); };
  const Initialized runtime({.num_cpus = 1});
  CHECK(ray::get(ray::remote<takes>(Busy<Arg>())) == 1);
  CHECK(ray::get(ray::remote<looks>(Busy<Arg>())) == 1);
  CHECK(ray::get(ray::remote<looks>(ray::put(Busy<Arg>()))) == 1);
  std::vector<Ref<Arg>> refs;
  for (int i = 0; i < 3; ++i) refs.push_back(ray::put(Busy<Arg>()));
  CHECK(ray::get(ray::remote<holds>(std::move(refs))) == 3);
  CHECK(Busy<Arg>::ended(6));
  // Nobody has a reference to the task itself when its argument goes.
  ray::remote<looks>(Busy<Arg>());
  ray::remote<looks>(ray::put(Busy<Arg>()));
  CHECK(Busy<Arg>::ended(8));
  CHECK(back_to_full());
}

TEST_CASE("a destructor of a result that nobody wants may make objects and get results") {
  struct Result;
  constexpr auto plain = [] {
    gate<Result>.pass();
    return Busy<Result>();
  };
  // The objects in it are destroyed after it, in a row, when the task is gone.
  constexpr auto nested = [](std::vector<Ref<Result>> refs) {
    gate<Result>.pass();
    return refs;
  };
  constexpr auto pair = [] {
    gate<Result>.pass();
    return std::tuple(Busy<Result>(), 1);
  };
  const Initialized runtime({.num_cpus = 4});
  const probes::OpenAtExit guard(gate<Result>);
  std::vector<Ref<Result>> inner;
  for (int i = 0; i < 3; ++i) inner.push_back(ray::put(Busy<Result>()));
  const auto cancelled = ray::remote<plain>();
  ray::remote<plain>();
  ray::remote<nested>(std::move(inner));
  ray::remote<pair>();
  REQUIRE(gate<Result>.await_waiting(4));
  ray::cancel(cancelled, {.recursive = false});  // Else it would cancel what the destructor makes.
  gate<Result>.open();
  CHECK(Busy<Result>::ended(6));
  CHECK(back_to_full());
}

TEST_CASE("arguments of tasks that fail with an earlier one may make objects as they go") {
  struct Early;
  constexpr auto first = [](const Busy<Early>&, int x) { return x; };
  constexpr auto second = [](int x, const Busy<Early>&) { return x; };
  // One more than wait at the gate: in processes the arguments go once they are sent.
  const Initialized runtime({.num_cpus = 3});
  const probes::OpenAtExit guard(gate<Early>);
  {
    // Each has the last reference to the task that fails, on one side or the other of the value.
    const auto left = ray::remote<throws_when_open<Early>>();
    const auto right = ray::remote<throws_when_open<Early>>();
    REQUIRE(gate<Early>.await_waiting(2));
    ray::remote<first>(Busy<Early>(), right);
    ray::remote<second>(left, Busy<Early>());
  }
  gate<Early>.open();
  CHECK(Busy<Early>::ended(2));
  CHECK(back_to_full());
}

TEST_CASE("what methods and coroutines leave behind may make objects as it goes") {
  struct Left;
  struct Keeper {
    Busy<Left> own;
    int takes(const Busy<Left>&) { return 1; }
    Busy<Left> gives(int) {
      gate<Left>.pass();
      return {};
    }
  };
  constexpr auto awaits = [](Busy<Left> mine) -> ray::Task<Busy<Left>> {
    co_await ray::remote<plus_one>(1);
    const Busy<Left> local;
    co_return std::move(mine);
  };
  constexpr auto yields = [](const Busy<Left>&) -> ray::Generator<Busy<Left>> {
    for (int i = 0; i < 3; ++i) co_yield Busy<Left>();
  };
  const Initialized runtime({.num_cpus = 2});
  {
    const probes::OpenAtExit guard(gate<Left>);
    const auto keeper = ray::actor<Keeper>();
    CHECK(ray::get(ray::remote<&Keeper::takes>(keeper, Busy<Left>())) == 1);
    ray::remote<&Keeper::gives>(keeper, 1);
    REQUIRE(gate<Left>.await_waiting(1));
  }
  CHECK(Busy<Left>::ended(3));
  ray::remote<awaits>(Busy<Left>());
  CHECK(Busy<Left>::ended(5));
  auto stream = ray::remote<yields>(Busy<Left>());
  int items = 0;
  while (stream.next()) ++items;
  CHECK(items == 3);
  CHECK(Busy<Left>::ended(9));
  CHECK(back_to_full());
}

TEST_CASE("a destructor that waits for another task at the end of its own gives its CPU away") {
  struct Waits {
    ray::ObjectRef<int> ref;
    explicit Waits(ray::ObjectRef<int> other) : ref(std::move(other)) {}
    Waits(Waits&&) = default;
    ~Waits() {
      if (ref && ray::get(ref) == 1) ++ended();
    }
    static probes::Shared<int>& ended() {
      static probes::Shared<int> count;
      return count;
    }
  };
  static probes::Gate held, made;
  constexpr auto hold = [] {
    held.pass();
    return 1;
  };
  constexpr auto gives = [](ray::ObjectRef<int> ref) {
    made.pass();
    return Waits(std::move(ref));
  };
  const Initialized runtime({.num_cpus = 1});
  const probes::OpenAtExit guard(held);
  const probes::OpenAtExit other_guard(made);
  // Runs on a thread of its own: it takes no CPU.
  const auto other = ray::remote<hold>.options({.num_cpus = 0})();
  REQUIRE(held.await_waiting(1));
  ray::remote<gives>(other);
  REQUIRE(made.await_waiting(1));
  made.open();
  const std::vector next{ray::remote<plus_one>(1)};
  CHECK(ray::wait(next, {.timeout = kDeadline}).ready.size() == 1);
  CHECK(Waits::ended() == 0);
  held.open();
  CHECK(eventually([] { return Waits::ended() == 1; }));
  CHECK(back_to_full());
}

TEST_CASE("what a destructor makes at the end of a task is a child of that task") {
  struct Parent {
    bool alive = true;
    Parent() = default;
    Parent(Parent&& other) noexcept : alive(std::exchange(other.alive, false)) {}
    ~Parent() {
      if (alive) ray::remote<plus_one>.options({.name = "of a destructor"})(1);
    }
  };
  static probes::Shared<ray::TaskId> id;
  static probes::Gate opened;
  constexpr auto gives = [] {
    id = ray::context().task_id();
    opened.pass();
    return Parent();
  };
  const Initialized runtime({.num_cpus = 1, .task_events = true});
  const probes::OpenAtExit guard(opened);
  ray::remote<gives>();
  REQUIRE(opened.await_waiting(1));
  opened.open();
  const auto child = [] {
    const auto tasks = ray::state().tasks;
    for (const auto& task : tasks) {
      if (task.name == "of a destructor") return task.parent_id;
    }
    return ray::TaskId{};
  };
  REQUIRE(eventually([&] { return child() != ray::TaskId{}; }));
  CHECK(child() == id.load());
}

TEST_CASE("a destructor that waits for a task which waits leaves nothing ready behind") {
  constexpr auto spins = [](int rounds) {
    std::atomic<int> count{0};
    while (count < rounds) ++count;
    return 1;
  };
  static constexpr auto next = [](int x) { return x + 1; };
  static constexpr auto chain = [](int rounds) {
    auto ref = ray::remote<spins>(rounds);
    for (int i = 0; i < 200; ++i) ref = ray::remote<next>(ref);
    return ray::get(ref);
  };
  static probes::Shared<int> ended;
  struct Waits {
    int rounds = 0;
    explicit Waits(int n) : rounds(n) {}
    Waits(Waits&& other) noexcept : rounds(std::exchange(other.rounds, 0)) {}
    Waits& operator=(Waits&&) = delete;
    ~Waits() {
      if (rounds == 0) return;
      ended += ray::get(ray::remote<chain>(rounds)) == 201 ? 1 : 0;
    }
  };
  constexpr auto makes = [](int rounds) { return Waits(rounds); };
  ray::Runtime rt({.num_cpus = 3});
  for (int round = 1; round <= 50; ++round) {
    static_cast<void>(rt.remote<makes>(1000 * round));
    REQUIRE(probes::eventually([&] { return ended == round; }));
  }
}

}  // namespace destructors_test
