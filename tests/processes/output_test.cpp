// What worker processes print comes to the driver's output, line by line, with names.
#include "processes/child_program.hpp"

#include <ray/ray.hpp>

#include <cstdio>
#include <iostream>
#include <string>

namespace printing {

ray::RuntimeOptions processes(double cpus) {
  return {.num_cpus = cpus, .isolation = ray::Isolation::processes};
}

int greet(int number) {
  std::printf("hello %d\n", number);
  std::cout << "also by streams " << number << "\n";
  std::fprintf(stderr, "trouble %d\n", number);
  std::cout << "an end without a line's end";
  return ::getpid();
}

class Parrot {
public:
  int say(std::string words) {
    std::puts(words.c_str());
    return ::getpid();
  }
};

void print_and_die(int lines) {
  for (int i = 0; i < lines; ++i) std::printf("line %d\n", i);
  std::fflush(stdout);
  ::kill(::getpid(), SIGKILL);
}

std::size_t flood(int lines) {
  const std::string line(999, 'x');
  for (int i = 0; i < lines; ++i) std::puts(line.c_str());
  return static_cast<std::size_t>(lines);
}

int twice(int number) { return 2 * number; }

std::string prefix(const std::string& name, int pid) {
  return "(" + name + " pid=" + std::to_string(pid) + ") ";
}

std::size_t resident_kib(pid_t pid) {
  std::ifstream in("/proc/" + std::to_string(pid) + "/status");
  for (std::string line; std::getline(in, line);) {
    if (line.starts_with("VmRSS:")) return std::stoul(line.substr(6));
  }
  return 0;
}

/// What the driver prints of its own is a line "key value".
int value_of(const std::string& text, const std::string& key) {
  const std::size_t at = ("\n" + text).find("\n" + key + " ");
  return at == std::string::npos ? -1 : std::atoi(text.c_str() + at + key.size() + 1);
}

}  // namespace printing

using namespace printing;

TEST_CASE("what tasks print comes to the driver's output, with the task's name") {
  if (child::role() == "driver") {
    std::puts("before the runtime");
    ray::Runtime rt(processes(1));
    const int pid = rt.get(rt.remote<greet>(1));
    std::printf("pid %d\n", pid);
    const auto parrot = rt.actor<Parrot>();
    std::printf("parrot %d\n", rt.get(rt.remote<&Parrot::say>(parrot, "as an actor")));
    std::printf("again %d\n", rt.get(rt.with<greet>({.name = "greet again"})(2)));
    rt.shutdown();
    std::puts("after the runtime");
    child::leave();
  }
  child::Program driver("driver");
  CHECK(driver.wait() == 0);
  const std::string out = driver.out();
  const std::string error = driver.error();
  INFO(out << "---\n" << error);
  const int pid = value_of(out, "pid");
  const int parrot = value_of(out, "parrot");
  CHECK(child::count(out, "before the runtime\n") == 1);
  CHECK(child::count(out, prefix("printing::greet", pid) + "hello 1\n") == 1);
  CHECK(child::count(out, prefix("printing::greet", pid) + "also by streams 1\n") == 1);
  CHECK(child::count(error, prefix("printing::greet", pid) + "trouble 1\n") == 1);
  CHECK(child::count(out, prefix("printing::Parrot", parrot) + "as an actor\n") == 1);
  const int again = value_of(out, "again");
  CHECK(child::count(out, prefix("greet again", again) + "hello 2\n") == 1);
  // It ends where the next task begins, or the worker does.
  CHECK(child::count(out, prefix("printing::greet", pid) + "an end without a line's end\n") == 1);
  CHECK(child::count(out, prefix("greet again", again) + "an end without a line's end\n") == 1);
  // All of it is there when the runtime has ended.
  CHECK(out.ends_with("after the runtime\n"));
  CHECK(child::count(out, "\x1e") + child::count(out, "\x1b") + child::count(error, "\x1e") == 0);
}

TEST_CASE("what a worker printed before its death is shown, in order") {
  constexpr int kLines = 2000;
  if (child::role() == "driver") {
    ray::Runtime rt(processes(1));
    const auto result = rt.try_get(rt.with<print_and_die>({.max_retries = 0})(kLines));
    std::fprintf(stderr, "died %d\n", result.has_value() ? 0 : 1);
    rt.shutdown();
    child::leave();
  }
  child::Program driver("driver");
  CHECK(driver.wait() == 0);
  CHECK(value_of(driver.error(), "died") == 1);
  std::istringstream out(driver.out());
  int next = 0;
  for (std::string line; std::getline(out, line);) {
    if (!line.starts_with("(")) continue;
    CHECK(line.ends_with(") line " + std::to_string(next++)));
  }
  CHECK(next == kLines);
}

TEST_CASE("a flood of output holds up who prints, and neither calls nor memory") {
  const int lines = probes::scaled(100'000);
  if (child::role() == "driver") {
    ray::Runtime rt(processes(2));
    const auto printed = rt.remote<flood>(lines);
    int sum = 0;
    for (int i = 0; i < 500; ++i) sum += rt.get(rt.remote<twice>(1));
    std::fprintf(stderr, "called %d\n", sum);
    rt.get(printed);
    rt.shutdown();
    std::fprintf(stderr, "ended 1\n");
    child::leave();
  }
  int ends[2];
  REQUIRE(::pipe2(ends, O_CLOEXEC) == 0);
  child::Program driver("driver", ends[1]);
  ::close(ends[1]);
  CHECK(driver.prints("called 1000"));  // While nobody reads what it prints.
  CHECK(resident_kib(driver.pid()) < std::size_t{256} << 10);
  CHECK(driver.error().find("ended") == std::string::npos);
  std::string text;
  std::string buffer(1 << 16, 0);
  for (ssize_t got = 1; got > 0;) {
    got = ::read(ends[0], buffer.data(), buffer.size());
    if (got > 0) text.append(buffer, 0, static_cast<std::size_t>(got));
  }
  ::close(ends[0]);
  CHECK(driver.wait() == 0);
  CHECK(child::count(text, "xxx\n") == static_cast<std::size_t>(lines));
  CHECK(driver.prints("ended 1"));
}

TEST_CASE("workers are silent where that is asked for") {
  if (child::role() == "driver") {
    ray::Runtime rt(processes(1));
    std::printf("pid %d\n", rt.get(rt.remote<greet>(1)));
    rt.shutdown();
    child::leave();
  }
  child::Program driver("driver", -1, {"RAY_LOG_TO_DRIVER=0"});
  CHECK(driver.wait() == 0);
  CHECK(driver.out().find("hello") == std::string::npos);
  CHECK(value_of(driver.out(), "pid") > 0);
  CHECK(driver.error() == "");
}
