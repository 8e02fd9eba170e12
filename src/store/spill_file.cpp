#include "store/spill_file.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>
#include <new>
#include <set>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "task/crc32c.hpp"

namespace ray::detail {

namespace {

constexpr std::uint64_t kExtentUnit = 4096;
constexpr std::uint64_t kPunchBytes = std::uint64_t{1} << 20;  // Smaller holes are only used again.
constexpr char kSpillName[] = "objects";
constexpr std::string_view kFolderPrefix = "ray-spill-";  // "ray-spill-<pid>-XXXXXX"

struct SpillHeader {
  std::uint64_t magic = 0x6c6c'6970'7379'6172;  // "rayspill"
  std::uint64_t handle = 0;
  std::uint64_t object = 0;
  std::uint64_t bytes = 0;
  std::uint32_t version = 1;
  std::uint32_t checksum = 0;  // Of this with 0 here, and of the chunks' checksums.
};

std::uint64_t chunks_of(std::uint64_t bytes) { return (bytes + kSpillChunk - 1) / kSpillChunk; }
/// The header and the checksums.
std::uint64_t head_bytes(std::uint64_t bytes) {
  return (sizeof(SpillHeader) + 4 * chunks_of(bytes) + 63) & ~std::uint64_t{63};
}

std::uint32_t head_checksum(SpillHeader header, std::span<const std::uint32_t> chunks) {
  header.checksum = 0;
  return crc32c(std::as_bytes(chunks), crc32c(std::as_bytes(std::span(&header, 1))));
}

bool write_all(int file, std::span<const std::byte> bytes, std::uint64_t offset,
               SystemFault& fault) {
  while (!bytes.empty()) {
    const ssize_t written = ::pwrite(file, bytes.data(), bytes.size(), static_cast<off_t>(offset));
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) {
      fault = written < 0 ? SystemFault::of("pwrite") : SystemFault{"pwrite", ENOSPC};
      return false;
    }
    bytes = bytes.subspan(static_cast<std::size_t>(written));
    offset += static_cast<std::uint64_t>(written);
  }
  return true;
}

bool read_all(int file, std::span<std::byte> bytes, std::uint64_t offset, std::string& why) {
  while (!bytes.empty()) {
    const ssize_t got = ::pread(file, bytes.data(), bytes.size(), static_cast<off_t>(offset));
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) {
      why = got < 0 ? SystemFault::of("pread").text() : "the spill file was cut short";
      return false;
    }
    bytes = bytes.subspan(static_cast<std::size_t>(got));
    offset += static_cast<std::uint64_t>(got);
  }
  return true;
}

// --- where the file lies ---

std::vector<std::string> folders_to_try(const std::string& given) {
  if (!given.empty()) return {given};
  const char* temporary = ::secure_getenv("TMPDIR");
  if (temporary != nullptr && *temporary != 0) return {temporary, "/var/tmp", "/tmp"};
  return {"/var/tmp", "/tmp"};
}

/// The process that made a folder of that name; 0 if none did.
pid_t maker_of(std::string_view name) {
  if (!name.starts_with(kFolderPrefix)) return 0;
  name.remove_prefix(kFolderPrefix.size());
  pid_t pid = 0;
  const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), pid);
  const bool whole = end != name.data() + name.size() && *end == '-';
  return error == std::errc() && whole && pid > 0 ? pid : 0;
}

/// Removes folders of this user whose maker is no more, with the one file they may hold.
void sweep(int parent) {
  Descriptor copy(::openat(parent, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  DIR* list = copy ? ::fdopendir(copy.number()) : nullptr;
  if (list == nullptr) return;
  copy.release();
  while (const dirent* entry = ::readdir(list)) {
    const pid_t pid = maker_of(entry->d_name);
    if (pid == 0 || ::kill(pid, 0) == 0 || errno != ESRCH) continue;
    const Descriptor folder(
        ::openat(parent, entry->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    struct stat status {};
    if (!folder || ::fstat(folder.number(), &status) != 0 || status.st_uid != ::geteuid()) continue;
    ::unlinkat(folder.number(), kSpillName, 0);
    ::unlinkat(parent, entry->d_name, AT_REMOVEDIR);
  }
  ::closedir(list);
}

Descriptor open_folder(const std::string& path, int more_flags, SystemFault& fault) {
  Descriptor folder(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC | more_flags));
  if (!folder) fault = SystemFault::of("open the spill directory");
  return folder;
}

/// A file in a folder of its own, which nobody else can enter; both lose their names at once.
Descriptor open_and_unlink(const std::string& parent_path, SystemFault& fault) {
  const Descriptor parent = open_folder(parent_path, 0, fault);
  if (!parent) return {};
  sweep(parent.number());
  std::string path =
      parent_path + "/" + std::string(kFolderPrefix) + std::to_string(::getpid()) + "-XXXXXX";
  if (::mkdtemp(path.data()) == nullptr) {  // Of mode 0700.
    fault = SystemFault::of("mkdtemp");
    return {};
  }
  const Descriptor folder = open_folder(path, O_NOFOLLOW, fault);
  Descriptor file;
  if (folder) {
    constexpr int flags = O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC;
    file = Descriptor(::openat(folder.number(), kSpillName, flags, 0600));
    if (!file) fault = SystemFault::of("open the spill file");
    ::unlinkat(folder.number(), kSpillName, 0);
  }
  ::rmdir(path.c_str());
  return file;
}

/// `unknown`: the file system knows no such files.
Descriptor open_nameless(const std::string& path, bool& unknown, SystemFault& fault) {
  const Descriptor folder = open_folder(path, 0, fault);
  if (!folder) return {};
  // O_EXCL: it can get no name later either.
  Descriptor file(::openat(folder.number(), ".", O_TMPFILE | O_RDWR | O_EXCL | O_CLOEXEC, 0600));
  if (file) return file;
  unknown = errno == EOPNOTSUPP || errno == EISDIR || errno == EINVAL || errno == ENOENT;
  fault = SystemFault::of("open the spill file");
  return {};
}

}  // namespace

struct SpillFile::State {
  Descriptor file;
  mutable std::mutex mutex;                                   // Guards what follows.
  std::unordered_map<std::uint64_t, Entry> entries;           // By handle.
  std::map<std::uint64_t, std::uint64_t> holes;               // Offset to size; never two in touch.
  std::set<std::pair<std::uint64_t, std::uint64_t>> by_size;  // The same: size and offset.
  std::uint64_t end = 0;                                      // No hole touches it.
  std::uint64_t used = 0;
  std::uint64_t next_handle = 1;
};

SpillFile::SpillFile(Descriptor file) : state_(std::make_unique<State>()) {
  state_->file = std::move(file);
}
SpillFile::~SpillFile() = default;
SpillFile::SpillFile(SpillFile&&) noexcept = default;
SpillFile& SpillFile::operator=(SpillFile&&) noexcept = default;

std::optional<SpillFile> SpillFile::open(const std::string& directory, SystemFault& fault) {
  for (const std::string& folder : folders_to_try(directory)) {
    bool unknown = false;
    Descriptor file = open_nameless(folder, unknown, fault);
    if (file) return SpillFile(std::move(file));
    if (!unknown) continue;
    if (auto named = open_by_name(folder, fault)) return named;
  }
  return std::nullopt;
}

std::optional<SpillFile> SpillFile::open_by_name(const std::string& directory, SystemFault& fault) {
  Descriptor file = open_and_unlink(directory, fault);
  if (!file) return std::nullopt;
  return SpillFile(std::move(file));
}

// --- room ---

/// Requires: the mutex.
SpillFile::Extent SpillFile::take_room(std::uint64_t size) {
  const auto fit = state_->by_size.lower_bound({size, 0});
  if (fit == state_->by_size.end()) {
    const Extent taken{state_->end, size};
    state_->end += size;
    return taken;
  }
  const auto [hole, offset] = *fit;
  auto sized = state_->by_size.extract(fit);  // What is left is the same hole: no memory is needed.
  auto placed = state_->holes.extract(offset);
  if (hole > size) {
    sized.value() = {hole - size, offset + size};
    state_->by_size.insert(std::move(sized));
    placed.key() = offset + size;
    placed.mapped() = hole - size;
    state_->holes.insert(std::move(placed));
  }
  return {offset, size};
}

/// Requires: the mutex.
void SpillFile::give_room(Extent extent) noexcept {
  auto& holes = state_->holes;
  state_->used -= extent.size;
  // Before it is free for others, or their bytes would go as well.
  if (extent.size >= kPunchBytes) {
    ::fallocate(state_->file.number(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                static_cast<off_t>(extent.offset), static_cast<off_t>(extent.size));
  }
  auto after = holes.lower_bound(extent.offset);
  if (after != holes.end() && after->first == extent.offset + extent.size) {
    extent.size += after->second;
    state_->by_size.erase({after->second, after->first});
    after = holes.erase(after);
  }
  if (after != holes.begin()) {
    const auto before = std::prev(after);
    if (before->first + before->second == extent.offset) {
      extent.offset = before->first;
      extent.size += before->second;
      state_->by_size.erase({before->second, before->first});
      holes.erase(before);
    }
  }
  if (extent.offset + extent.size == state_->end) {
    state_->end = extent.offset;
    static_cast<void>(!::ftruncate(state_->file.number(), static_cast<off_t>(extent.offset)));
    return;
  }
  try {
    const auto placed = holes.emplace(extent.offset, extent.size).first;
    try {
      state_->by_size.emplace(extent.size, extent.offset);
    } catch (...) {
      holes.erase(placed);
      throw;
    }
  } catch (const std::bad_alloc&) {
    // Not to be found again: it is lost to others as long as the file lives.
  }
}

// --- objects ---

/// Room and a handle, known to nobody yet.
std::pair<std::uint64_t, SpillFile::Extent> SpillFile::enter(std::uint64_t object,
                                                             std::uint64_t bytes) {
  const std::uint64_t size = (head_bytes(bytes) + bytes + kExtentUnit - 1) & ~(kExtentUnit - 1);
  const std::lock_guard lock(state_->mutex);
  const std::uint64_t handle = state_->next_handle++;
  Entry& entry = state_->entries[handle];
  entry = {take_room(size), object, bytes};
  state_->used += size;
  return {handle, entry.extent};
}

std::optional<std::uint64_t> SpillFile::write(std::uint64_t object,
                                              std::span<const std::byte> bytes,
                                              SystemFault& fault) {
  std::vector<std::byte> start(static_cast<std::size_t>(head_bytes(bytes.size())));
  std::vector<std::uint32_t> checksums;
  checksums.reserve(static_cast<std::size_t>(chunks_of(bytes.size())));
  const auto [handle, extent] = enter(object, bytes.size());
  bool written = file_may_have(extent.offset + extent.size);
  if (!written) fault = {"pwrite", EFBIG};
  const int file = state_->file.number();
  std::uint64_t at = extent.offset + start.size();
  for (std::size_t from = 0; written && from < bytes.size(); from += kSpillChunk) {
    // The checksum brings the chunk into the cache, from which it is written.
    const auto chunk = bytes.subspan(from, std::min<std::size_t>(kSpillChunk, bytes.size() - from));
    checksums.push_back(crc32c(chunk));
    written = write_all(file, chunk, at, fault);
    at += chunk.size();
  }
  if (written) {
    SpillHeader header;
    header.handle = handle;
    header.object = object;
    header.bytes = bytes.size();
    header.checksum = head_checksum(header, checksums);
    std::memcpy(start.data(), &header, sizeof header);
    if (!checksums.empty()) {
      std::memcpy(start.data() + sizeof header, checksums.data(), 4 * checksums.size());
    }
    written = write_all(file, start, extent.offset, fault);
  }
  if (written) return handle;
  drop(handle);
  return std::nullopt;
}

bool SpillFile::read(std::uint64_t handle, std::span<std::byte> into, std::string& why) const {
  Entry entry;
  {
    const std::lock_guard lock(state_->mutex);
    const auto found = state_->entries.find(handle);
    if (found == state_->entries.end()) {
      why = "nothing was spilled under this handle";
      return false;
    }
    entry = found->second;
  }
  if (entry.bytes != into.size()) {
    why = "the spilled object has another size than is asked for";
    return false;
  }
  const int file = state_->file.number();
  std::vector<std::byte> start(static_cast<std::size_t>(head_bytes(entry.bytes)));
  if (!read_all(file, start, entry.extent.offset, why)) return false;
  SpillHeader header;
  std::memcpy(&header, start.data(), sizeof header);
  std::vector<std::uint32_t> checksums(static_cast<std::size_t>(chunks_of(entry.bytes)));
  if (!checksums.empty()) {
    std::memcpy(checksums.data(), start.data() + sizeof header, 4 * checksums.size());
  }
  const SpillHeader expected;
  if (header.magic != expected.magic || header.version != expected.version ||
      header.handle != handle || header.object != entry.object || header.bytes != entry.bytes ||
      header.checksum != head_checksum(header, checksums)) {
    why = "the header of the spilled object is damaged";
    return false;
  }
  std::uint64_t at = entry.extent.offset + start.size();
  for (std::size_t i = 0; i < checksums.size(); ++i) {
    const std::size_t from = i * kSpillChunk;
    const auto chunk = into.subspan(from, std::min<std::size_t>(kSpillChunk, into.size() - from));
    if (!read_all(file, chunk, at, why)) return false;
    if (crc32c(chunk) != checksums[i]) {
      why = "the spilled object is damaged in its part " + std::to_string(i + 1) + " of " +
            std::to_string(checksums.size());
      return false;
    }
    at += chunk.size();
  }
  return true;
}

void SpillFile::drop(std::uint64_t handle) noexcept {
  const std::lock_guard lock(state_->mutex);
  const auto found = state_->entries.find(handle);
  if (found == state_->entries.end()) return;
  const Extent extent = found->second.extent;
  state_->entries.erase(found);
  give_room(extent);
}

std::uint64_t SpillFile::bytes_used() const {
  const std::lock_guard lock(state_->mutex);
  return state_->used;
}

std::uint64_t SpillFile::bytes_end() const {
  const std::lock_guard lock(state_->mutex);
  return state_->end;
}

int SpillFile::descriptor() const noexcept { return state_->file.number(); }

}  // namespace ray::detail
