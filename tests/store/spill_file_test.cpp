// The spill file: what comes back is what went in, or a reason; nothing is left in the directory.
#include "support/catch.hpp"

#include "store/spill_file.hpp"

#include "api/probes.hpp"

#include <fcntl.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <filesystem>
#include <fstream>
#include <random>
#include <string>
#include <thread>
#include <vector>

namespace {

using ray::detail::kSpillChunk;
using ray::detail::SpillFile;
using ray::detail::SystemFault;
using Bytes = std::vector<std::byte>;

/// A directory that goes with its test.
class Folder {
public:
  Folder() {
    std::string path = (std::filesystem::temp_directory_path() / "spill-test-XXXXXX").string();
    REQUIRE(::mkdtemp(path.data()) != nullptr);
    path_ = path;
  }
  ~Folder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;

  const std::string& path() const { return path_; }
  bool empty() const { return std::filesystem::is_empty(path_); }

private:
  std::string path_;
};

SpillFile open_in(const std::string& path) {
  SystemFault fault;
  auto file = SpillFile::open(path, fault);
  INFO(fault.text());
  REQUIRE(file.has_value());
  return std::move(*file);
}

Bytes pattern(std::size_t size, std::uint64_t seed) {
  std::mt19937_64 random(seed);
  Bytes bytes(size);
  for (std::byte& byte : bytes) byte = static_cast<std::byte>(random());
  return bytes;
}

std::uint64_t written(SpillFile& file, std::uint64_t object, const Bytes& bytes) {
  SystemFault fault;
  const auto handle = file.write(object, bytes, fault);
  INFO(fault.text());
  REQUIRE(handle.has_value());
  return *handle;
}

/// The reason, or nothing if it was read as it should be.
std::string trouble(const SpillFile& file, std::uint64_t handle, const Bytes& expected) {
  Bytes bytes(expected.size());
  std::string why;
  if (!file.read(handle, bytes, why)) return why;
  return bytes == expected ? "" : "other bytes";
}

Bytes raw(const SpillFile& file, std::uint64_t at, std::size_t size) {
  Bytes bytes(size);
  REQUIRE(::pread(file.descriptor(), bytes.data(), size, static_cast<off_t>(at)) ==
          static_cast<ssize_t>(size));
  return bytes;
}
void put_raw(const SpillFile& file, std::uint64_t at, const Bytes& bytes) {
  REQUIRE(::pwrite(file.descriptor(), bytes.data(), bytes.size(), static_cast<off_t>(at)) ==
          static_cast<ssize_t>(bytes.size()));
}

std::uint64_t on_disk(const SpillFile& file) {
  struct stat status {};
  REQUIRE(::fstat(file.descriptor(), &status) == 0);
  return static_cast<std::uint64_t>(status.st_blocks) * 512;
}

}  // namespace

TEST_CASE("objects of every size come back from the spill file") {
  const Folder folder;
  SpillFile file = open_in(folder.path());
  CHECK(folder.empty());  // It has no name.
  struct stat status {};
  REQUIRE(::fstat(file.descriptor(), &status) == 0);
  CHECK((status.st_mode & 0777) == 0600);
  CHECK(status.st_nlink == 0);
  CHECK((::fcntl(file.descriptor(), F_GETFD) & FD_CLOEXEC) != 0);
  std::vector<std::pair<std::uint64_t, Bytes>> objects;
  for (const std::size_t size :
       {std::size_t{0}, std::size_t{1}, std::size_t{4096}, std::size_t{kSpillChunk - 1},
        std::size_t{kSpillChunk}, std::size_t{kSpillChunk + 1}, std::size_t{5 * kSpillChunk + 3}}) {
    Bytes bytes = pattern(size, size);
    const std::uint64_t handle = written(file, 1000 + size, bytes);
    objects.emplace_back(handle, std::move(bytes));
  }
  for (const auto& [handle, bytes] : objects) CHECK(trouble(file, handle, bytes) == "");
  std::string why;
  Bytes other(17);
  CHECK_FALSE(file.read(objects[2].first, other, why));
  CHECK(why == "the spilled object has another size than is asked for");
  CHECK_FALSE(file.read(99, other, why));
  CHECK(why == "nothing was spilled under this handle");
  file.drop(99);
  for (const auto& [handle, bytes] : objects) file.drop(handle);
  CHECK(file.bytes_used() == 0);
  CHECK(file.bytes_end() == 0);
  CHECK(trouble(file, objects[1].first, objects[1].second) != "");
}

TEST_CASE("room that is dropped is used again and given back") {
  const Folder folder;
  SpillFile file = open_in(folder.path());
  std::mt19937 random(4);
  struct Object {
    std::uint64_t handle;
    Bytes bytes;
  };
  std::vector<Object> objects;
  std::uint64_t most = 0;
  std::uint64_t total = 0;
  for (std::uint64_t step = 0; step < 600; ++step) {
    if (objects.size() < 20) {
      Bytes bytes = pattern(random() % 300'000, step);
      total += bytes.size();
      const std::uint64_t handle = written(file, step, bytes);
      objects.push_back({handle, std::move(bytes)});
    } else {
      std::swap(objects[random() % objects.size()], objects.back());
      REQUIRE(trouble(file, objects.back().handle, objects.back().bytes) == "");
      file.drop(objects.back().handle);
      objects.pop_back();
    }
    most = std::max(most, file.bytes_end());
    REQUIRE(file.bytes_used() <= file.bytes_end());
  }
  CHECK(most < total / 3);
  for (const Object& object : objects) CHECK(trouble(file, object.handle, object.bytes) == "");
  for (const Object& object : objects) file.drop(object.handle);
  CHECK(file.bytes_end() == 0);
  CHECK(on_disk(file) == 0);
  // A large hole below one that stays goes back to the disk.
  const std::uint64_t large = written(file, 1, pattern(std::size_t{4} << 20, 1));
  const Bytes small_bytes = pattern(1000, 2);
  const std::uint64_t small = written(file, 2, small_bytes);
  file.drop(large);
  CHECK(on_disk(file) < std::uint64_t{1} << 20);
  CHECK(trouble(file, small, small_bytes) == "");
}

TEST_CASE("a spilled object that was changed is not given out") {
  const Folder folder;
  SpillFile file = open_in(folder.path());
  const Bytes bytes = pattern(2 * kSpillChunk + 5000, 1);
  const std::uint64_t handle = written(file, 7, bytes);
  const std::uint64_t body = 64;  // Behind the header and three checksums.
  SECTION("one bit of it, anywhere") {
    std::mt19937_64 random(2);
    for (int round = 0; round < 60; ++round) {
      // The bytes between the checksums and the body say nothing.
      const std::uint64_t at = round < 40 ? random() % 52 : body + random() % bytes.size();
      const Bytes right = raw(file, at, 1);
      put_raw(file, at, {right[0] ^ static_cast<std::byte>(1U << random() % 8)});
      INFO("at " << at);
      const std::string why = trouble(file, handle, bytes);
      CHECK(why.find("damaged") != std::string::npos);
      put_raw(file, at, right);
    }
    CHECK(trouble(file, handle, bytes) == "");
  }
  SECTION("torn: the end was not written") {
    put_raw(file, body + 2 * kSpillChunk + 4096, Bytes(904));
    CHECK(trouble(file, handle, bytes) == "the spilled object is damaged in its part 3 of 3");
  }
  SECTION("cut short") {
    REQUIRE(::ftruncate(file.descriptor(), 2 * kSpillChunk) == 0);
    CHECK(trouble(file, handle, bytes) == "the spill file was cut short");
    REQUIRE(::ftruncate(file.descriptor(), 0) == 0);
    CHECK(trouble(file, handle, bytes) == "the spill file was cut short");
  }
  SECTION("swapped with another of its size") {
    const Bytes others = pattern(bytes.size(), 2);
    const std::uint64_t at = file.bytes_end();
    const std::uint64_t other = written(file, 8, others);
    const Bytes first = raw(file, 0, body + bytes.size());
    const Bytes second = raw(file, at, body + bytes.size());
    put_raw(file, 0, second);
    put_raw(file, at, first);
    CHECK(trouble(file, handle, bytes) == "the header of the spilled object is damaged");
    CHECK(trouble(file, other, others) == "the header of the spilled object is damaged");
  }
  SECTION("an old one in the place of the new") {
    const Bytes old = raw(file, 0, body + bytes.size());
    file.drop(handle);
    const std::uint64_t again = written(file, 7, bytes);  // The same object, the same bytes.
    put_raw(file, 0, old);
    CHECK(trouble(file, again, bytes) == "the header of the spilled object is damaged");
  }
}

TEST_CASE("a disk that fails is a reason, when writing and when reading") {
  const Folder folder;
  SpillFile file = open_in(folder.path());
  const Bytes bytes = pattern(100'000, 1);
  const std::uint64_t handle = written(file, 1, bytes);
  const int spare = ::open("/dev/null", O_WRONLY | O_CLOEXEC);
  REQUIRE(::dup3(spare, file.descriptor(), O_CLOEXEC) >= 0);
  ::close(spare);
  SystemFault fault;
  CHECK_FALSE(trouble(file, handle, bytes).empty());
  const int full = ::open("/dev/full", O_RDWR | O_CLOEXEC);
  REQUIRE(::dup3(full, file.descriptor(), O_CLOEXEC) >= 0);
  ::close(full);
  CHECK_FALSE(file.write(2, bytes, fault));
  CHECK(fault.error == ENOSPC);
  CHECK(file.bytes_used() < 110'000);  // Of the first alone.
}

TEST_CASE("a full disk refuses what does not fit and keeps the rest") {
  const Folder folder;
  if (::mount("none", folder.path().c_str(), "tmpfs", 0, "size=4m") != 0) {
    WARN("cannot mount a small file system: not run as root");
    return;
  }
  {
    SpillFile file = open_in(folder.path());
    SystemFault fault;
    std::vector<std::pair<std::uint64_t, Bytes>> objects;
    while (true) {
      Bytes bytes = pattern(1'500'000, objects.size());
      const auto handle = file.write(objects.size(), bytes, fault);
      if (!handle) break;
      REQUIRE(objects.size() < 10);
      objects.emplace_back(*handle, std::move(bytes));
    }
    CHECK(objects.size() == 2);
    CHECK(fault.error == ENOSPC);
    CHECK(fault.text() == "pwrite: No space left on device");
    for (const auto& [handle, bytes] : objects) CHECK(trouble(file, handle, bytes) == "");
    file.drop(objects[0].first);
    const Bytes bytes = pattern(1'400'000, 9);
    CHECK(trouble(file, written(file, 9, bytes), bytes) == "");
  }
  CHECK(::umount2(folder.path().c_str(), MNT_DETACH) == 0);
}

TEST_CASE("the process's limit of a file's size is an answer, not a signal") {
  const Folder folder;
  const pid_t child = ::fork();
  if (child == 0) {
    SystemFault fault;
    auto file = SpillFile::open(folder.path(), fault);
    const rlimit limit{1'000'000, 1'000'000};
    if (!file || ::setrlimit(RLIMIT_FSIZE, &limit) != 0) ::_exit(1);
    const Bytes bytes = pattern(600'000, 1);
    const auto first = file->write(1, bytes, fault);
    if (!first) ::_exit(2);
    if (file->write(2, bytes, fault) || fault.error != EFBIG) ::_exit(3);
    ::_exit(trouble(*file, *first, bytes).empty() ? 0 : 4);
  }
  int status = -1;
  REQUIRE(::waitpid(child, &status, 0) == child);
  CHECK(status == 0);
}

TEST_CASE("a process without free descriptors spills on") {
  const Folder folder;
  SpillFile file = open_in(folder.path());
  rlimit before{};
  REQUIRE(::getrlimit(RLIMIT_NOFILE, &before) == 0);
  const rlimit none{0, before.rlim_max};
  REQUIRE(::setrlimit(RLIMIT_NOFILE, &none) == 0);
  SystemFault fault;
  std::vector<std::uint64_t> handles;
  const Bytes bytes = pattern(20'000, 1);
  for (std::uint64_t i = 0; i < 100; ++i)
    handles.push_back(file.write(i, bytes, fault).value_or(0));
  std::string why;
  for (const std::uint64_t handle : handles) why += trouble(file, handle, bytes);
  const bool opened = SpillFile::open(folder.path(), fault).has_value();
  REQUIRE(::setrlimit(RLIMIT_NOFILE, &before) == 0);
  CHECK(std::count(handles.begin(), handles.end(), 0) == 0);
  CHECK(why == "");
  CHECK_FALSE(opened);
  CHECK(fault.error == EMFILE);
}

TEST_CASE("a spill directory that is not there, or is a file, is a reason") {
  const Folder folder;
  SystemFault fault;
  CHECK_FALSE(SpillFile::open(folder.path() + "/none", fault));
  CHECK(fault.text() == "open the spill directory: No such file or directory");
  std::ofstream(folder.path() + "/file") << "x";
  CHECK_FALSE(SpillFile::open(folder.path() + "/file", fault));
  CHECK(fault.error == ENOTDIR);
  CHECK(SpillFile::open("", fault));
}

TEST_CASE("where files have names, ours loses its at once, and what the dead left is swept") {
  const Folder folder;
  const auto make = [&](const std::string& name) {
    std::filesystem::create_directory(folder.path() + "/" + name);
    std::ofstream(folder.path() + "/" + name + "/objects") << "left";
  };
  const pid_t dead = ::fork();
  if (dead == 0) ::_exit(0);
  ::waitpid(dead, nullptr, 0);
  const std::string own = "ray-spill-" + std::to_string(::getpid()) + "-abcdef";
  make("ray-spill-" + std::to_string(dead) + "-abcdef");
  make(own);
  make("ray-spill-notes");
  std::filesystem::create_symlink(folder.path() + "/ray-spill-notes",
                                  folder.path() + "/ray-spill-" + std::to_string(dead) + "-link");
  SystemFault fault;
  auto file = SpillFile::open_by_name(folder.path(), fault);
  REQUIRE(file);
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(folder.path())) {
    if (entry.is_directory() && !entry.is_symlink()) names.push_back(entry.path().filename());
  }
  std::sort(names.begin(), names.end());
  CHECK(names == std::vector<std::string>{own, "ray-spill-notes"});
  CHECK(std::filesystem::exists(folder.path() + "/ray-spill-notes/objects"));
  const Bytes bytes = pattern(5000, 5);
  CHECK(trouble(*file, written(*file, 5, bytes), bytes) == "");
  struct stat status {};
  REQUIRE(::fstat(file->descriptor(), &status) == 0);
  CHECK((status.st_mode & 0777) == 0600);
  CHECK(status.st_nlink == 0);
}

TEST_CASE("several threads spill at a time") {
  const Folder folder;
  SpillFile file = open_in(folder.path());
  std::atomic<int> wrong{0};
  std::vector<std::thread> threads;
  for (std::uint64_t t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      std::mt19937_64 random(t);
      for (std::uint64_t i = 0; i < 60; ++i) {
        SystemFault fault;
        const Bytes bytes = pattern(random() % 100'000, random());
        const auto handle = file.write(t * 1000 + i, bytes, fault);
        if (!handle || !trouble(file, *handle, bytes).empty()) ++wrong;
        if (handle) file.drop(*handle);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  CHECK(wrong == 0);
  CHECK(file.bytes_end() == 0);
}
