#include "task/descriptor.hpp"

#include <unistd.h>

#include <cerrno>
#include <system_error>

namespace ray::detail {

SystemFault SystemFault::of(const char* call) noexcept { return {call, errno}; }

std::string SystemFault::text() const {
  if (error == 0) return call;
  return std::string(call) + ": " + std::generic_category().message(error);
}

void Descriptor::close() noexcept {
  if (number_ < 0) return;
  const int error = errno;
  ::close(std::exchange(number_, -1));  // Linux closes it even if it says EINTR.
  errno = error;
}

}  // namespace ray::detail
