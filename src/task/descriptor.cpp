#include "task/descriptor.hpp"

#include <sys/resource.h>
#include <unistd.h>

#include <cerrno>
#include <system_error>

namespace ray::detail {

SystemFault SystemFault::of(const char* call) noexcept { return {call, errno}; }

std::string SystemFault::text() const {
  if (error == 0) return call;
  return std::string(call) + ": " + std::generic_category().message(error);
}

bool file_may_have(std::uint64_t bytes) noexcept {
  rlimit limit{};
  return ::getrlimit(RLIMIT_FSIZE, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY ||
         bytes <= limit.rlim_cur;
}

void Descriptor::close() noexcept {
  if (number_ < 0) return;
  const int error = errno;
  ::close(std::exchange(number_, -1));  // Linux closes it even if it says EINTR.
  errno = error;
}

}  // namespace ray::detail
