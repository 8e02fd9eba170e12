// Signals to a driver: by default it dies, and its workers with it; where the program handles them,
// the library works on.
#include "processes/child_program.hpp"

#include <ray/ray.hpp>

#include <atomic>
#include <csignal>
#include <cstdio>

namespace signals {

std::atomic<int> handled{0};  // Handled on any thread.
void handle(int) { handled = 1; }

void naps(std::string word) {
  std::puts(word.c_str());  // Not the same: such lines are folded.
  std::fflush(stdout);
  for (;;) ::pause();
}

int until(std::string file) {
  return probes::eventually([&] { return std::filesystem::exists(file); }) ? 7 : 0;
}

int print_and_return(int number) {
  std::printf("number %d\n", number);
  return number;
}

int twice(int number) { return 2 * number; }

ray::RuntimeOptions processes(double cpus) {
  return {.num_cpus = cpus, .isolation = ray::Isolation::processes};
}

}  // namespace signals

using namespace signals;

TEST_CASE("a signal that ends the driver ends its workers") {
  if (child::role() == "driver") {
    // Catch's handler allocates, which ThreadSanitizer refuses.
    for (const int signal : {SIGINT, SIGTERM}) std::signal(signal, SIG_DFL);
    ray::Runtime rt(processes(2));
    const auto one = rt.remote<naps>("one runs");
    const auto other = rt.remote<naps>("another runs");
    rt.get(one);
    rt.get(other);
    child::leave(1);
  }
  const int signal = GENERATE(SIGINT, SIGTERM, SIGHUP, SIGPIPE);
  child::Program driver("driver");
  REQUIRE(probes::eventually([&] { return child::count(driver.out(), " runs\n") == 2; }));
  const std::vector<pid_t> workers = child::children_of(driver.pid());
  CHECK(workers.size() >= 2);
  ::kill(-driver.pid(), signal);  // As a terminal does it: to the group in the foreground.
  const int status = driver.wait();
  CHECK(WIFSIGNALED(status));
  CHECK(WTERMSIG(status) == signal);
  CHECK(child::all_end(workers));
}

TEST_CASE("a driver that handles a signal goes on, with the workers that it had") {
  const std::string file = (std::filesystem::temp_directory_path() / "ray_signals_").string() +
                           (child::role().empty() ? std::to_string(::getpid()) : child::role());
  if (!child::role().empty()) {
    struct sigaction action {};
    action.sa_handler = &handle;
    for (const int signal : {SIGINT, SIGTERM, SIGPIPE}) ::sigaction(signal, &action, nullptr);
    ray::Runtime rt(processes(1));
    const int before = rt.get(rt.remote<twice>(1));
    std::printf("ready %d\n", before);
    std::fflush(stdout);
    const int got = rt.get(rt.remote<until>(file));  // Signals come while it waits.
    std::printf("handled %d got %d then %d\n", static_cast<int>(handled), got,
                rt.get(rt.remote<twice>(2)));
    rt.shutdown();
    child::leave();
  }
  child::Program driver(std::to_string(::getpid()));
  REQUIRE(driver.prints("ready 2"));
  const std::vector<pid_t> workers = child::children_of(driver.pid());
  for (const int signal : {SIGINT, SIGTERM, SIGPIPE}) ::kill(-driver.pid(), signal);
  std::ofstream(file) << "go\n";
  CHECK(driver.wait() == 0);
  std::filesystem::remove(file);
  INFO(driver.out() + driver.error());
  CHECK(driver.out().find("handled 1 got 7 then 4\n") != std::string::npos);
  CHECK(child::all_end(workers));
}

TEST_CASE("a driver whose output is closed works on where it ignores SIGPIPE, and dies where not") {
  if (!child::role().empty()) {
    if (child::role() == "ignores") ::signal(SIGPIPE, SIG_IGN);
    ray::Runtime rt(processes(1));
    rt.get(rt.remote<print_and_return>(1));
    rt.get(rt.remote<print_and_return>(2));
    rt.shutdown();
    std::fputs("worked on\n", stderr);
    child::leave();
  }
  int ends[2];
  REQUIRE(::pipe2(ends, O_CLOEXEC) == 0);
  ::close(ends[0]);
  {
    child::Program driver("ignores", ends[1]);
    CHECK(driver.wait() == 0);
    CHECK(driver.error().find("worked on\n") != std::string::npos);
  }
  {
    child::Program driver("dies", ends[1]);
    const int status = driver.wait();
    CHECK(WIFSIGNALED(status));
    CHECK(WTERMSIG(status) == SIGPIPE);
  }
  ::close(ends[1]);
}
