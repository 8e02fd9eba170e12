// Tasks that spoil the process in which they run: it ends, its tasks are told or tried again, and
// others go on.
#include "processes/fault_probes.hpp"

#include <cstdio>

using faults::processes;
using probes::kDeadline;

namespace {

int same(int x) { return x; }

/// All that the worker shares with the driver to talk.
int overwrites_its_link() {
  std::ifstream maps("/proc/self/maps");
  for (std::string line; std::getline(maps, line);) {
    if (line.find("ray-link") == std::string::npos) continue;
    unsigned long from = 0;
    unsigned long to = 0;
    if (std::sscanf(line.c_str(), "%lx-%lx", &from, &to) != 2) continue;
    for (unsigned long at = from; at < to; at += sizeof at) {
      *reinterpret_cast<volatile unsigned long*>(at) = 0xdead'beef'cafe'babe ^ at;
    }
  }
  return 1;
}

int closes_descriptors() {
  for (int number = 3; number < 64; ++number) ::close(number);
  return 1;
}

int forks_and_both_return() { return ::fork() == 0 ? 99 : 1; }

struct WithoutWords : std::exception {
  const char* what() const noexcept override { return nullptr; }
};
int throws_without_words() { throw WithoutWords(); }

std::size_t length(const std::string& text) { return text.size(); }
/// More than may wait to be sent.
std::size_t sends_much(int calls) {
  const std::string text(60'000, 'a');
  std::vector<ray::ObjectRef<std::size_t>> refs;
  for (int i = 0; i < calls; ++i) refs.push_back(ray::remote<length>(text));
  std::size_t sum = 0;
  for (const std::size_t each : ray::get(refs)) sum += each;
  return sum;
}

void check_that_others_go_on(ray::Runtime& rt) {
  for (int i = 0; i < 50; ++i) REQUIRE(rt.get(rt.remote<same>(i), kDeadline) == i);
}

}  // namespace

#if !defined(RAY_ASAN) && !defined(RAY_TSAN)
TEST_CASE("a task that overwrites the link of its process is told as its end", "[processes]") {
  ray::Runtime rt(processes(2));
  CHECK_THROWS_AS(rt.get(rt.with<overwrites_its_link>({.max_retries = 0})(), kDeadline),
                  ray::WorkerCrashedError);
  check_that_others_go_on(rt);
}
#endif

TEST_CASE("a task that closes descriptors that are not its own ends its process", "[processes]") {
  ray::Runtime rt(processes(2));
  try {
    rt.get(rt.with<closes_descriptors>({.max_retries = 0})(), kDeadline);
  } catch (const ray::WorkerCrashedError&) {  // It may have told its result first.
  }
  check_that_others_go_on(rt);
}

TEST_CASE("a child that a task forks and that returns from it is no worker", "[processes]") {
  ray::Runtime rt(processes(1));
  for (int i = 0; i < 20; ++i) CHECK(rt.get(rt.remote<forks_and_both_return>(), kDeadline) == 1);
  check_that_others_go_on(rt);
}

TEST_CASE("an exception whose what() is null comes back by its type", "[processes]") {
  ray::Runtime rt(processes(1));
  try {
    rt.get(rt.remote<throws_without_words>(), kDeadline);
    FAIL("it did not throw");
  } catch (const ray::TaskError& error) {
    CHECK(error.type_name().find("WithoutWords") != std::string::npos);
  }
}

TEST_CASE("a folder for spilled objects that cannot be written is refused at the start",
          "[processes]") {
  ray::RuntimeOptions options = processes(1);
  options.spill_directory = "/nonexistent/folder";
  try {
    const ray::Runtime rt(options);
    FAIL("it was accepted");
  } catch (const ray::InvalidArgumentError& error) {
    CHECK(std::string(error.what()).find("/nonexistent/folder") != std::string::npos);
  }
}

TEST_CASE("a task that sends more than may wait to be sent is slowed down", "[long]") {
  ray::Runtime rt(processes(2));
  CHECK(rt.get(rt.remote<sends_much>(8000), std::chrono::seconds(120)) == 8000U * 60'000U);
}
