#include "task/shared_memory.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

namespace ray::detail {

namespace {

constexpr unsigned kNoExecSeal = 8;  // MFD_NOEXEC_SEAL, of Linux 6.3.
constexpr int kSizeSeals = F_SEAL_SHRINK | F_SEAL_GROW;

}  // namespace

std::optional<Descriptor> make_memory(const char* name, std::uint64_t size, SystemFault& fault) {
  constexpr unsigned flags = MFD_CLOEXEC | MFD_ALLOW_SEALING;
  Descriptor memory(::memfd_create(name, flags | kNoExecSeal));
  if (!memory && errno == EINVAL) memory = Descriptor(::memfd_create(name, flags));
  if (!memory) {
    fault = SystemFault::of("memfd_create");
    return std::nullopt;
  }
  if (size > INT64_MAX || !file_may_have(size)) {
    fault = {"ftruncate", EFBIG};
    return std::nullopt;
  }
  if (::ftruncate(memory.number(), static_cast<off_t>(size)) != 0) {
    fault = SystemFault::of("ftruncate");
    return std::nullopt;
  }
  if (::fcntl(memory.number(), F_ADD_SEALS, kSizeSeals) != 0) {
    fault = SystemFault::of("fcntl(F_ADD_SEALS)");
    return std::nullopt;
  }
  return memory;
}

bool is_memory(int descriptor, std::uint64_t size, SystemFault& fault) {
  struct stat status {};
  if (::fstat(descriptor, &status) != 0) {
    fault = SystemFault::of("fstat");
    return false;
  }
  const int seals = S_ISREG(status.st_mode) ? ::fcntl(descriptor, F_GET_SEALS) : -1;
  if (seals < 0 || (seals & kSizeSeals) != kSizeSeals) {
    fault = {"shared memory is no sealed memfd", 0};
    return false;
  }
  if (static_cast<std::uint64_t>(status.st_size) != size) {
    fault = {"shared memory has another size than was said", 0};
    return false;
  }
  return true;
}

std::optional<Mapping> Mapping::make(int descriptor, std::uint64_t size, MemoryAccess access,
                                     SystemFault& fault) {
  const int protection = access == MemoryAccess::read ? PROT_READ : PROT_READ | PROT_WRITE;
  void* memory =
      ::mmap(nullptr, static_cast<std::size_t>(size), protection, MAP_SHARED, descriptor, 0);
  if (memory == MAP_FAILED) {
    fault = SystemFault::of("mmap");
    return std::nullopt;
  }
  Mapping mapping;
  mapping.bytes_ = {static_cast<std::byte*>(memory), static_cast<std::size_t>(size)};
  return mapping;
}

void Mapping::reset() noexcept {
  if (!bytes_.empty()) ::munmap(bytes_.data(), bytes_.size());
  bytes_ = {};
}

}  // namespace ray::detail
