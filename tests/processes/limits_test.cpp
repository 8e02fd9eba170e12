// What the system gives only little of: descriptors, processes, memory.
#include "processes/fault_probes.hpp"

#include <sys/prctl.h>
#include <sys/resource.h>

namespace {

using namespace std::chrono_literals;
using Catch::Matchers::ContainsSubstring;
using faults::same;

int naps(int x) {
  std::this_thread::sleep_for(20ms);
  return x;
}

/// How many tasks ended with their value, and with one of the library's errors.
struct Ends {
  int values = 0;
  int errors = 0;
  int late = 0;
};

Ends ends_of(ray::Runtime& rt, int count) {
  std::vector<ray::ObjectRef<int>> refs;
  for (int i = 0; i < count; ++i) refs.push_back(rt.remote<naps>(i));
  Ends ends;
  std::string text;
  for (int i = 0; i < count; ++i) {
    const auto result = ray::try_get(refs[static_cast<std::size_t>(i)], faults::kDeadline);
    if (result) {
      ends.values += *result == i ? 1 : 0;
    } else {
      ++ends.errors;
      text = result.error().what();
      ends.late += result.error().code() == ray::ErrorCode::get_timeout ? 1 : 0;
    }
  }
  std::printf("F34: %d values, %d errors, %zu workers %s\n", ends.values, ends.errors,
              faults::host().workers().size(), text.c_str());
  return ends;
}

}  // namespace

TEST_CASE("F34 few descriptors: fewer workers or errors, and no hang") {
  rlimit limit{};
  ::getrlimit(RLIMIT_NOFILE, &limit);
  const rlimit few{.rlim_cur = 64, .rlim_max = limit.rlim_max};
  ::setrlimit(RLIMIT_NOFILE, &few);
  ray::Runtime rt(faults::processes(32));
  const Ends ends = ends_of(rt, 200);
  ::setrlimit(RLIMIT_NOFILE, &limit);  // UBSan makes a pipe before it looks at an object.
  CHECK(ends.values + ends.errors == 200);
  CHECK(ends.late == 0);
}

TEST_CASE("F34 few processes: fewer workers or errors, and no hang") {
  // The limit is one of a user who is not root.
  if (::getuid() == 0) {
    if (::setresuid(65501, 65501, 65501) != 0) return;
    ::prctl(PR_SET_DUMPABLE, 1);
  }
  rlimit limit{.rlim_cur = 16, .rlim_max = 16};
  ::setrlimit(RLIMIT_NPROC, &limit);
  try {
    ray::Runtime rt(faults::processes(32));
    const Ends ends = ends_of(rt, 200);
    CHECK(ends.values + ends.errors == 200);
    CHECK(ends.late == 0);
  } catch (const ray::Error& error) {
    std::printf("F34: %s\n", error.what());
  }
}

namespace {

int waits_for_file(const std::string& file) {
  if (!faults::eventually([&] { return std::filesystem::exists(file); })) std::abort();
  return 0;
}

void queue_many(int count) {
  ray::Runtime rt(faults::processes(1));
  const faults::Folder folder;
  const auto gate = rt.remote<waits_for_file>(folder.path() + "/open");
  std::vector<ray::ObjectRef<int>> refs;
  refs.reserve(static_cast<std::size_t>(count));
  for (int i = 0; i < 1000; ++i) refs.push_back(rt.remote<same>(i));
  const std::uint64_t before = faults::resident_bytes();
  const auto start = faults::Clock::now();
  for (int i = 1000; i < count; ++i) refs.push_back(rt.remote<same>(i));
  const double submitted = faults::seconds_since(start);
  const double each = static_cast<double>(faults::resident_bytes() - before) / (count - 1000);
  faults::note(folder.path() + "/open", "");
  std::size_t right = 0;
  for (int i = 0; i < count; ++i) {
    right += rt.get(refs[static_cast<std::size_t>(i)], faults::kDeadline) == i ? 1 : 0;
  }
  CHECK(right == refs.size());
  std::printf("F37: %d tasks queued in %.2f s, %.0f bytes each, done after %.2f s\n", count,
              submitted, each, faults::seconds_since(start));
  if (!probes::kSanitized) CHECK(each <= 1024);
  CHECK(rt.get(gate) == 0);
  refs.clear();
}

}  // namespace

TEST_CASE("F37 very many tasks are queued in little memory") {
  queue_many(probes::scaled(100'000));
}
TEST_CASE("F37 a million tasks are queued in little memory", "[long]") { queue_many(1'000'000); }

// --- the memory monitor ---

namespace {

using ray::detail::MemoryRule;
using ray::detail::MemoryUse;

int naps_until(const std::string& ledger, const std::string& file) {
  faults::note(ledger, faults::pid_text());
  waits_for_file(file);
  return ray::context().attempt();
}

void write(const std::string& path, const std::string& text) {
  std::filesystem::create_directories(std::filesystem::path(path).parent_path());
  std::ofstream(path) << text;
}

}  // namespace

TEST_CASE("F21 of the machine and the groups of both versions the nearest to its limit counts") {
  const faults::Folder folder;
  const std::string root = folder.path();
  CHECK(!ray::detail::read_memory_use(root));
  CHECK(ray::detail::read_memory_limit(root) == 0);
  write(root + "/proc/meminfo", "MemTotal:       1000 kB\nMemFree:  1 kB\nMemAvailable:  400 kB\n");
  REQUIRE(ray::detail::read_memory_use(root));
  CHECK(ray::detail::read_memory_use(root)->used == 600 << 10);
  CHECK(ray::detail::read_memory_use(root)->limit == 1000 << 10);

  write(root + "/proc/self/cgroup", "4:cpu,memory:/a/b\n0::/c\n");
  const std::string one = root + "/sys/fs/cgroup/memory/a";
  write(one + "/b/memory.limit_in_bytes", "9223372036854771712\n");
  write(one + "/b/memory.usage_in_bytes", "700\n");
  CHECK(ray::detail::read_memory_use(root)->limit == 1000 << 10);
  write(one + "/memory.limit_in_bytes", "1000\n");
  write(one + "/memory.usage_in_bytes", "900\n");
  write(one + "/memory.stat", "cache 5\ntotal_inactive_file 100\n");
  CHECK(ray::detail::read_memory_use(root)->used == 800);
  CHECK(ray::detail::read_memory_use(root)->limit == 1000);

  const std::string two = root + "/sys/fs/cgroup/c";
  write(two + "/memory.max", "max\n");
  write(two + "/memory.current", "1990\n");
  CHECK(ray::detail::read_memory_use(root)->limit == 1000);
  write(two + "/memory.max", "2000\n");
  CHECK(ray::detail::read_memory_use(root)->used == 1990);
  CHECK(ray::detail::read_memory_limit(root) == 1000);
  CHECK(ray::detail::read_memory_use()->share() > 0);
}

TEST_CASE("F21 after a kill the next waits until memory has fallen, or for a while") {
  MemoryRule rule(0.95);
  const auto start = MemoryRule::Time{} + 1h;
  CHECK(!rule.is_short({.used = 95, .limit = 100}, start));
  CHECK(rule.is_short({.used = 97, .limit = 100}, start));
  rule.killed({.used = 97, .limit = 100}, start);
  CHECK(!rule.is_short({.used = 97, .limit = 100}, start + 250ms));
  CHECK(!rule.is_short({.used = 98, .limit = 100}, start + 500ms));
  CHECK(rule.is_short({.used = 96, .limit = 100}, start + 750ms));
  CHECK(rule.is_short({.used = 98, .limit = 100}, start + 2s));
  CHECK(!rule.is_short({.used = 90, .limit = 100}, start + 3s));
  CHECK(rule.is_short({.used = 98, .limit = 100}, start + 3s));
}

TEST_CASE("F21 where memory is short one worker goes, and its task is tried again") {
  ray::Runtime rt(faults::processes(2));
  const faults::Ledger ledger;
  const faults::Folder folder;
  const std::string open = folder.path() + "/open";
  const int retries = GENERATE(3, 0);
  std::atomic<bool> is_short{false};
  std::vector<ray::ObjectRef<int>> refs;
  for (int i = 0; i < 2; ++i) {
    refs.push_back(rt.with<naps_until>({.max_retries = retries})(ledger.file(), open));
  }
  REQUIRE(ledger.await_pid(1) > 0);
  faults::host().memory().set_reader(
      [&] { return std::optional(MemoryUse{.used = is_short ? 99u : 50u, .limit = 100}); });
  is_short = true;
  if (retries == 0) {
    const auto one = rt.wait(refs, {.timeout = faults::kDeadline});
    REQUIRE(one.ready.size() == 1);
    CHECK_THAT(faults::error_of<ray::OutOfMemoryError>([&] { rt.get(one.ready.front()); }),
               ContainsSubstring("memory"));
  } else {
    CHECK(ledger.await_pid(2) > 0);
  }
  is_short = false;
  faults::note(open, "");
  int attempts = 0;
  int errors = 0;
  for (const auto& ref : refs) {
    const auto result = ray::try_get(ref, faults::kDeadline);
    attempts += result ? *result : 0;
    errors += result ? 0 : 1;
  }
  CHECK(attempts == (retries == 0 ? 0 : 1));
  CHECK(errors == (retries == 0 ? 1 : 0));
  faults::host().memory().set_reader([] { return std::optional<MemoryUse>(); });
}
