// A driver that is killed leaves nothing. The test starts another driver: itself once more, told by
// the environment that it is one.
#include "processes/fault_probes.hpp"

#include <sys/wait.h>

namespace {

using namespace std::chrono_literals;

constexpr char kRole[] = "RAY_TEST_DRIVER";  // The ledger of a driver that shall be killed.

void waits(const std::string& ledger) {
  faults::note(ledger, faults::pid_text());
  faults::wait_to_be_killed();
}

std::vector<char> large(int byte) { return std::vector<char>(1 << 20, static_cast<char>(byte)); }

/// Has processes that run, queued tasks, objects in the store and on disk; then waits.
[[noreturn]] void drive(const std::string& ledger) {
  ray::RuntimeOptions options = faults::processes(2, std::uint64_t{16} << 20);
  options.spill_directory = ledger + "_spilled";
  ray::Runtime rt(options);
  std::vector<ray::ObjectRef<std::vector<char>>> objects;
  for (int i = 0; i < 40; ++i) objects.push_back(rt.remote<large>(i));
  rt.get(objects.back());
  ray::wait(objects, {.num_returns = objects.size()});
  std::vector<ray::ObjectRef<void>> tasks;
  for (int i = 0; i < 10; ++i) tasks.push_back(rt.remote<waits>(ledger));
  faults::wait_to_be_killed();
  std::abort();
}

std::size_t segments_open(pid_t pid) {
  std::size_t count = 0;
  std::error_code error;
  for (const auto& entry :
       std::filesystem::directory_iterator("/proc/" + std::to_string(pid) + "/fd", error)) {
    const std::string target = std::filesystem::read_symlink(entry.path(), error).string();
    if (target.find("memfd:") != std::string::npos || target.find("deleted") != std::string::npos) {
      ++count;
    }
  }
  return count;
}

std::size_t files_in(const std::string& folder) {
  std::size_t count = 0;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    static_cast<void>(entry);
    ++count;
  }
  return count;
}

}  // namespace

TEST_CASE("F03 a driver that is killed takes its workers, memory and spilled objects with it") {
  if (const char* role = std::getenv(kRole)) drive(role);
  const faults::Ledger ledger;
  const std::string spilled = ledger.file() + "_spilled";
  std::filesystem::create_directory(spilled);
  const std::size_t shared_before = files_in("/dev/shm");
  const pid_t driver = faults::start_again(kRole, ledger.file());
  REQUIRE(driver > 0);
  REQUIRE(ledger.await_pid(1) > 0);
  const std::vector<pid_t> workers = faults::descendants(driver);
  CHECK(workers.size() >= 2);
  CHECK(segments_open(driver) > 2);
  ::kill(driver, SIGKILL);
  ::waitpid(driver, nullptr, 0);
  const auto start = faults::Clock::now();
  CHECK(faults::eventually(
      [&] { return std::none_of(workers.begin(), workers.end(), &faults::is_alive); }, 1s));
  std::printf("F03: %zu workers gone %.1f ms after their driver\n", workers.size(),
              1e3 * faults::seconds_since(start));
  CHECK(files_in(spilled) == 0);
  CHECK(files_in("/dev/shm") == shared_before);
}
