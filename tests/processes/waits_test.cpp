// Coroutines of worker processes: who runs them when they go on, and waits that cannot end.
#include "processes/fault_probes.hpp"

#include <ray/coroutine.hpp>

namespace {

using faults::Ledger;
using faults::processes;
using probes::eventually;
using probes::kDeadline;

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

ray::ObjectRef<int> asks() { return ray::remote<one>.options({.resources = {{"R", 1}}})(); }

ray::Task<int> holds_and_awaits() { co_return co_await asks(); }

}  // namespace

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
