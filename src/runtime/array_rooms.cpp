#include "runtime/array_rooms.hpp"

#include <ray/array.hpp>

#include "runtime/parts.hpp"
#include "task/stored_layout.hpp"

namespace ray::detail {

void ArrayRooms::enter(const void* data, const Place& place) {
  const std::lock_guard lock(mutex_);
  rooms_.emplace(data, place);
}

std::optional<Place> ArrayRooms::take(const void* data) {
  const std::lock_guard lock(mutex_);
  const auto found = rooms_.find(data);
  if (found == rooms_.end()) return std::nullopt;
  const Place place = found->second;
  rooms_.erase(found);
  return place;
}

namespace {

/// Room that an array has until the array goes or becomes part of an object.
struct ReservedRoom {
  std::uint16_t engine;
  const void* data;
  std::shared_ptr<void> memory;
  ~ReservedRoom() {
    const EngineScope scope(engine);
    if (scope.engine() != nullptr) scope.engine()->parts().client->leave_room(data);
  }
};

}  // namespace

ArrayMemory allocate_array(std::size_t bytes) {
  const EngineScope scope(Engine::index_here());
  Client* client = scope.engine() != nullptr ? scope.engine()->parts().client.get() : nullptr;
  if (client == nullptr || bytes < client->inline_bytes()) return {buffer_allocate(bytes), nullptr};
  auto room = std::make_shared<ReservedRoom>();
  std::byte* const data = client->make_room(bytes, room->memory);
  room->engine = client->engine_index();
  room->data = data;
  return {data, std::move(room)};
}

std::byte* Client::make_room(std::uint64_t bytes, std::shared_ptr<void>& memory) {
  const Place place = reserve(kStoredRoom + bytes);
  channel_->view(place, memory);
  std::byte* const data = channel_->writable(place).data() + kStoredRoom;
  rooms_.enter(data, place);
  return data;
}

void Client::leave_room(const void* data) {
  if (const auto place = rooms_.take(data)) send(message::Unreserve{*place});
}

/// The value is stored already, but for what comes before its array.
std::optional<Place> Client::stored_in_place(const OutputArchive& archive) {
  if (archive.beside().size() != 1 || !fits_before_block(archive.bytes().size()))
    return std::nullopt;
  const auto block = archive.beside()[0];
  const auto place = rooms_.take(block.data());
  if (!place) return std::nullopt;
  write_stored_before(channel_->writable(*place).data(), archive.bytes(), block.size());
  return place;
}

}  // namespace ray::detail
