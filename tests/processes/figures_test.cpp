// Goals of the reliability design that are numbers, for worker processes on one machine.
#include "processes/fault_probes.hpp"

#include <atomic>
#include <random>

namespace {

using namespace std::chrono_literals;
using faults::same;

int kills_itself() {
  ::raise(SIGKILL);
  return 0;
}

void waits_for_death(const std::string& ledger) {
  faults::note(ledger, faults::pid_text());
  faults::wait_to_be_killed();
}

int work(int x) {
  std::this_thread::sleep_for(10ms);
  return x;
}

std::vector<int> many(int x) { return std::vector<int>(1 << 18, x); }

/// Kills a busy worker every `period` for `length`, while tasks of 10 ms run on four (G-06).
void kill_workers(std::chrono::seconds length, std::chrono::seconds period) {
  ray::Runtime rt(faults::processes(4));
  constexpr std::size_t kAtOnce = 400;
  std::size_t done = 0;
  std::size_t errors = 0;
  const auto run_for = [&](std::chrono::seconds time) {
    const auto start = faults::Clock::now();
    const std::size_t before = done;
    std::vector<ray::ObjectRef<int>> refs;
    int number = 0;
    while (faults::Clock::now() - start < time || !refs.empty()) {
      while (faults::Clock::now() - start < time && refs.size() < kAtOnce) {
        refs.push_back(rt.with<work>({.max_retries = 10})(number++));
      }
      auto [ready, pending] =
          rt.wait(refs, {.num_returns = std::min<std::size_t>(40, refs.size())});
      for (const auto& ref : ready) {
        const auto value = ray::try_get(ref);
        errors += value.has_value() ? 0 : 1;
        ++done;
      }
      refs = std::move(pending);
    }
    CHECK(done - before == static_cast<std::size_t>(number));
    return static_cast<double>(done - before) / faults::seconds_since(start);
  };
  run_for(1s);
  const double before = run_for(length / 3);
  std::atomic<bool> over{false};
  std::atomic<int> kills{0};
  std::thread killer([&] {
    std::mt19937 random(7);
    while (!over) {
      if (faults::eventually([&] { return over.load(); }, period)) break;
      std::vector<pid_t> busy;
      for (const auto& worker : faults::host().workers()) {
        if (worker.phase == ray::detail::Node::WorkerState::Phase::running) {
          busy.push_back(static_cast<pid_t>(worker.pid));
        }
      }
      if (busy.empty()) continue;
      ::kill(busy[random() % busy.size()], SIGKILL);
      ++kills;
    }
  });
  const double beside = run_for(length);
  over = true;
  killer.join();
  const double after = run_for(length / 3);
  const double alone = (before + after) / 2;
  std::printf(
      "G-06: %d kills, %.0f tasks/s without faults, %.0f with: %.1f %%; errors %zu, twice "
      "committed %llu\n",
      kills.load(), alone, beside, 100 * beside / alone, errors,
      static_cast<unsigned long long>(faults::counts().commits_dropped));
  CHECK(kills >= 1);
  CHECK(errors == 0);
  CHECK(faults::counts().commits_dropped == 0);
  if (!probes::kSanitized) CHECK(beside >= 0.9 * alone);
}

}  // namespace

TEST_CASE("G-05 hundreds of workers that end by themselves: each is told, nothing grows") {
  ray::Runtime rt(faults::processes(2));
  const auto suicide = [&] {
    const auto start = faults::Clock::now();
    const std::string text = faults::error_of<ray::WorkerCrashedError>(
        [&] { rt.get(rt.with<kills_itself>({.max_retries = 0})(), faults::kDeadline); });
    if (text.find("SIGKILL") == std::string::npos) FAIL(text);
    return faults::seconds_since(start);
  };
  const auto settle = [&] {
    return faults::eventually([] {
      const auto workers = faults::host().workers();
      return workers.size() == 2 && std::all_of(workers.begin(), workers.end(), [](const auto& w) {
               return w.phase == ray::detail::Node::WorkerState::Phase::idle;
             });
    });
  };
  for (int i = 0; i < 20; ++i) suicide();
  CHECK(settle());
  const std::size_t descriptors = faults::open_descriptors();
  const std::uint64_t resident = faults::resident_bytes();
  std::vector<double> times;
  for (int i = 0; i < probes::scaled(500); ++i) times.push_back(suicide());
  CHECK(settle());
  const double grown =
      (static_cast<double>(faults::resident_bytes()) - static_cast<double>(resident)) / (1 << 20);
  std::printf(
      "G-05: %zu suicides, p50 %.1f ms, p99 %.1f ms, most %.1f ms; resident %+.2f MiB, "
      "descriptors %+d\n",
      times.size(), 1e3 * faults::quantile(times, 0.5), 1e3 * faults::quantile(times, 0.99),
      1e3 * faults::quantile(times, 1), grown,
      static_cast<int>(faults::open_descriptors()) - static_cast<int>(descriptors));
  CHECK(faults::quantile(times, 1) <= 1);
  if (!probes::kSanitized) CHECK(grown <= 5);
  CHECK(faults::open_descriptors() == descriptors);
  CHECK(rt.get(rt.remote<same>(1), faults::kDeadline) == 1);
}

TEST_CASE("G-10 the death of a worker is noticed at once") {
  ray::Runtime rt(faults::processes(1));
  std::vector<double> times;
  for (int i = 0; i < probes::scaled(100); ++i) {
    const faults::Ledger ledger;
    const auto ref = rt.with<waits_for_death>({.max_retries = 0})(ledger.file());
    const pid_t worker = ledger.await_pid();
    REQUIRE(worker > 0);
    const auto start = faults::Clock::now();
    ::kill(worker, SIGKILL);
    CHECK_THROWS_AS(rt.get(ref, faults::kDeadline), ray::WorkerCrashedError);
    times.push_back(1e3 * faults::seconds_since(start));
  }
  std::printf("G-10: from kill to error: p50 %.2f ms, p99 %.2f ms, most %.2f ms\n",
              faults::quantile(times, 0.5), faults::quantile(times, 0.99),
              faults::quantile(times, 1));
  if (!probes::kSanitized) CHECK(faults::quantile(times, 0.5) <= 20);
}

TEST_CASE("G-06 busy workers are killed again and again, and nothing is lost (short)") {
  kill_workers(6s, 2s);
}

TEST_CASE("G-06 busy workers are killed again and again, and nothing is lost", "[long]") {
  kill_workers(60s, 2s);
}

TEST_CASE("G-24 nothing is left within a second of shutdown") {
  {
    ray::Runtime warm(faults::processes(2));
    CHECK(warm.get(warm.remote<same>(1), faults::kDeadline) == 1);
  }
  const faults::Baseline baseline;
  int killed = 0;
  for (int round = 0; round < 5; ++round) {
    const faults::Folder folder;
    {
      ray::RuntimeOptions options = faults::processes(2, std::uint64_t{16} << 20);
      options.spill_directory = folder.path();
      ray::Runtime rt(options);
      std::vector<ray::ObjectRef<std::vector<int>>> refs;
      for (int i = 0; i < 40; ++i) refs.push_back(rt.remote<many>(i));
      for (int i = 0; i < 40; ++i) {
        if (i % 10 == 5) {
          const auto workers = faults::host().workers();
          if (!workers.empty()) killed += ::kill(static_cast<pid_t>(workers[0].pid), SIGKILL) == 0;
        }
        CHECK(rt.get(refs[static_cast<std::size_t>(i)]).back() == i);
      }
    }
    CHECK(baseline.is_back());
    CHECK(std::filesystem::is_empty(folder.path()));
  }
  std::printf("G-24: 5 runtimes, 200 objects, %d workers killed; all is as before\n", killed);
}
