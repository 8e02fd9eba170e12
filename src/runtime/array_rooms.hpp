// Arrays that are made where they will lie: in room that was reserved in the store. When such an
// array is all of a value's large data, the value is stored without a copy.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <mutex>
#include <optional>

#include "task/messages.hpp"

namespace ray::detail {

/// Those of one client. Threads: any.
class ArrayRooms {
public:
  void enter(const void* data, const Place& place);
  /// The place of an array that begins there; it belongs to the caller from here on.
  std::optional<Place> take(const void* data);

private:
  std::mutex mutex_;
  std::map<const void*, Place> rooms_;  // Guarded by mutex_.
};

}  // namespace ray::detail
