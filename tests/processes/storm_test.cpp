// Many things at random moments, with real processes: cancels, kills, graphs of references, the end
// of the runtime. What is asked for has exactly one end, and nothing is left.
#include "processes/fault_probes.hpp"

#include <array>
#include <map>
#include <optional>
#include <random>
#include <set>

namespace {

using namespace std::chrono_literals;

using faults::same;

using IntRef = ray::ObjectRef<int>;

unsigned seed() {
  const char* text = std::getenv("RAY_TEST_SEED");
  const unsigned chosen =
      text != nullptr ? static_cast<unsigned>(std::stoul(text)) : std::random_device{}();
  std::printf("RAY_TEST_SEED=%u\n", chosen);
  return chosen;
}

int spins(int x, int microseconds) {
  const auto until = faults::Clock::now() + std::chrono::microseconds(microseconds);
  while (faults::Clock::now() < until && !ray::context().stop_token().stop_requested()) {
  }
  return x;
}

int waits_for_child(int x, int microseconds) {
  return ray::get(ray::remote<spins>(x, microseconds));
}

void loops(const std::string& ledger) {
  faults::note(ledger, faults::pid_text());
  const volatile bool endless = true;
  while (endless) {
  }
}

/// Notes each call; what is noted twice ran twice.
class Scribe {
public:
  int write(const std::string& ledger, int caller, int number) {
    faults::note(ledger, std::to_string(caller) + " " + std::to_string(number));
    std::this_thread::sleep_for(500us);  // Long enough to be killed in.
    return number;
  }
  int pid() const { return ::getpid(); }
};

/// Numbers of calls by caller, in the order in which they ran.
std::map<int, std::vector<int>> calls_in(const faults::Ledger& ledger) {
  std::map<int, std::vector<int>> calls;
  for (const std::string& line : ledger.lines()) {
    std::istringstream text(line);
    int caller = 0;
    int number = 0;
    text >> caller >> number;
    calls[caller].push_back(number);
  }
  return calls;
}

/// Kills the workers of actors every so often until it goes.
class Killer {
public:
  Killer(std::chrono::milliseconds period, bool actors_only)
      : thread_([this, period, actors_only] {
          while (!faults::eventually([&] { return over_.load(); }, period)) {
            for (const auto& worker : faults::host().workers()) {
              if (worker.pid == 0 || (actors_only && worker.actor == 0)) continue;
              ::kill(static_cast<pid_t>(worker.pid), SIGKILL);
              ++kills;
            }
          }
        }) {}
  ~Killer() {
    over_ = true;
    thread_.join();
  }
  std::atomic<int> kills{0};

private:
  std::atomic<bool> over_{false};
  std::thread thread_;
};

bool workers_are_idle() {
  return faults::eventually([] {
    const auto workers = faults::host().workers();
    return std::all_of(workers.begin(), workers.end(), [](const auto& worker) {
      return worker.phase == ray::detail::Node::WorkerState::Phase::idle;
    });
  });
}

}  // namespace

TEST_CASE("F31 tasks that are cancelled at random moments have one end each") {
  ray::Runtime rt(faults::processes(2));
  std::mt19937 random(seed());
  int values = 0;
  int cancelled = 0;
  const int all = probes::scaled(10'000);
  for (int done = 0; done < all;) {
    std::vector<std::pair<IntRef, int>> batch;
    for (int i = 0; i < 100; ++i, ++done) {
      const int time = static_cast<int>(random() % 300);
      switch (random() % 3) {
        case 0:
          batch.emplace_back(rt.remote<spins>(done, time), done);
          break;
        case 1:
          batch.emplace_back(rt.remote<waits_for_child>(done, time), done);
          break;
        default:
          batch.emplace_back(rt.remote<same>(rt.remote<spins>(done, time)), done);
      }
      if (random() % 2 == 0) rt.cancel(batch[random() % batch.size()].first);
    }
    for (const auto& [ref, number] : batch) {
      if (random() % 4 == 0) rt.cancel(ref);
      try {
        if (rt.get(ref, faults::kDeadline) != number) FAIL("a wrong value");
        ++values;
      } catch (const ray::TaskCancelledError&) {
        ++cancelled;
      }
    }
  }
  CHECK(values + cancelled == all);
  std::printf("F31: %d values, %d cancelled\n", values, cancelled);
  CHECK(workers_are_idle());
  CHECK(faults::host().available().cpu == 2 * ray::detail::kCpuUnit);
  CHECK(faults::comes_to_nothing());
}

TEST_CASE("F31 running loops are cancelled with force, and their places come back") {
  ray::Runtime rt(faults::processes(2));
  for (int round = 0; round < probes::scaled(20); ++round) {
    const faults::Ledger ledger;
    const auto ref = rt.remote<loops>(ledger.file());
    const pid_t worker = ledger.await_pid();
    REQUIRE(worker > 0);
    const auto bystander = rt.remote<spins>(round, 1000);
    rt.cancel(ref, {.force = true});
    CHECK_THROWS_AS(rt.get(ref, faults::kDeadline), ray::TaskCancelledError);
    CHECK(faults::eventually([&] { return !faults::is_alive(worker); }));
    CHECK(rt.get(bystander, faults::kDeadline) == round);
    CHECK(ledger.lines().size() == 1);
  }
  CHECK(workers_are_idle());
  CHECK(faults::host().available().cpu == 2 * ray::detail::kCpuUnit);
  CHECK(faults::comes_to_nothing());
}

TEST_CASE("F32 calls that may be tried again all end well, in each caller's order") {
  ray::Runtime rt(faults::processes(2));
  const faults::Ledger ledger;
  const auto scribe = rt.actor_with<Scribe>({.max_restarts = -1, .max_task_retries = -1})();
  constexpr int kCallers = 3;
  const int calls = probes::scaled(300);
  std::vector<std::thread> callers;
  std::atomic<int> right{0};
  std::array<int, kCallers> made{};
  int kills = 0;
  {
    Killer killer(500ms, true);
    for (int caller = 0; caller < kCallers; ++caller) {
      callers.emplace_back([&, caller] {
        std::vector<IntRef> refs;
        int& count = made[static_cast<std::size_t>(caller)];
        for (; count < calls || killer.kills < 3; ++count) {
          refs.push_back(rt.remote<&Scribe::write>(scribe, ledger.file(), caller, count));
          if (count % 10 == 9) ray::wait(std::vector{refs.back()}, {.timeout = 20ms});
        }
        for (int i = 0; i < count; ++i) {
          const auto value = ray::try_get(refs[static_cast<std::size_t>(i)], faults::kDeadline);
          if (value && *value == i) ++right;
          if (!value) std::printf("F32: call %d: %s\n", i, value.error().what());
        }
      });
    }
    for (std::thread& thread : callers) thread.join();
    kills = killer.kills;
  }
  const int all = made[0] + made[1] + made[2];
  CHECK(kills >= 3);
  CHECK(right == all);
  const auto ran = calls_in(ledger);
  CHECK(ran.size() == kCallers);
  for (const auto& [caller, numbers] : ran) {
    // What came twice apart, they ran in the order of their submission.
    int last = -1;
    for (const int number : numbers) {
      if (number > last + 1) FAIL("caller " << caller << ": " << number << " after " << last);
      last = std::max(last, number);
    }
    CHECK(last == made[static_cast<std::size_t>(caller)] - 1);
  }
  std::printf("F32: %d kills, %zu runs of %d calls\n", kills, ledger.lines().size(), all);
}

TEST_CASE("F32 calls that may not be tried again run once at most") {
  ray::Runtime rt(faults::processes(2));
  const faults::Ledger ledger;
  const auto scribe = rt.actor_with<Scribe>({.max_restarts = -1})();
  int values = 0;
  int errors = 0;
  {
    Killer killer(500ms, true);
    int number = 0;
    while (killer.kills < 3 || number < 100) {
      std::vector<IntRef> refs;
      for (int i = 0; i < 20; ++i) {
        refs.push_back(rt.remote<&Scribe::write>(scribe, ledger.file(), 0, number++));
      }
      for (const IntRef& ref : refs) {
        try {
          rt.get(ref, faults::kDeadline);
          ++values;
        } catch (const ray::ActorDiedError&) {
          ++errors;
        } catch (const ray::ActorUnavailableError&) {
          ++errors;
        }
      }
    }
  }
  const auto numbers = calls_in(ledger).at(0);
  CHECK(std::set<int>(numbers.begin(), numbers.end()).size() == numbers.size());
  CHECK(std::is_sorted(numbers.begin(), numbers.end()));
  CHECK(numbers.size() >= static_cast<std::size_t>(values));
  std::printf("F32: %d values, %d errors, %zu runs\n", values, errors, numbers.size());
}

// --- graphs of references ---

namespace {

struct Bundle {
  int value = 0;
  std::vector<IntRef> refs;
  std::map<std::string, IntRef> named;
};

Bundle bundle_of(int value, std::vector<IntRef> refs) {
  Bundle bundle{.value = value, .refs = std::move(refs), .named = {}};
  bundle.named["child"] = ray::remote<same>(value);
  bundle.named["put"] = ray::put(value);
  return bundle;
}

int sum_of(const Bundle& bundle) {
  int sum = bundle.value;
  for (const IntRef& ref : bundle.refs) sum += ray::get(ref);
  for (const auto& [name, ref] : bundle.named) sum += ray::get(ref);
  return sum;
}

IntRef passes_on(const IntRef& ref) { return ray::remote<same>(ref); }
IntRef wraps(std::vector<IntRef> refs) { return refs.back(); }

class Cupboard {
public:
  void keep(std::vector<IntRef> refs) { refs_ = std::move(refs); }
  int count() const { return static_cast<int>(refs_.size()); }
  std::vector<IntRef> take() { return std::exchange(refs_, {}); }

private:
  std::vector<IntRef> refs_;
};

}  // namespace

TEST_CASE("F33 graphs of references in arguments, results and actors leave nothing") {
  ray::Runtime rt(faults::processes(2));
  std::mt19937 random(seed());
  {
    const auto cupboard = rt.actor<Cupboard>();
    const int graphs = probes::scaled(100'000);
    std::vector<std::pair<ray::ObjectRef<int>, int>> sums;
    for (int graph = 0; graph < graphs; ++graph) {
      std::vector<IntRef> refs;
      std::vector<int> values;
      const std::size_t size = 1 + random() % 4;
      for (std::size_t i = 0; i < size; ++i) {
        const int value = static_cast<int>(random() % 1000);
        refs.push_back(random() % 2 == 0 ? rt.put(value) : rt.remote<same>(value));
        values.push_back(value);
      }
      switch (random() % 5) {
        case 0: {
          const auto bundle = rt.remote<bundle_of>(1, refs);
          int sum = 3;
          for (const int value : values) sum += value;
          sums.emplace_back(rt.remote<sum_of>(bundle), sum);
          break;
        }
        case 1:
          rt.remote<bundle_of>(2, refs);  // Dropped in flight.
          break;
        case 2: {
          const auto outer = rt.remote<passes_on>(refs.front());
          if (random() % 2 == 0) sums.emplace_back(rt.get(outer), values.front());
          break;
        }
        case 3: {
          rt.remote<&Cupboard::keep>(cupboard, refs);
          if (random() % 2 == 0) {
            const auto taken = rt.remote<&Cupboard::take>(cupboard);
            const auto wrapped = rt.remote<wraps>(taken);
            if (random() % 2 == 0) sums.emplace_back(rt.get(wrapped), values.back());
          }
          break;
        }
        default:
          sums.emplace_back(rt.remote<same>(rt.remote<same>(refs.back())), values.back());
      }
      if (sums.size() >= 100) {
        for (const auto& [ref, sum] : sums) {
          if (rt.get(ref, faults::kDeadline) != sum) FAIL("a wrong sum in graph " << graph);
        }
        sums.clear();
      }
    }
    rt.remote<&Cupboard::take>(cupboard);
  }
  CHECK(faults::comes_to_nothing());
}

TEST_CASE("F33 graphs of references leave nothing when workers are killed meanwhile") {
  ray::Runtime rt(faults::processes(2));
  std::mt19937 random(seed());
  {
    Killer killer(300ms, false);
    while (killer.kills < 8) {
      std::vector<IntRef> refs;
      for (int i = 0; i < 4; ++i) refs.push_back(rt.remote<same>(i));
      const auto bundle = rt.with<bundle_of>({.max_retries = -1})(1, refs);
      const auto sum = rt.with<sum_of>({.max_retries = -1})(bundle);
      const auto dropped = rt.remote<bundle_of>(2, refs);
      if (random() % 2 == 0) continue;
      try {
        if (rt.get(sum, faults::kDeadline) != 9) FAIL("a wrong sum");
      } catch (const ray::WorkerCrashedError&) {  // Three in a row: poison.
      }
    }
  }
  CHECK(faults::comes_to_nothing());
}

TEST_CASE("F40 a runtime that ends at any moment ends in time and leaves nothing") {
  {
    ray::Runtime warm(faults::processes(2));
    CHECK(warm.get(warm.remote<same>(1), faults::kDeadline) == 1);
  }
  const faults::Baseline baseline;
  std::mt19937 random(seed());
  double longest = 0;
  for (int round = 0; round < probes::scaled(30); ++round) {
    std::vector<IntRef> refs;
    std::optional<ray::Runtime> rt(std::in_place, faults::processes(2));
    const auto scribe = rt->actor_with<Scribe>({.max_restarts = -1, .max_task_retries = -1})();
    const auto end = faults::Clock::now() + std::chrono::microseconds(random() % 200'000);
    std::optional<Killer> killer;
    if (random() % 2 == 0) killer.emplace(20ms, false);
    const faults::Ledger ledger;
    std::vector<ray::ObjectRef<std::vector<int>>> large;
    for (int i = 0; faults::Clock::now() < end; ++i) {
      refs.push_back(rt->remote<waits_for_child>(i, 100));
      refs.push_back(rt->remote<&Scribe::write>(scribe, ledger.file(), 0, i));
      if (random() % 8 == 0) rt->cancel(refs[random() % refs.size()]);
      if (random() % 8 == 0) large.push_back(rt->put(std::vector<int>(50'000, i)));
      if (random() % 16 == 0)
        refs.erase(refs.begin(), refs.begin() + static_cast<long>(refs.size() / 2));
    }
    killer.reset();
    const auto start = faults::Clock::now();
    rt.reset();
    longest = std::max(longest, faults::seconds_since(start));
    for (const IntRef& ref : refs) static_cast<void>(ray::try_get(ref, 0s));
    large.clear();
    refs.clear();
    CHECK(baseline.is_back());
  }
  std::printf("F40: the longest end took %.2f s\n", longest);
  CHECK(longest <= 5);
}
