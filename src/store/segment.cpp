#include "store/segment.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <string>

namespace ray::detail {

namespace {

constexpr int kWriterSeals = F_SEAL_FUTURE_WRITE | F_SEAL_SEAL;
constexpr int kPopulateRead = 22;   // MADV_POPULATE_READ and
constexpr int kPopulateWrite = 23;  // MADV_POPULATE_WRITE, of Linux 5.14.

std::uint64_t page_bytes() {
  static const auto bytes = static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
  return bytes;
}

/// What an old kernel cannot do at once. Others may write meanwhile, so nothing is changed.
void touch_pages(std::span<std::byte> range, MemoryAccess access) {
  const auto page = static_cast<std::size_t>(page_bytes());
  for (std::size_t at = 0; at < range.size(); at += page) {
    std::byte* byte = &range[at];
    if (access == MemoryAccess::read_write) {
      __atomic_fetch_or(reinterpret_cast<unsigned char*>(byte), 0, __ATOMIC_RELAXED);
    } else {
      static_cast<void>(*static_cast<volatile std::byte*>(byte));
    }
  }
}

}  // namespace

Segment::Segment(Descriptor memory, Mapping mapping, MemoryAccess access)
    : memory_(std::move(memory)), mapping_(std::move(mapping)), access_(access) {
  // Fewer and larger faults where the machine is set up for it; no matter where it is not.
  ::madvise(bytes().data(), bytes().size(), MADV_HUGEPAGE);
  // Or the core dump of each process that has it mapped would hold the whole store.
  ::madvise(bytes().data(), bytes().size(), MADV_DONTDUMP);
}

std::optional<Segment> Segment::make(std::uint64_t size, SystemFault& fault) {
  if (size == 0) {
    fault = {"a segment of no bytes", 0};
    return std::nullopt;
  }
  auto memory = make_memory("ray-store", size, fault);
  if (!memory) return std::nullopt;
  auto mapping = Mapping::make(memory->number(), size, MemoryAccess::read_write, fault);
  if (!mapping) return std::nullopt;
  return Segment(std::move(*memory), std::move(*mapping), MemoryAccess::read_write);
}

std::optional<Segment> Segment::attach(Descriptor memory, std::uint64_t size, MemoryAccess access,
                                       SystemFault& fault) {
  if (size == 0 || !is_memory(memory.number(), size, fault)) return std::nullopt;
  if (access == MemoryAccess::read) {
    const int seals = ::fcntl(memory.number(), F_GET_SEALS);
    const bool reads_only = (::fcntl(memory.number(), F_GETFL) & O_ACCMODE) == O_RDONLY;
    if ((seals & F_SEAL_FUTURE_WRITE) == 0 && !reads_only) {
      fault = {"a segment is handed to a reader who could write it", 0};
      return std::nullopt;
    }
  }
  auto mapping = Mapping::make(memory.number(), size, access, fault);
  if (!mapping) return std::nullopt;
  return Segment(std::move(memory), std::move(*mapping), access);
}

bool Segment::seal(SystemFault& fault) {
  if (::fcntl(memory_.number(), F_ADD_SEALS, kWriterSeals) == 0) return true;
  fault = SystemFault::of("fcntl(F_ADD_SEALS)");
  return false;
}

std::optional<Descriptor> Segment::open_for_readers(SystemFault& fault) const {
  const std::string path = "/proc/self/fd/" + std::to_string(memory_.number());
  Descriptor reader(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (reader) return reader;
  fault = SystemFault::of("open(/proc/self/fd)");
  return std::nullopt;
}

bool Segment::holds(std::uint64_t offset, std::uint64_t size, SystemFault& fault) const {
  if (offset <= bytes().size() && size <= bytes().size() - offset) return true;
  fault = {"a range beyond the end of its segment", EINVAL};
  return false;
}

bool Segment::reserve(std::uint64_t offset, std::uint64_t size, SystemFault& fault) {
  if (!holds(offset, size, fault)) return false;
  if (size == 0) return true;
  while (::fallocate(memory_.number(), 0, static_cast<off_t>(offset), static_cast<off_t>(size)) !=
         0) {
    if (errno == EINTR) continue;
    fault = SystemFault::of("fallocate");
    return false;
  }
  return true;
}

bool Segment::populate(std::uint64_t offset, std::uint64_t size, SystemFault& fault) {
  if (!holds(offset, size, fault)) return false;
  if (size == 0) return true;
  // First the memory, then the page tables.
  if (access_ == MemoryAccess::read_write && !reserve(offset, size, fault)) return false;
  const std::uint64_t first = offset & ~(page_bytes() - 1);
  const auto range = bytes().subspan(static_cast<std::size_t>(first),
                                     static_cast<std::size_t>(offset + size - first));
  const int advice = access_ == MemoryAccess::read_write ? kPopulateWrite : kPopulateRead;
  while (::madvise(range.data(), range.size(), advice) != 0) {
    if (errno == EINTR || errno == EAGAIN) continue;
    if (errno == EINVAL) {
      touch_pages(range, access_);
      break;
    }
    fault = SystemFault::of("madvise(MADV_POPULATE)");
    return false;
  }
  return true;
}

bool Segment::discard(std::uint64_t offset, std::uint64_t size, SystemFault& fault) {
  if (!holds(offset, size, fault)) return false;
  const std::uint64_t page = page_bytes();
  const std::uint64_t first = (offset + page - 1) & ~(page - 1);
  // The last page of all may be a part of one.
  const std::uint64_t end =
      offset + size == bytes().size() ? offset + size : (offset + size) & ~(page - 1);
  if (first >= end) return true;
  while (::fallocate(memory_.number(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                     static_cast<off_t>(first), static_cast<off_t>(end - first)) != 0) {
    if (errno == EINTR) continue;
    fault = SystemFault::of("fallocate(FALLOC_FL_PUNCH_HOLE)");
    return false;
  }
  return true;
}

}  // namespace ray::detail
