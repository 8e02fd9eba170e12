// Coroutines of worker processes: who runs them when they go on, and waits that cannot end.
#include "processes/fault_probes.hpp"

#include <ray/coroutine.hpp>

#include <algorithm>
#include <array>
#include <atomic>
#include <filesystem>
#include <fstream>
#include <thread>

namespace {

using faults::Ledger;
using faults::processes;
using probes::eventually;
using probes::kDeadline;
using namespace std::chrono_literals;

ray::Generator<int> dies_once(int items) {
  for (int i = 0; i < items; ++i) {
    if (i == items / 2 && ray::context().attempt() == 0) ::raise(SIGKILL);
    co_yield i;
  }
}

struct Gate {
  int wait(std::string file) {
    return eventually([&] { return std::filesystem::exists(file); }) ? 1 : 0;
  }
};

ray::Task<int> awaits(std::vector<ray::ObjectRef<int>> refs, std::string ledger) {
  faults::note(ledger, faults::pid_text());
  co_return co_await refs[0] + 1;
}

int gets(std::vector<ray::ObjectRef<int>> refs, std::string ledger) {
  faults::note(ledger, faults::pid_text());
  return ray::get(refs[0]) + 1;
}

int one() { return 1; }
int plus_one(int x) { return x + 1; }

ray::ObjectRef<int> asks() { return ray::remote<one>.options({.resources = {{"R", 1}}})(); }

ray::Task<int> holds_and_awaits() { co_return co_await asks(); }

int polite(std::string ledger) {
  faults::note(ledger, "begun");
  const auto token = ray::context().stop_token();
  eventually([&] { return token.stop_requested(); });
  faults::note(ledger, token.stop_requested() ? "stopped" : "not asked");
  return 0;
}
struct Polite {
  int wait(const std::string& ledger) { return polite(ledger); }
};

/// How often the threads of a process have gone to sleep.
long sleeps_of(std::int64_t pid) {
  long sleeps = 0;
  for (const auto& thread :
       std::filesystem::directory_iterator("/proc/" + std::to_string(pid) + "/task")) {
    std::ifstream file(thread.path() / "status");
    for (std::string line; std::getline(file, line);) {
      if (line.starts_with("voluntary_ctxt_switches:")) sleeps += std::stol(line.substr(24));
    }
  }
  return sleeps;
}

}  // namespace

TEST_CASE("what two threads send for the first time at once is there for both", "[processes]") {
  ray::Runtime rt(processes(2));
  for (int round = 0; round < probes::scaled(100); ++round) {
    std::vector<ray::ObjectRef<int>> refs;
    for (int i = 0; i < 20; ++i) refs.push_back(rt.put(i));
    std::array<std::vector<ray::ObjectRef<int>>, 2> sums;
    std::atomic<int> ready{0};
    std::vector<std::jthread> threads;
    for (auto& mine : sums) {
      threads.emplace_back([&] {
        ++ready;
        while (ready < 2) std::this_thread::yield();
        for (const auto& ref : refs) mine.push_back(rt.remote<plus_one>(ref));
      });
    }
    threads.clear();
    for (const auto& mine : sums) {
      for (std::size_t i = 0; i < refs.size(); ++i) {
        REQUIRE(rt.get(mine[i], kDeadline) == static_cast<int>(i) + 1);
      }
    }
  }
  CHECK(faults::comes_to_nothing());
}

TEST_CASE("the end of a runtime asks what runs in worker processes to stop", "[processes]") {
  const Ledger ledger;
  {
    ray::Runtime rt(processes(2));
    const auto actor = rt.actor<Polite>();
    const auto call = rt.remote<&Polite::wait>(actor, ledger.file());
    const auto task = rt.remote<polite>(ledger.file());
    REQUIRE(eventually([&] { return ledger.lines().size() == 2; }));
  }
  const auto lines = ledger.lines();
  CHECK(std::count(lines.begin(), lines.end(), "stopped") == 2);
}

TEST_CASE("processes that have nothing to do sleep", "[processes]") {
  ray::Runtime rt(processes(1));
  CHECK(rt.get(rt.remote<one>(), kDeadline) == 1);
  const std::int64_t worker = faults::host().workers().at(0).pid;
  // In each process some wake-ups a second; at first a thread looks more often.
  const auto sleep_less = [](std::int64_t pid) {
    return eventually([&] {
      const long before = sleeps_of(pid);
      std::this_thread::sleep_for(500ms);
      return sleeps_of(pid) - before <= 25;
    });
  };
  CHECK(sleep_less(worker));
  CHECK(sleep_less(::getpid()));
}

TEST_CASE("a stream whose process died goes on, though its reader is far ahead", "[processes]") {
  ray::Runtime rt(processes(1));
  auto stream = rt.with<dies_once>({.max_retries = 1, .generator_backpressure = 2})(40);
  for (int i = 0; i < 40; ++i) {
    const auto ref = stream.next();
    REQUIRE(ref.has_value());
    REQUIRE(rt.get(*ref, kDeadline) == i);
  }
  CHECK_FALSE(stream.next().has_value());
}

TEST_CASE("a coroutine goes on in a worker that waits for it in get()", "[processes]") {
  const Ledger ledger;
  ray::Runtime rt(processes(1));
  const std::string go = ledger.file() + ".go";
  const auto gate = rt.actor<Gate>();
  const std::vector refs{rt.remote<&Gate::wait>(gate, go)};
  const std::vector coroutine{rt.remote<awaits>(refs, ledger.file())};
  const pid_t pid = ledger.await_pid(0);
  REQUIRE(pid != 0);
  const auto result = rt.remote<gets>(coroutine, ledger.file());
  REQUIRE(ledger.await_pid(1) == pid);
  REQUIRE(eventually([&] {
    const ray::State state = rt.state();
    return std::any_of(state.workers.begin(), state.workers.end(),
                       [&](const auto& worker) { return worker.pid == pid && worker.blocked; });
  }));
  faults::note(go, "go");
  CHECK(rt.get(result, kDeadline) == 3);
}

TEST_CASE("a coroutine that awaits what needs the resources that it holds is told", "[processes]") {
  ray::RuntimeOptions options = processes(2);
  options.resources = {{"R", 1}};
  ray::Runtime rt(options);
  const auto held = rt.with<holds_and_awaits>({.resources = {{"R", 1}}})();
  CHECK_THROWS_AS(rt.get(held, kDeadline), ray::DeadlockError);
  const auto free = rt.remote<holds_and_awaits>();
  CHECK(rt.get(free, kDeadline) == 1);
}
