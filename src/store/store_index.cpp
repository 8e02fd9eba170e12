#include "store/store_index.hpp"

#include <algorithm>
#include <utility>

namespace ray::detail {

namespace {

constexpr StoreTime kSpillAgain = std::chrono::milliseconds(250);  // After the disk refused.

}  // namespace

// --- room ---

void StoreIndex::reserve(ClientId client, std::uint64_t request, std::uint64_t size, StoreTime now,
                         StoreActions& actions) {
  if (size > limits_.memory || rounded_size(size) > limits_.memory) {
    actions.push_back(store_action::Refused{client, request, size, NoRoom::too_large});
    return;
  }
  urgent_.push_back({false, client, request, size, now});
  pump(now, actions);
}

bool StoreIndex::is_reserved(ClientId client, const Place& place) const {
  const auto writer = writers_.find(client);
  if (writer == writers_.end()) return false;
  const auto reserved = writer->second.reserved.find({place.segment, place.offset});
  return reserved != writer->second.reserved.end() && place.size <= reserved->second;
}

void StoreIndex::unreserve(ClientId client, const Place& place, StoreTime now,
                           StoreActions& actions) {
  Writer& writer = writers_[client];
  const auto reserved = writer.reserved.find({place.segment, place.offset});
  if (reserved == writer.reserved.end()) return;
  const std::uint64_t room = reserved->second;
  writer.reserved.erase(reserved);
  reserved_ -= room;
  free_place(place, room, now);
  pump(now, actions);
}

void StoreIndex::seal(ClientId client, const Place& place, std::uint64_t object) {
  Writer& writer = writers_[client];
  const auto reserved = writer.reserved.find({place.segment, place.offset});
  Stored& stored = objects_[object];
  stored.place = place;
  stored.room = reserved->second;
  reserved_ -= stored.room;
  writer.reserved.erase(reserved);
  stand_in_line(object, stored);
}

void StoreIndex::client_gone(ClientId client, StoreTime now, StoreActions& actions) {
  const auto asked_by = [&](const Request& request) {
    return !request.bringing && request.client == client;
  };
  std::erase_if(urgent_, asked_by);
  const auto found = writers_.find(client);
  if (found != writers_.end()) {
    Writer& writer = found->second;
    writer.gone = true;
    for (const auto& [place, room] : writer.reserved) {
      reserved_ -= room;
      free_place({place.first, place.second, room}, room, now);
    }
    writer.reserved.clear();
    std::vector<std::pair<std::uint64_t, std::uint32_t>> pins(writer.pins.begin(),
                                                              writer.pins.end());
    std::sort(pins.begin(), pins.end());
    writer.pins.clear();
    for (const auto& [object, count] : pins) {
      for (std::uint32_t i = 0; i < count; ++i) take_pin(object, now, actions);
    }
    // Nobody writes into its segments any more.
    std::vector<std::uint32_t> empty;
    for (const auto& [id, segment] : segments_) {
      if (segment.writer == client && segment.taken == 0 && segment.made) empty.push_back(id);
    }
    for (const std::uint32_t id : empty) drop_segment(id, actions);
    if (const auto still = writers_.find(client);
        still != writers_.end() && still->second.segments == 0) {
      writers_.erase(still);
    }
  }
  pump(now, actions);
}

// --- pins ---

bool StoreIndex::in_memory(std::uint64_t object) const {
  const auto found = objects_.find(object);
  return found != objects_.end() &&
         (found->second.where == Where::memory || found->second.where == Where::spilling);
}

Place StoreIndex::place(std::uint64_t object) const { return objects_.at(object).place; }

void StoreIndex::stand_in_line(std::uint64_t object, Stored& stored) {
  leave_line(stored);
  stored.line = stored.handle ? &clean_ : &dirty_;
  stored.in_line = stored.line->insert(stored.line->end(), object);
}

void StoreIndex::leave_line(Stored& stored) {
  if (stored.line != nullptr) stored.line->erase(stored.in_line);
  stored.line = nullptr;
}

void StoreIndex::add_pin(Stored& stored) {
  if (stored.pins++ == 0) {
    leave_line(stored);
    if (stored.where == Where::spilling) spilling_ -= stored.room;
  }
  ++pins_;
}

void StoreIndex::take_pin(std::uint64_t object, StoreTime now, StoreActions& actions) {
  auto [ghost, end] = ghosts_.equal_range(object);
  for (; ghost != end; ++ghost) {
    if (ghost->second.pins == 0) continue;
    --pins_;
    if (--ghost->second.pins != 0) return;
    if (ghost->second.where == Where::spilling) {
      spilling_ += ghost->second.room;
    } else if (ghost->second.where == Where::memory) {
      give_up(ghost->second, now, actions);
      ghosts_.erase(ghost);
    }
    return;
  }
  const auto found = objects_.find(object);
  if (found == objects_.end() || found->second.pins == 0) return;
  Stored& stored = found->second;
  --pins_;
  if (--stored.pins != 0) return;
  if (stored.where == Where::memory) stand_in_line(object, stored);
  if (stored.where == Where::spilling) spilling_ += stored.room;
  progress_ = std::max(progress_, now);
}

void StoreIndex::pin(std::uint64_t object, ClientId client) {
  add_pin(objects_.at(object));
  ++writers_[client].pins[object];
}

bool StoreIndex::unpin(std::uint64_t object, ClientId client, StoreTime now,
                       StoreActions& actions) {
  const auto writer = writers_.find(client);
  if (writer == writers_.end()) return false;
  const auto count = writer->second.pins.find(object);
  if (count == writer->second.pins.end()) return false;
  if (--count->second == 0) writer->second.pins.erase(count);
  take_pin(object, now, actions);
  pump(now, actions);
  return true;
}

// --- objects ---

void StoreIndex::give_up(Stored& stored, StoreTime now, StoreActions& actions) {
  leave_line(stored);
  if (stored.where != Where::disk) free_place(stored.place, stored.room, now);
  if (stored.handle) {
    on_disk_ -= stored.room;
    actions.push_back(store_action::DropSpill{*stored.handle});
  }
}

void StoreIndex::remove(std::uint64_t object, StoreTime now, StoreActions& actions) {
  const auto found = objects_.find(object);
  if (found == objects_.end()) return;
  Stored& stored = found->second;
  for (const std::uint64_t bringing : std::exchange(stored.bringings, {})) {
    fail_bringing(bringing, object, NoRoom::lost, now, actions);
  }
  const bool at_rest = stored.where == Where::memory || stored.where == Where::disk;
  if (at_rest && stored.pins == 0) {
    give_up(stored, now, actions);
  } else {
    leave_line(stored);
    ghosts_.emplace(object, std::move(stored));
  }
  objects_.erase(found);
  pump(now, actions);
}

void StoreIndex::make_room(std::uint64_t size, StoreTime now, StoreActions& actions) {
  while (used_ - spilling_ + size > limits_.memory) {
    if (!clean_.empty()) {
      Stored& stored = objects_.at(clean_.front());
      leave_line(stored);
      free_place(stored.place, stored.room, now);
      stored.where = Where::disk;
    } else if (!dirty_.empty() && now >= spill_again_) {
      const std::uint64_t object = dirty_.front();
      Stored& stored = objects_.at(object);
      if (on_disk_ + spilling_ + stored.room > limits_.disk) {
        disk_failed_ = true;
        return;
      }
      leave_line(stored);
      stored.where = Where::spilling;
      spilling_ += stored.room;
      actions.push_back(store_action::Spill{object, stored.place});
    } else {
      return;
    }
  }
}

void StoreIndex::spilled(std::uint64_t object, std::optional<std::uint64_t> handle, StoreTime now,
                         StoreActions& actions) {
  auto [ghost, end] = ghosts_.equal_range(object);
  while (ghost != end && ghost->second.where != Where::spilling) ++ghost;
  const auto found = objects_.find(object);
  const bool is_ghost = ghost != end;
  if (!is_ghost && (found == objects_.end() || found->second.where != Where::spilling)) return;
  Stored& stored = is_ghost ? ghost->second : found->second;
  if (stored.pins == 0) spilling_ -= stored.room;
  stored.where = Where::memory;
  if (handle) {
    stored.handle = handle;
    on_disk_ += stored.room;
    disk_failed_ = false;
    progress_ = std::max(progress_, now);
  } else {
    disk_failed_ = true;
    retry_spill_ = true;
    spill_again_ = now + kSpillAgain;
  }
  if (is_ghost) {
    if (stored.pins == 0) {
      give_up(stored, now, actions);
      ghosts_.erase(ghost);
    }
  } else if (stored.pins == 0 && handle) {
    free_place(stored.place, stored.room, now);
    stored.where = Where::disk;
  } else if (stored.pins == 0) {
    stand_in_line(object, stored);
  }
  pump(now, actions);
}

void StoreIndex::restored(std::uint64_t object, bool intact, StoreTime now, StoreActions& actions) {
  auto [ghost, end] = ghosts_.equal_range(object);
  while (ghost != end && ghost->second.where != Where::restoring) ++ghost;
  if (ghost != end) {
    // Whoever was reading it had pinned what was in memory, and this was not.
    pins_ -= ghost->second.pins;
    give_up(ghost->second, now, actions);
    ghosts_.erase(ghost);
    pump(now, actions);
    return;
  }
  const auto found = objects_.find(object);
  if (found == objects_.end() || found->second.where != Where::restoring) return;
  Stored& stored = found->second;
  stored.where = Where::memory;
  const std::vector<std::uint64_t> bringings = std::exchange(stored.bringings, {});
  if (intact) {
    if (stored.pins == 0) stand_in_line(object, stored);
    for (const std::uint64_t id : bringings) {
      const auto bringing = bringings_.find(id);
      if (bringing == bringings_.end() || --bringing->second.restoring != 0) continue;
      if (!bringing->second.absent.empty()) continue;  // It still waits for room.
      actions.push_back(store_action::Brought{id});
    }
  } else {
    for (const std::uint64_t id : bringings) fail_bringing(id, object, NoRoom::lost, now, actions);
    give_up(stored, now, actions);
    objects_.erase(found);
    actions.push_back(store_action::Lost{object});
  }
  progress_ = std::max(progress_, now);
  pump(now, actions);
}

// --- bringing objects into memory ---

void StoreIndex::bring(std::uint64_t bringing, std::vector<std::uint64_t> objects, bool urgent,
                       StoreTime now, StoreActions& actions) {
  std::sort(objects.begin(), objects.end());
  objects.erase(std::unique(objects.begin(), objects.end()), objects.end());
  bringings_[bringing].absent = std::move(objects);
  (urgent ? urgent_ : patient_).push_back({true, 0, bringing, 0, now});
  pump(now, actions);
}

bool StoreIndex::start_bringing(std::uint64_t id, StoreTime now, StoreActions& actions) {
  const auto found = bringings_.find(id);
  if (found == bringings_.end()) return true;  // It was ended meanwhile.
  Bringing& bringing = found->second;
  std::vector<std::uint64_t> absent;
  std::uint64_t room = 0;
  for (const std::uint64_t object : bringing.absent) {
    const auto stored = objects_.find(object);
    if (stored == objects_.end()) {
      fail_bringing(id, object, NoRoom::lost, now, actions);
      return true;
    }
    if (stored->second.where == Where::disk) {
      room += stored->second.room;
      absent.push_back(object);
      continue;
    }
    add_pin(stored->second);
    bringing.pinned.push_back(object);
    if (stored->second.where != Where::restoring) continue;
    stored->second.bringings.push_back(id);
    ++bringing.restoring;
  }
  bringing.absent = std::move(absent);
  if (room > limits_.memory) {
    fail_bringing(id, bringing.absent.front(), NoRoom::too_large, now, actions);
    return true;
  }
  if (!bringing.absent.empty()) {
    if (!fits(room)) make_room(room, now, actions);
    if (!fits(room)) return false;
    for (const std::uint64_t object : bringing.absent) {
      Stored& stored = objects_.at(object);
      const std::uint64_t size = stored.place.size;
      stored.place = allocate(kDriverClient, stored.room, actions);
      stored.place.size = size;
      stored.where = Where::restoring;
      stored.bringings.push_back(id);
      add_pin(stored);
      bringing.pinned.push_back(object);
      ++bringing.restoring;
      Segment& segment = segments_.at(stored.place.segment);
      if (segment.made) {
        actions.push_back(store_action::Restore{object, *stored.handle, stored.place});
      } else {
        segment.restoring.push_back(object);
      }
    }
    bringing.absent.clear();
  }
  if (bringing.restoring == 0) actions.push_back(store_action::Brought{id});
  return true;
}

void StoreIndex::fail_bringing(std::uint64_t id, std::uint64_t object, NoRoom why, StoreTime now,
                               StoreActions& actions) {
  const auto found = bringings_.find(id);
  if (found == bringings_.end()) return;
  const std::vector<std::uint64_t> pinned = std::move(found->second.pinned);
  bringings_.erase(found);
  for (const std::uint64_t held : pinned) take_pin(held, now, actions);
  actions.push_back(store_action::NotBrought{id, object, why});
}

void StoreIndex::unpin_brought(std::uint64_t bringing, StoreTime now, StoreActions& actions) {
  const auto found = bringings_.find(bringing);
  if (found == bringings_.end()) return;
  const std::vector<std::uint64_t> pinned = std::move(found->second.pinned);
  bringings_.erase(found);
  for (const std::uint64_t object : pinned) take_pin(object, now, actions);
  pump(now, actions);
}

// --- those who wait for room ---

bool StoreIndex::serve(const Request& request, StoreTime now, StoreActions& actions) {
  if (request.bringing) return start_bringing(request.id, now, actions);
  const std::uint64_t room = rounded_size(request.size);
  if (!fits(room)) make_room(room, now, actions);
  if (!fits(room)) return false;
  Place place = allocate(request.client, room, actions);
  place.size = request.size;
  writers_[request.client].reserved[{place.segment, place.offset}] = room;
  reserved_ += room;
  const store_action::Granted granted{request.client, request.id, place};
  Segment& segment = segments_.at(place.segment);
  if (segment.made) {
    actions.push_back(granted);
  } else {
    segment.granted.push_back(granted);
  }
  return true;
}

void StoreIndex::pump_line(std::deque<Request>& line, StoreTime now, StoreActions& actions) {
  while (!line.empty()) {
    if (!serve(line.front(), now, actions)) return;
    line.pop_front();
    progress_ = std::max(progress_, now);
  }
}

void StoreIndex::pump(StoreTime now, StoreActions& actions) {
  pump_line(urgent_, now, actions);
  if (urgent_.empty()) pump_line(patient_, now, actions);
}

void StoreIndex::expire(std::deque<Request>& line, StoreTime now, StoreActions& actions) {
  while (!line.empty() && spilling_ == 0) {
    const Request request = line.front();
    if (now < std::max(request.since, progress_) + limits_.grace) return;
    line.pop_front();
    const NoRoom why = disk_failed_ ? NoRoom::disk : NoRoom::full;
    if (!request.bringing) {
      actions.push_back(store_action::Refused{request.client, request.id, request.size, why});
    } else if (const auto found = bringings_.find(request.id); found != bringings_.end()) {
      fail_bringing(request.id, found->second.absent.front(), why, now, actions);
    }
  }
}

void StoreIndex::tick(StoreTime now, StoreActions& actions) {
  if (now >= spill_again_) retry_spill_ = false;
  pump(now, actions);
  expire(urgent_, now, actions);
  expire(patient_, now, actions);
  pump(now, actions);
  while (!empty_.empty() && empty_.begin()->first + kSegmentRest <= now) {
    const std::uint32_t id = empty_.begin()->second;
    empty_.erase(empty_.begin());
    const Segment& segment = segments_.at(id);
    const Writer& writer = writers_[segment.writer];
    const bool spare = !writer.gone && writer.segments == 1 && segment.size <= limits_.segment;
    if (!spare) drop_segment(id, actions);
  }
}

std::optional<StoreTime> StoreIndex::deadline() const {
  std::optional<StoreTime> first;
  const auto at = [&](StoreTime time) { first = first ? std::min(*first, time) : time; };
  for (const auto* line : {&urgent_, &patient_}) {
    if (line->empty() || spilling_ != 0) continue;
    at(std::max(line->front().since, progress_) + limits_.grace);
    if (retry_spill_) at(spill_again_);
  }
  if (!empty_.empty()) at(empty_.begin()->first + kSegmentRest);
  return first;
}

}  // namespace ray::detail
