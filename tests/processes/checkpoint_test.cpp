// Actors whose process is killed and who go on from their checkpoint (F32).
#include "processes/fault_probes.hpp"

#include <random>

namespace {

using namespace std::chrono_literals;
using Catch::Matchers::ContainsSubstring;
using faults::kDeadline;
using faults::Ledger;

/// Keeps what it was told, in order. Notes each process that it lives in.
class Diary {
public:
  explicit Diary(std::string ledger) { faults::note(ledger, faults::pid_text()); }
  int write(int line) {
    lines_.push_back(line);
    return line;
  }
  std::vector<int> lines() const { return lines_; }

  std::vector<int> checkpoint() const { return lines_; }
  void restore(const std::vector<int>& lines) { lines_ = lines; }

private:
  std::vector<int> lines_;
};

constexpr int kCallers = 3;  // Each writes caller + kCallers * n.

/// As a caller of its own: what it wrote is answered in order.
std::vector<int> writes(ray::ActorHandle<Diary> diary, int caller, int count) {
  std::vector<ray::ObjectRef<int>> refs;
  for (int i = 0; i < count; ++i) {
    refs.push_back(ray::remote<&Diary::write>(diary, caller + kCallers * i));
  }
  std::vector<int> answered;
  for (const auto& ref : refs) {
    const auto answer = ray::try_get(ref, kDeadline);
    if (answer.has_value()) answered.push_back(*answer);
  }
  return answered;
}

/// Kills the process in which the actor lives, again and again, until `over`; how often.
template <class Over>
int kill_until(const Ledger& ledger, unsigned seed, const Over& over) {
  std::mt19937 random(seed);
  int kills = 0;
  while (!over()) {
    const auto pids = ledger.lines();
    if (static_cast<int>(pids.size()) <= kills) {
      // It starts again, or nobody needs it any more.
      faults::eventually([&] { return static_cast<int>(ledger.lines().size()) > kills || over(); });
      continue;
    }
    const auto until = faults::Clock::now() + std::chrono::microseconds(random() % 20'000);
    faults::eventually([&] { return faults::Clock::now() > until || over(); });
    if (over()) break;
    ::kill(static_cast<pid_t>(std::stol(pids.back())), SIGKILL);
    kills = static_cast<int>(pids.size());
  }
  return kills;
}

bool in_order(const std::vector<int>& lines) {
  std::array<int, kCallers> last{-1, -1, -1};
  for (const int line : lines) {
    int& before = last[static_cast<std::size_t>(line % kCallers)];
    if (line <= before) return false;
    before = line;
  }
  return true;
}

}  // namespace

TEST_CASE("F32 what a killed actor answered is there once and in order, and nothing else is") {
  ray::Runtime rt(faults::processes(4));
  const Ledger ledger;
  const int retries = GENERATE(0, -1);
  {
    const auto diary =
        rt.actor_with<Diary>({.max_restarts = -1, .max_task_retries = retries})(ledger.file());
    const int count = probes::scaled(1500);
    std::vector<ray::ObjectRef<std::vector<int>>> callers;
    for (int caller = 0; caller < kCallers; ++caller) {
      callers.push_back(rt.with<writes>({.max_retries = 0})(diary, caller, count));
    }
    const int kills = kill_until(ledger, 7, [&] {
      return rt.wait(callers, {.num_returns = callers.size(), .timeout = 0ms}).pending.empty();
    });
    std::vector<int> answered;
    for (const auto& each : rt.get(callers, kDeadline)) {
      answered.insert(answered.end(), each.begin(), each.end());
    }
    std::vector<int> lines = rt.get(rt.remote<&Diary::lines>(diary), kDeadline);
    CHECK(in_order(lines));
    std::printf("F32: %d kills, %zu of %d calls answered\n", kills, answered.size(),
                kCallers * count);
    CHECK(kills > 0);
    // A call and its state are taken together: what failed left nothing behind.
    std::sort(lines.begin(), lines.end());
    std::sort(answered.begin(), answered.end());
    CHECK(lines == answered);
    if (retries == -1) CHECK(answered.size() == static_cast<std::size_t>(kCallers * count));
  }
  CHECK(faults::comes_to_nothing());
}

TEST_CASE("F32 with checkpoint_every n a killed actor has lost less than n calls") {
  ray::Runtime rt(faults::processes(2));
  const Ledger ledger;
  const auto diary =
      rt.actor_with<Diary>({.max_restarts = -1, .checkpoint_every = 10})(ledger.file());
  for (std::size_t round = 0; round < 5; ++round) {
    const auto before = rt.get(rt.remote<&Diary::lines>(diary), kDeadline);
    const int calls = 10 + 7 * static_cast<int>(round);
    for (int i = 0; i < calls; ++i) rt.get(rt.remote<&Diary::write>(diary, i), kDeadline);
    ::kill(ledger.await_pid(round), SIGKILL);
    REQUIRE(ledger.await_pid(round + 1) > 0);
    const auto after = rt.get(rt.remote<&Diary::lines>(diary), kDeadline);
    CHECK(after.size() == before.size() + static_cast<std::size_t>(calls / 10 * 10));
  }
}

// --- what is large, or refers to something ---

namespace {

class Heap {
public:
  struct State {
    std::vector<double> bulk;
    std::vector<ray::ObjectRef<std::vector<int>>> refs;
  };
  explicit Heap(std::string ledger) { faults::note(ledger, faults::pid_text()); }
  void add(ray::ObjectRef<std::vector<int>> ref) {
    state_.refs.push_back(std::move(ref));
    state_.bulk.assign(200'000, static_cast<double>(state_.refs.size()));
  }
  void forget() { state_ = {}; }
  int check() const {
    int wrong = 0;
    for (const double each : state_.bulk) wrong += each != static_cast<double>(state_.refs.size());
    for (std::size_t i = 0; i < state_.refs.size(); ++i) {
      wrong += ray::get(state_.refs[i]).back() != static_cast<int>(i);
    }
    return wrong;
  }
  std::size_t size() const { return state_.refs.size(); }

  const State& checkpoint() const { return state_; }
  void restore(const State& state) { state_ = state; }

private:
  State state_;
};

}  // namespace

TEST_CASE("F32 F33 large checkpoints and what they refer to are kept until the next one") {
  // Less memory than all checkpoints of the test: older ones go, and some lie on disk.
  ray::Runtime rt(faults::processes(2, std::uint64_t{6} << 20));
  const Ledger ledger;
  {
    const auto heap = rt.actor_with<Heap>({.max_restarts = -1})(ledger.file());
    for (int round = 0; round < 8; ++round) {
      rt.get(rt.remote<&Heap::add>(heap, rt.put(std::vector<int>(100'000, round))), kDeadline);
      ::kill(ledger.await_pid(static_cast<std::size_t>(round)), SIGKILL);
      CHECK(rt.get(rt.remote<&Heap::size>(heap), kDeadline) == static_cast<std::size_t>(round) + 1);
      CHECK(rt.get(rt.remote<&Heap::check>(heap), kDeadline) == 0);
    }
    rt.get(rt.remote<&Heap::forget>(heap), kDeadline);
    // The checkpoint holds nothing any more, and neither does anybody else.
    CHECK(faults::eventually([] { return faults::counts().stored_bytes == 0; }));
  }
  CHECK(faults::comes_to_nothing());
}

// --- dying where it matters ---

namespace {

class Fragile {
public:
  explicit Fragile(std::string ledger) : ledger_(std::move(ledger)) {}
  int set(int x) { return value_ = x; }
  int value() const { return value_; }
  int checkpoint() const {
    if (value_ == 1) {
      faults::note(ledger_, "checkpoint");
      ::raise(SIGKILL);
    }
    return value_;
  }
  void restore(int x) {
    value_ = x;
    if (x == 2) {
      faults::note(ledger_, "restore");
      ::raise(SIGKILL);
    }
  }

private:
  std::string ledger_;
  int value_ = 0;
};

struct NoWayOut {
  struct Sealed {
    explicit Sealed(int x) : value(x) {}
    int value;
  };
  int value = 0;
  int set(int x) { return value = x; }
  Sealed checkpoint() const { return Sealed(value); }
  void restore(const Sealed& sealed) { value = sealed.value; }
};

}  // namespace

TEST_CASE("F32 a process that ends in checkpoint or restore is a restart like any other") {
  ray::Runtime rt(faults::processes(2));
  const Ledger ledger;
  const auto fragile = rt.actor_with<Fragile>({.max_restarts = 4})(ledger.file());
  CHECK(rt.get(rt.remote<&Fragile::set>(fragile, 5), kDeadline) == 5);
  CHECK_THAT(faults::error_of<ray::ActorDiedError>(
                 [&] { rt.get(rt.remote<&Fragile::set>(fragile, 1), kDeadline); }),
             ContainsSubstring("SIGKILL"));
  CHECK(rt.get(rt.remote<&Fragile::value>(fragile), kDeadline) == 5);
  CHECK(rt.get(rt.remote<&Fragile::set>(fragile, 2), kDeadline) == 2);
  rt.kill(fragile, {.no_restart = false});
  CHECK_THAT(faults::error_of<ray::ActorDiedError>(
                 [&] { rt.get(rt.remote<&Fragile::value>(fragile), kDeadline); }),
             ContainsSubstring("SIGKILL") && ContainsSubstring("no restarts are left"));
  CHECK(ledger.lines() == std::vector<std::string>{"checkpoint", "restore", "restore", "restore"});
}

TEST_CASE("a state that cannot leave its process fails the call that would be saved") {
  ray::Runtime rt(faults::processes(1));
  const auto actor = rt.actor_with<NoWayOut>({.max_restarts = 1})();
  CHECK_THAT(faults::error_of<ray::SerializationError>(
                 [&] { rt.get(rt.remote<&NoWayOut::set>(actor, 1), kDeadline); }),
             ContainsSubstring("cannot leave its process"));
}

TEST_CASE("a checkpoint for which the store has no room fails its call, and the actor lives") {
  ray::Runtime rt(faults::processes(1, std::uint64_t{1} << 20));
  const Ledger ledger;
  const auto heap = rt.actor_with<Heap>({.max_restarts = 1})(ledger.file());
  CHECK_THAT(faults::error_of<ray::ObjectStoreFullError>([&] {
               rt.get(rt.remote<&Heap::add>(heap, rt.put(std::vector<int>(1, 0))), kDeadline);
             }),
             ContainsSubstring("is smaller"));
  CHECK(rt.get(rt.remote<&Heap::size>(heap), kDeadline) == 1);
  rt.get(rt.remote<&Heap::forget>(heap), kDeadline);
}
