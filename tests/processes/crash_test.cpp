// Workers that crash, are killed, or end by themselves while they run something.
#include "processes/fault_probes.hpp"

#include <sys/mman.h>

namespace {

using namespace std::chrono_literals;
using Catch::Matchers::ContainsSubstring;
using faults::Ledger;
using faults::same;

struct ThrowsAtItsEnd {
  ~ThrowsAtItsEnd() noexcept(false) { throw std::runtime_error("from a destructor"); }
};

volatile bool deeper = true;
volatile int divided = 7;

int use_stack(volatile const char* above) {
  volatile char page[4096];
  page[0] = above == nullptr ? '0' : above[0];
  return deeper ? use_stack(page) + page[0] : 0;
}

enum class End { segfault, abort, exit0, exit3, exit_call, stack, division, terminate, sigkill };

/// Sanitizers have handlers of their own, which end a process by exit; and ThreadSanitizer does so
/// when Catch's allocate.
void let_signals_kill() {
  for (const int number : {SIGSEGV, SIGFPE, SIGABRT}) ::signal(number, SIG_DFL);
}

__attribute__((no_sanitize("undefined"))) int ends(End how) {
  let_signals_kill();
  volatile int zero = 0;
  switch (how) {
    case End::segfault:
      *reinterpret_cast<volatile int*>(zero) = 1;  // NOLINT
      break;
    case End::abort:
      std::abort();
    case End::exit0:
      ::_exit(0);
    case End::exit3:
      ::_exit(3);
    case End::exit_call:
      std::exit(4);
    case End::stack:
      return use_stack(nullptr);
    case End::division:
      return divided / zero;
    case End::terminate:
      std::terminate();
    case End::sigkill:
      ::raise(SIGKILL);
  }
  return 0;
}

int destructor_throws() {
  let_signals_kill();
  try {
    const ThrowsAtItsEnd first;
    throw std::runtime_error("first");
  } catch (...) {
  }
  return 0;
}

int killed_once(const std::string& ledger) {
  faults::note(ledger, faults::pid_text());
  if (ray::context().attempt() == 0) faults::wait_to_be_killed();
  return ray::context().attempt();
}

int killed_always(const std::string& ledger) {
  faults::note(ledger, faults::pid_text());
  faults::wait_to_be_killed();
  return 0;
}

class Clerk {
public:
  int killed(const std::string& ledger) { return killed_always(ledger); }
  int add(int x) { return sum_ += x; }

private:
  int sum_ = 0;
};

}  // namespace

TEST_CASE("F25 each way to end a worker is told by its name, and others go on") {
  ray::Runtime rt(faults::processes(2));
  const std::pair<End, const char*> ends_of[] = {
      {End::segfault, "SIGSEGV"}, {End::abort, "SIGABRT"},     {End::exit0, "status 0"},
      {End::exit3, "status 3"},   {End::exit_call, "status"},  {End::stack, "SIGSEGV"},
      {End::division, "SIGFPE"},  {End::terminate, "SIGABRT"}, {End::sigkill, "SIGKILL"}};
  for (const auto& [how, word] : ends_of) {
    std::vector<ray::ObjectRef<int>> others;
    for (int i = 0; i < 20; ++i) others.push_back(rt.remote<same>(i));
    const auto bad = rt.with<ends>({.max_retries = 0})(how);
    for (int i = 20; i < 40; ++i) others.push_back(rt.remote<same>(i));
    const std::string text =
        faults::error_of<ray::WorkerCrashedError>([&] { rt.get(bad, faults::kDeadline); });
    CHECK_THAT(text, ContainsSubstring(word) && ContainsSubstring("ends"));
    for (int i = 0; i < 40; ++i) CHECK(rt.get(others[static_cast<std::size_t>(i)]) == i);
  }
  CHECK(rt.get(rt.remote<same>(1)) == 1);
}

TEST_CASE("F23 a destructor that throws ends the worker, which is told as SIGABRT") {
  ray::Runtime rt(faults::processes(1));
  const auto bad = rt.with<destructor_throws>({.max_retries = 0})();
  CHECK_THAT(faults::error_of<ray::WorkerCrashedError>([&] { rt.get(bad, faults::kDeadline); }),
             ContainsSubstring("SIGABRT"));
  CHECK(rt.get(rt.remote<same>(1), faults::kDeadline) == 1);
}

TEST_CASE("F01 a retriable task whose worker is killed runs once more") {
  ray::Runtime rt(faults::processes(1));
  const Ledger ledger;
  const auto ref = rt.remote<killed_once>(ledger.file());
  const pid_t worker = ledger.await_pid();
  REQUIRE(worker > 0);
  ::kill(worker, SIGKILL);
  CHECK(rt.get(ref, faults::kDeadline) == 1);
  CHECK(ledger.lines().size() == 2);
}

TEST_CASE("F02 a task without retries fails with its worker, and ran once") {
  ray::Runtime rt(faults::processes(1));
  const Ledger ledger;
  const auto ref = rt.with<killed_always>({.max_retries = 0})(ledger.file());
  const auto follower = rt.remote<same>(ref);
  const pid_t worker = ledger.await_pid();
  REQUIRE(worker > 0);
  ::kill(worker, SIGKILL);
  for (const auto& each : {ref, follower}) {
    CHECK_THAT(faults::error_of<ray::WorkerCrashedError>([&] { rt.get(each, faults::kDeadline); }),
               ContainsSubstring("SIGKILL") && ContainsSubstring("may have run in part"));
  }
  CHECK(rt.get(rt.remote<same>(7), faults::kDeadline) == 7);
  CHECK(ledger.lines().size() == 1);
}

TEST_CASE("F02 a call whose actor is killed fails, ran at most once, and so do those behind it") {
  ray::Runtime rt(faults::processes(1));
  const Ledger ledger;
  const auto clerk = rt.actor<Clerk>();
  CHECK(rt.get(rt.remote<&Clerk::add>(clerk, 2), faults::kDeadline) == 2);
  const auto call = rt.remote<&Clerk::killed>(clerk, ledger.file());
  const auto behind = rt.remote<&Clerk::add>(clerk, 1);
  const pid_t worker = ledger.await_pid();
  REQUIRE(worker > 0);
  ::kill(worker, SIGKILL);
  CHECK_THAT(faults::error_of<ray::ActorDiedError>([&] { rt.get(call, faults::kDeadline); }),
             ContainsSubstring("SIGKILL") && ContainsSubstring("may have run"));
  CHECK_THROWS_AS(rt.get(behind, faults::kDeadline), ray::ActorDiedError);
  CHECK_THROWS_AS(rt.get(rt.remote<&Clerk::add>(clerk, 1), faults::kDeadline), ray::ActorDiedError);
  CHECK(ledger.lines().size() == 1);
}

namespace {

int poison(const std::string& ledger) {
  faults::note(ledger, faults::pid_text());
  let_signals_kill();
  ::raise(SIGSEGV);
  return 0;
}

void short_nap() { std::this_thread::sleep_for(10ms); }

void loop_for_ever(const std::string& ledger) {
  faults::note(ledger, faults::pid_text());
  while (deeper) {
  }
}

}  // namespace

TEST_CASE("F25 an endless loop that timed out is ended by a cancel with force") {
  ray::Runtime rt(faults::processes(1));
  CHECK(rt.get(rt.remote<same>(0), faults::kDeadline) == 0);  // The start takes none of its time.
  const Ledger ledger;
  const auto ref = rt.with<loop_for_ever>({.timeout = 200ms})(ledger.file());
  const pid_t worker = ledger.await_pid();
  REQUIRE(worker > 0);
  CHECK_THROWS_AS(rt.get(ref, faults::kDeadline), ray::TaskCancelledError);
  CHECK(faults::is_alive(worker));
  rt.cancel(ref, {.force = true});
  CHECK(faults::eventually([&] { return !faults::is_alive(worker); }, 5s));
  CHECK(rt.get(rt.remote<same>(1), 5s) == 1);
  CHECK(ledger.lines().size() == 1);
}

TEST_CASE("F26 a task that kills its workers is given up after three, and others go on") {
  ray::Runtime rt(faults::processes(4));
  const Ledger ledger;
  const auto run_others = [&] {
    const auto start = faults::Clock::now();
    std::vector<ray::ObjectRef<void>> refs;
    for (int i = 0; i < probes::scaled(800); ++i) refs.push_back(rt.remote<short_nap>());
    rt.get(refs);
    return probes::scaled(800) / faults::seconds_since(start);
  };
  run_others();
  const double alone = run_others();
  const auto bad = rt.with<poison>({.max_retries = -1})(ledger.file());
  const double beside = run_others();
  CHECK_THAT(faults::error_of<ray::WorkerCrashedError>([&] { rt.get(bad, faults::kDeadline); }),
             ContainsSubstring("3 workers"));
  CHECK(ledger.lines().size() == 3);
  std::printf("F26: %.0f tasks/s alone, %.0f beside poison: %.0f %%\n", alone, beside,
              100 * beside / alone);
  if (!probes::kSanitized) CHECK(beside >= 0.8 * alone);  // A start takes a while there.
}

// --- what a worker that died had asked for and had made ---

namespace {

class Shelf {
public:
  void keep(ray::ObjectRef<int> ref) { ref_ = std::move(ref); }
  void keep_large(ray::ObjectRef<std::vector<int>> ref) { large_ = std::move(ref); }
  int value() const { return ray::get(ref_); }
  std::size_t large_size() const { return ray::get(large_).size(); }
  int large_last() const { return ray::get(large_).back(); }

private:
  ray::ObjectRef<int> ref_;
  ray::ObjectRef<std::vector<int>> large_;
};

int noted(const std::string& ledger, int x) {
  faults::note(ledger, "child");
  return x;
}

int parent_dies(const std::string& ledger, const ray::ActorHandle<Shelf>& shelf) {
  const auto child = ray::remote<noted>(ledger, 42);
  ray::get(ray::remote<&Shelf::keep>(shelf, child));
  ray::get(ray::remote<&Shelf::keep_large>(shelf, ray::put(std::vector<int>(100'000, 7))));
  faults::note(ledger + "_parent", faults::pid_text());
  if (ray::context().attempt() == 0) faults::wait_to_be_killed();
  return ray::get(child);
}

}  // namespace

TEST_CASE("F05 F06 what a worker submitted and put outlives it for those who hold it") {
  ray::Runtime rt(faults::processes(2));
  const Ledger ledger;
  const auto shelf = rt.actor<Shelf>();
  const int retries = GENERATE(3, 0);
  const auto parent = rt.with<parent_dies>({.max_retries = retries})(ledger.file(), shelf);
  const std::string parents = ledger.file() + "_parent";
  std::string line;
  REQUIRE(faults::eventually([&] {
    std::ifstream in(parents);
    return static_cast<bool>(std::getline(in, line));
  }));
  ::kill(static_cast<pid_t>(std::stol(line)), SIGKILL);
  if (retries == 0) {
    CHECK_THROWS_AS(rt.get(parent, faults::kDeadline), ray::WorkerCrashedError);
  } else {
    CHECK(rt.get(parent, faults::kDeadline) == 42);
  }
  CHECK(rt.get(rt.remote<&Shelf::value>(shelf), faults::kDeadline) == 42);
  CHECK(rt.get(rt.remote<&Shelf::large_size>(shelf), faults::kDeadline) == 100'000);
  CHECK(rt.get(rt.remote<&Shelf::large_last>(shelf), faults::kDeadline) == 7);
  // The child was submitted twice where its parent ran twice, and ran once.
  CHECK(ledger.lines().size() == 1);
}
