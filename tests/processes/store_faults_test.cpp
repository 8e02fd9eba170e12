// The object store when there is too much for it, when the disk is full, and when the file of
// spilled objects is spoilt.
#include "processes/fault_probes.hpp"

#include "runtime/memory_monitor.hpp"

#include <linux/magic.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <sys/wait.h>

#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>

namespace {

using namespace std::chrono_literals;
using Catch::Matchers::ContainsSubstring;

constexpr std::size_t kMiB = std::size_t{1} << 20;
using Bytes = std::vector<unsigned char>;

Bytes made(int number, std::size_t size) {
  Bytes bytes(size);
  for (std::size_t at = 0; at < size; at += 4096) {  // By pages: sanitizers look at each access.
    std::memset(&bytes[at], static_cast<int>(at / 4096) + number,
                std::min<std::size_t>(4096, size - at));
  }
  return bytes;
}

Bytes noted_made(const std::string& ledger, int number, std::size_t size) {
  faults::note(ledger, std::to_string(number));
  return made(number, size);
}

bool is_right(const Bytes& bytes, int number, std::size_t size) {
  return bytes == made(number, size);
}

/// KiB of shared memory that a process has touched and still maps.
long shared_memory(std::int64_t pid) {
  std::ifstream file("/proc/" + std::to_string(pid) + "/status");
  for (std::string line; std::getline(file, line);) {
    if (line.starts_with("RssShmem:")) return std::stol(line.substr(9));
  }
  return 0;
}

/// The file of spilled objects; it has no name.
int spill_descriptor(const std::string& folder) {
  for (const auto& entry : std::filesystem::directory_iterator("/proc/self/fd")) {
    std::error_code gone;
    const std::string target = std::filesystem::read_symlink(entry.path(), gone).string();
    if (target.starts_with(folder)) return ::open(entry.path().c_str(), O_RDWR | O_CLOEXEC);
  }
  return -1;
}

enum class Spoil { flip, tear };

void spoil(const std::string& folder, Spoil how) {
  const int file = spill_descriptor(folder);
  REQUIRE(file >= 0);
  struct stat info {};
  REQUIRE(::fstat(file, &info) == 0);
  REQUIRE(info.st_size > 0);
  if (how == Spoil::tear) {
    REQUIRE(::ftruncate(file, info.st_size / 64) == 0);
  } else {
    for (off_t at = 0; at < info.st_size; at += 65536) {
      unsigned char byte = 0;
      REQUIRE(::pread(file, &byte, 1, at + 5000) >= 0);
      byte ^= 1;
      REQUIRE(::pwrite(file, &byte, 1, at + 5000) >= 0);
    }
  }
  ::close(file);
}

}  // namespace

TEST_CASE("F29 ten times as much as the store holds: as arguments of tasks, and as results") {
  constexpr int kObjects = 160;
  constexpr std::size_t kSize = probes::kSanitized ? kMiB : 4 * kMiB;
  const faults::Folder folder;
  ray::RuntimeOptions options = faults::processes(2, 16 * kSize);
  options.spill_directory = folder.path();
  ray::Runtime rt(options);
  {
    std::vector<ray::ObjectRef<bool>> checks;
    for (int i = 0; i < kObjects; ++i) {
      checks.push_back(rt.remote<is_right>(rt.put(made(i, kSize)), i, kSize));
    }
    for (const auto& check : checks) CHECK(rt.get(check, 50s));
  }
  {
    std::vector<ray::ObjectRef<Bytes>> results;
    for (int i = 0; i < kObjects; ++i) results.push_back(rt.remote<made>(i, kSize));
    for (int i = 0; i < kObjects; ++i) {
      auto& ref = results[static_cast<std::size_t>(i)];
      CHECK(is_right(rt.get(ref, 50s), i, kSize));
      ref = {};
    }
  }
  CHECK(faults::comes_to_nothing());
}

TEST_CASE("F18 spilled objects that are spoilt are made again, or told as lost") {
  for (const Spoil how : {Spoil::flip, Spoil::tear}) {
    const faults::Folder folder;
    ray::RuntimeOptions options = faults::processes(2, 16 * kMiB);
    options.spill_directory = folder.path();
    ray::Runtime rt(options);
    const faults::Ledger ledger;
    std::vector<ray::ObjectRef<Bytes>> results;
    std::vector<ray::ObjectRef<Bytes>> puts;
    for (int i = 0; i < 16; ++i) {
      results.push_back(rt.remote<noted_made>(ledger.file(), i, 2 * kMiB));
      rt.wait(std::vector{results.back()}, {.timeout = faults::kDeadline});
      puts.push_back(rt.put(made(i, 2 * kMiB)));
    }
    REQUIRE(faults::counts().spilled_bytes > 0);
    CHECK(ledger.lines().size() == 16);
    spoil(folder.path(), how);
    for (int i = 0; i < 16; ++i) {
      CHECK(is_right(rt.get(results[static_cast<std::size_t>(i)], faults::kDeadline), i, 2 * kMiB));
    }
    CHECK(ledger.lines().size() > 16);
    int lost = 0;
    for (int i = 0; i < 16; ++i) {
      try {
        const Bytes& bytes = rt.get(puts[static_cast<std::size_t>(i)], faults::kDeadline);
        CHECK(is_right(bytes, i, 2 * kMiB));
      } catch (const ray::ObjectLostError& error) {
        CHECK_THAT(error.what(), ContainsSubstring("disk"));
        ++lost;
      }
    }
    CHECK(lost > 0);
    results.clear();
    puts.clear();
    CHECK(faults::comes_to_nothing());
  }
}

namespace {

/// A file system of that size in the folder; none where this process may not mount one.
class SmallDisk {
public:
  SmallDisk(const std::string& folder, const char* size) : folder_(folder) {
    if (ray::detail::is_worker_process()) return;
    mounted_ = ::mount("none", folder.c_str(), "tmpfs", 0, size) == 0;
  }
  ~SmallDisk() {
    if (mounted_) ::umount2(folder_.c_str(), MNT_DETACH);
  }
  SmallDisk(const SmallDisk&) = delete;
  SmallDisk& operator=(const SmallDisk&) = delete;
  bool mounted() const { return mounted_; }

private:
  std::string folder_;
  bool mounted_ = false;
};

}  // namespace

TEST_CASE("F19 G-26 a full disk is waited for, then told, and when there is room it goes on") {
  const faults::Folder folder;
  const SmallDisk disk(folder.path(), "size=8m");
  ray::RuntimeOptions options = faults::processes(2, 16 * kMiB);
  options.spill_directory = folder.path();
  ray::Runtime rt(options);
  if (!disk.mounted()) {
    WARN("not run: this process may not mount a file system");
    return;
  }
  std::vector<ray::ObjectRef<Bytes>> kept;
  std::string text;
  const auto start = faults::Clock::now();
  for (int i = 0; i < 64 && text.empty(); ++i) {
    try {
      kept.push_back(rt.put(made(i, kMiB)));
    } catch (const ray::OutOfDiskError& error) {
      text = error.what();
    } catch (const ray::ObjectStoreFullError& error) {
      text = error.what();
    }
  }
  std::printf("F19: %zu objects, then after %.1f s: %s\n", kept.size(),
              faults::seconds_since(start), text.c_str());
  CHECK(kept.size() >= 16);
  CHECK(kept.size() < 32);
  // A task's result finds no room either.
  const auto result = rt.remote<made>(7, 2 * kMiB);
  try {
    rt.get(result, faults::kDeadline);
    FAIL("there was room");
  } catch (const ray::OutOfDiskError&) {
  } catch (const ray::ObjectStoreFullError&) {
  }
  const auto first = kept.front();
  kept.erase(kept.begin(), kept.begin() + 8);
  CHECK(is_right(rt.get(rt.remote<made>(9, 2 * kMiB), faults::kDeadline), 9, 2 * kMiB));
  kept.push_back(rt.put(made(1, kMiB)));
  CHECK(is_right(rt.get(kept.back(), faults::kDeadline), 1, kMiB));
  CHECK(is_right(rt.get(first, faults::kDeadline), 0, kMiB));
}

TEST_CASE("F19 G-26 what waits for the disk goes on within a second of room on it") {
  const faults::Folder folder;
  const SmallDisk disk(folder.path(), "size=16m");
  ray::RuntimeOptions options = faults::processes(1, 16 * kMiB);
  options.spill_directory = folder.path();
  ray::Runtime rt(options);
  if (!disk.mounted()) {
    WARN("not run: this process may not mount a file system");
    return;
  }
  const std::string others = folder.path() + "/others";
  { std::ofstream(others) << std::string(16 * kMiB, 'o'); }
  std::vector<ray::ObjectRef<Bytes>> kept;
  for (int i = 0; i < 15; ++i) kept.push_back(rt.put(made(i, kMiB)));
  const auto late = rt.remote<made>(3, 4 * kMiB);
  CHECK(rt.wait(std::vector{late}, {.timeout = 100ms}).ready.empty());
  std::filesystem::remove(others);
  const auto start = faults::Clock::now();
  CHECK(rt.wait(std::vector{late}, {.timeout = faults::kDeadline}).ready.size() == 1);
  const double seconds = faults::seconds_since(start);
  std::printf("G-26: goes on %.2f s after there was room on the disk\n", seconds);
  CHECK(seconds < (probes::kSanitized ? 5 : 0.6));  // The disk is tried four times a second.
  CHECK(is_right(rt.get(late, faults::kDeadline), 3, 4 * kMiB));
  for (int i = 0; i < 15; ++i) {
    CHECK(is_right(rt.get(kept[static_cast<std::size_t>(i)], faults::kDeadline), i, kMiB));
  }
}

TEST_CASE("F19 who asks for room while the disk is full gets it when another gives some back") {
  const faults::Folder folder;
  const SmallDisk disk(folder.path(), "size=4m");
  ray::RuntimeOptions options = faults::processes(1, 16 * kMiB);
  options.spill_directory = folder.path();
  ray::Runtime rt(options);
  if (!disk.mounted()) {
    WARN("not run: this process may not mount a file system");
    return;
  }
  std::vector<ray::ObjectRef<Bytes>> kept;
  for (int i = 0; i < 16; ++i) kept.push_back(rt.put(made(i, kMiB)));
  const auto late = rt.remote<made>(3, 8 * kMiB);
  CHECK(rt.wait(std::vector{late}, {.timeout = 500ms}).ready.empty());
  kept.clear();
  CHECK(is_right(rt.get(late, faults::kDeadline), 3, 8 * kMiB));
}

namespace {

/// While it lives the system makes no file larger than so many bytes, memory files among them.
class FileLimit {
public:
  explicit FileLimit(std::size_t bytes) {
    ::getrlimit(RLIMIT_FSIZE, &before_);
    const rlimit now{bytes, before_.rlim_max};
    ::setrlimit(RLIMIT_FSIZE, &now);
  }
  ~FileLimit() { ::setrlimit(RLIMIT_FSIZE, &before_); }
  FileLimit(const FileLimit&) = delete;
  FileLimit& operator=(const FileLimit&) = delete;

private:
  rlimit before_{};
};

}  // namespace

TEST_CASE(
    "F20 G-26 where the system gives no shared memory it is told, and when it does it goes on") {
  ray::Runtime rt(faults::processes(2));
  CHECK(rt.get(rt.remote<faults::same>(1), faults::kDeadline) == 1);
  constexpr std::size_t kLarge = 40 * kMiB;
  {
    const FileLimit limit(32 * kMiB);
    for (int i = 0; i < 3; ++i) {
      CHECK_THAT(faults::error_of<ray::ObjectStoreFullError>(
                     [&] { static_cast<void>(rt.put(made(1, kLarge))); }),
                 ContainsSubstring("no shared memory: ftruncate"));
      CHECK_THAT(faults::error_of<ray::ObjectStoreFullError>(
                     [&] { rt.get(rt.remote<made>(2, kLarge), faults::kDeadline); }),
                 ContainsSubstring("no shared memory: ftruncate"));
    }
    CHECK(is_right(rt.get(rt.remote<made>(3, kMiB), faults::kDeadline), 3, kMiB));
  }
  const auto start = faults::Clock::now();
  CHECK(is_right(rt.get(rt.remote<made>(2, kLarge), faults::kDeadline), 2, kLarge));
  CHECK(is_right(rt.get(rt.put(made(1, kLarge)), faults::kDeadline), 1, kLarge));
  std::printf("G-26: goes on %.2f s after there was shared memory\n", faults::seconds_since(start));
  CHECK(faults::comes_to_nothing());
}

namespace {

constexpr std::uint64_t kSmallGroup = std::uint64_t{64} << 20;

/// A control group of so little memory, of either version; without a folder where none can be made.
class SmallGroup {
public:
  SmallGroup() {
    if (ray::detail::is_worker_process()) return;
    const std::string root = "/sys/fs/cgroup";
    if (make(root + "/memory", "memory.limit_in_bytes")) return;
    struct statfs system {};
    if (::statfs(root.c_str(), &system) != 0 || system.f_type != CGROUP2_SUPER_MAGIC) return;
    std::ofstream(root + "/cgroup.subtree_control") << "+memory";
    make(root, "memory.max");
  }
  ~SmallGroup() {
    if (!folder_.empty() && !remove()) std::printf("%s is left\n", folder_.c_str());
  }
  SmallGroup(const SmallGroup&) = delete;
  SmallGroup& operator=(const SmallGroup&) = delete;
  const std::string& folder() const { return folder_; }

  /// False if it cannot be removed: somebody is in it, who is killed.
  bool remove() {
    return faults::eventually(
        [&] {
          std::ifstream members(folder_ + "/cgroup.procs");
          for (pid_t pid = 0; members >> pid;) ::kill(pid, SIGKILL);
          return ::rmdir(folder_.c_str()) == 0 || errno == ENOENT;
        },
        5s);
  }

private:
  bool make(const std::string& parent, const char* limit) {
    const std::string folder = parent + "/ray_test_" + faults::pid_text();
    if (::mkdir(folder.c_str(), 0755) != 0) return false;
    std::ofstream(folder + "/memory.swap.max") << 0;
    std::ofstream file(folder + "/" + limit);
    file << kSmallGroup << std::flush;
    if (file) {
      folder_ = folder;
    } else {
      ::rmdir(folder.c_str());
    }
    return bool(file);
  }

  std::string folder_;
};

bool join(const std::string& group) {
  std::ofstream file(group + "/cgroup.procs");
  file << ::getpid() << std::flush;
  return bool(file);
}

std::size_t takes_memory(const std::string& group, std::size_t size) {
  if (!join(group)) return 0;
  std::vector<char> bytes(size, 'm');
  return bytes.size();
}

}  // namespace

TEST_CASE("F20 a worker that the kernel kills for its memory is told of, and others go on") {
  ray::Runtime rt(faults::processes(2));
  const SmallGroup group;
  if (group.folder().empty()) {
    WARN("not run: no control group of memory can be made here");
    return;
  }
  CHECK_THAT(faults::error_of<ray::WorkerCrashedError>([&] {
               rt.get(rt.with<takes_memory>({.max_retries = 0})(group.folder(), 256 * kMiB),
                      faults::kDeadline);
             }),
             ContainsSubstring("SIGKILL"));
  CHECK(is_right(rt.get(rt.remote<made>(1, kMiB), faults::kDeadline), 1, kMiB));
}

namespace {

constexpr char kSmallDriver[] = "RAY_TEST_SMALL_DRIVER";  // The folder of one in a small group.

/// Four times as much as the group has goes through its store: put, taken by tasks, and made by
/// them.
[[noreturn]] void drive_in_small_group(const std::string& folder) {
  std::string group;
  std::getline(std::ifstream(folder + "/group"), group);
  if (!join(group) || ray::detail::read_memory_limit() > kSmallGroup) ::_exit(3);
  constexpr int kObjects = 64;
  ray::Runtime rt({.num_cpus = 2,
                   .isolation = ray::Isolation::processes,
                   .spill_directory = folder});  // The rest as it is by default.
  std::vector<ray::ObjectRef<Bytes>> objects;
  std::vector<ray::ObjectRef<bool>> checks;
  for (int i = 0; i < kObjects; ++i) {
    objects.push_back(i % 2 == 0 ? rt.put(made(i, 4 * kMiB)) : rt.remote<made>(i, 4 * kMiB));
    checks.push_back(rt.remote<is_right>(objects.back(), i, 4 * kMiB));
  }
  bool right = true;
  for (const auto& check : checks) right &= rt.get(check, faults::kDeadline);
  const bool spilled = faults::counts().spilled_bytes > 2 * kSmallGroup;
  rt.shutdown();
  ::_exit(right && spilled ? 0 : 4);
}

}  // namespace

TEST_CASE("G-26 a driver whose control group has 64 MiB moves 256 MiB through its store") {
  if (const char* folder = std::getenv(kSmallDriver)) drive_in_small_group(folder);
  if (probes::kSanitized) return;  // Which takes more than that for itself.
  const SmallGroup group;
  if (group.folder().empty()) {
    WARN("not run: no control group of memory can be made here");
    return;
  }
  // On a disk: a file in memory would be the group's as well.
  const faults::Folder folder(std::filesystem::current_path());
  faults::note(folder.path() + "/group", group.folder());
  const pid_t driver = faults::start_again(kSmallDriver, folder.path());
  REQUIRE(driver > 0);
  int status = -1;
  CHECK(faults::eventually([&] { return ::waitpid(driver, &status, WNOHANG) == driver; }));
  INFO("status " << status);
  CHECK((WIFEXITED(status) && WEXITSTATUS(status) == 0));
}

TEST_CASE("memory of large objects is given back by all processes when they are gone") {
  ray::Runtime rt(faults::processes(1, 300 * kMiB));
  const auto most = [&] {
    long kibibytes = shared_memory(::getpid());
    for (const auto& worker : rt.state().workers) {
      kibibytes = std::max(kibibytes, shared_memory(static_cast<std::int64_t>(worker.pid)));
    }
    return kibibytes;
  };
  {
    const auto large = rt.remote<made>(1, 100 * kMiB);
    CHECK(rt.get(rt.remote<is_right>(large, 1, 100 * kMiB)));
    CHECK(rt.get(large).size() == 100 * kMiB);
    CHECK(most() > 90 * 1024);
  }
  // The node keeps an empty segment for a while, in case it is needed again.
  CHECK(faults::eventually([&] { return most() < 1024; }));
}
