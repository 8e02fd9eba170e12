// What can go wrong before a process is a worker, and what people are told then.
#include "processes/child_program.hpp"

#include <ray/ray.hpp>

#include "runtime/node_probe.hpp"

#include <cstdio>
#include <cstdlib>
#include <string>
#include <thread>

namespace starts {

constexpr char kFault[] = "RAY_TEST_FAULT";  // Set for the workers: what they do wrong.

int pid() { return ::getpid(); }

int with_runtime(ray::Isolation isolation) {
  int sum = 0;
  {
    ray::Runtime inner({.num_cpus = 1, .isolation = isolation});
    sum = inner.get(inner.remote<pid>()) == ::getpid() ? 1 : 0;
  }
  // Another thread finds the worker's runtime as the task does, also after the inner one.
  std::thread other([&] {
    if (ray::is_initialized() && ray::get(ray::remote<pid>()) != 0) sum += 2;
  });
  other.join();
  return sum;
}
int inits_again() {
  ray::init();
  return 0;
}

ray::RuntimeOptions processes(double cpus) {
  return {.num_cpus = cpus, .isolation = ray::Isolation::processes};
}

std::string why_no_worker() {
  ray::Runtime rt(processes(1));
  try {
    return "it ran in process " + std::to_string(rt.get(rt.remote<pid>()));
  } catch (const ray::WorkerCrashedError& error) {
    return error.what();
  }
}

}  // namespace starts

using namespace starts;

TEST_CASE("a worker that ends before it is one leaves its status and its last words") {
  if (std::getenv(kFault) != nullptr) {
    std::fputs("searching\nno licence was found\n", stderr);
    ::_exit(3);
  }
  ::setenv(kFault, "1", 1);
  const std::string why = why_no_worker();
  ::unsetenv(kFault);
  INFO(why);
  CHECK(why.find("no worker process could be started: it exited with status 3") !=
        std::string::npos);
  CHECK(why.find("no licence was found") != std::string::npos);
  CHECK(why.find("main must come to ray::init") != std::string::npos);
}

TEST_CASE("a worker whose main ends before it is one is no worker") {
  if (std::getenv(kFault) != nullptr) std::exit(0);
  ::setenv(kFault, "1", 1);
  const std::string why = why_no_worker();
  ::unsetenv(kFault);
  INFO(why);
  CHECK(why.find("with status 0") != std::string::npos);
  CHECK(why.find("main must come to ray::init") != std::string::npos);
}

TEST_CASE("a worker that never becomes one is given up after a while") {
  probes::NodeLimits limits = probes::small_node(1, 1);
  limits.start_timeout = std::chrono::seconds(7);
  probes::NodeProbe probe(limits);
  probe.say(0, ray::detail::message::Submit{probes::plain(0)});
  std::string why;
  for (int i = 0; i < 3; ++i) {
    probe.now += std::chrono::seconds(8);
    probes::Decisions decisions;
    probe.node.tick(probe.now, decisions);
    probe.take(decisions);
    for (const auto& [client, reason] : std::exchange(probe.killed, {})) {
      probes::Decisions ends;
      probe.node.worker_ended(client, "was killed by SIGKILL", probe.now, ends);
      probe.take(ends);
    }
  }
  for (const auto& [to, message] : probe.sent) {
    const auto* sealed = std::get_if<ray::detail::message::Sealed>(&message);
    if (sealed != nullptr) why = ray::detail::decode_failure(sealed->value.bytes).text;
  }
  INFO(why);
  CHECK(why.find("after 7 seconds it had not come to the place") != std::string::npos);
  CHECK(why.find("wait for nothing before") != std::string::npos);
}

TEST_CASE("a program that was removed or replaced while it runs starts its workers all the same") {
  if (child::role() == "driver") {
    const std::string file = std::filesystem::read_symlink("/proc/self/exe").string();
    if (!file.ends_with(" (deleted)")) {  // Its workers come here too.
      std::filesystem::remove(file);
      std::ofstream(file) << "another program\n";
    }
    ray::Runtime rt(processes(1));
    std::printf("pid %d\n", rt.get(rt.remote<pid>()));
    rt.shutdown();
    child::leave();
  }
  const std::string copy =
      (std::filesystem::temp_directory_path() / ("ray_copy_" + std::to_string(::getpid())))
          .string();
  std::filesystem::copy_file("/proc/self/exe", copy);
  child::Program driver("driver", -1, {}, copy);
  CHECK(driver.wait() == 0);
  CHECK(driver.out().find("pid ") != std::string::npos);
  std::filesystem::remove(copy);
}

TEST_CASE("a task in a worker makes runtimes of threads, and none with workers") {
  ray::init(processes(2));
  CHECK(ray::get(ray::remote<with_runtime>(ray::Isolation::threads)) == 3);
  CHECK_THROWS_AS(ray::get(ray::remote<with_runtime>(ray::Isolation::processes)),
                  ray::InvalidArgumentError);
  CHECK_THROWS_AS(ray::get(ray::remote<inits_again>()), ray::InvalidArgumentError);
  ray::shutdown();
}
