// The segments of the store: what in them is free.
#include <algorithm>
#include <utility>

#include "store/store_index.hpp"

namespace ray::detail {

void StoreIndex::insert_hole(std::uint32_t id, Segment& segment, std::uint64_t offset,
                             std::uint64_t size) {
  segment.holes[offset] = size;
  writers_[segment.writer].holes.insert({size, id, offset});
}

void StoreIndex::erase_hole(std::uint32_t id, Segment& segment, std::uint64_t offset,
                            std::uint64_t size) {
  segment.holes.erase(offset);
  writers_[segment.writer].holes.erase({size, id, offset});
}

Place StoreIndex::allocate(ClientId client, std::uint64_t size, StoreActions& actions) {
  Writer& writer = writers_[client];
  auto hole = writer.holes.lower_bound({size, 0, 0});
  if (hole == writer.holes.end()) {
    const std::uint32_t id = ++last_segment_;
    Segment& made = segments_[id];
    made.writer = client;
    const std::uint64_t first = std::min(limits_.first_segment, limits_.segment);
    made.size = std::max(size, std::clamp(writer.bytes, first, limits_.segment));
    ++writer.segments;
    writer.bytes += made.size;
    insert_hole(id, made, 0, made.size);
    actions.push_back(store_action::MakeSegment{id, made.size, client});
    hole = writer.holes.lower_bound({size, 0, 0});
  }
  const auto [free, id, offset] = *hole;
  Segment& segment = segments_.at(id);
  erase_hole(id, segment, offset, free);
  if (free > size) insert_hole(id, segment, offset + size, free - size);
  if (segment.taken == 0) empty_.erase({segment.empty_since, id});
  segment.taken += size;
  used_ += size;
  return {id, offset, size};
}

void StoreIndex::free_place(const Place& place, std::uint64_t room, StoreTime now) {
  Segment& segment = segments_.at(place.segment);
  std::uint64_t offset = place.offset;
  std::uint64_t size = room;
  if (auto next = segment.holes.find(offset + size); next != segment.holes.end()) {
    const std::uint64_t more = next->second;
    erase_hole(place.segment, segment, offset + size, more);
    size += more;
  }
  if (auto before = segment.holes.lower_bound(offset); before != segment.holes.begin()) {
    --before;
    if (before->first + before->second == offset) {
      const auto [start, more] = *before;
      erase_hole(place.segment, segment, start, more);
      offset = start;
      size += more;
    }
  }
  insert_hole(place.segment, segment, offset, size);
  segment.taken -= room;
  used_ -= room;
  progress_ = std::max(progress_, now);
  if (segment.taken != 0) return;
  segment.empty_since = now;
  empty_.insert({now, place.segment});
}

void StoreIndex::drop_segment(std::uint32_t id, StoreActions& actions) {
  const auto found = segments_.find(id);
  Segment& segment = found->second;
  empty_.erase({segment.empty_since, id});
  Writer& writer = writers_[segment.writer];
  for (const auto& [offset, size] : segment.holes) writer.holes.erase({size, id, offset});
  writer.bytes -= segment.size;
  if (--writer.segments == 0 && writer.gone) writers_.erase(segment.writer);
  segments_.erase(found);
  actions.push_back(store_action::DropSegment{id});
}

void StoreIndex::segment_made(std::uint32_t id, bool made, StoreTime now, StoreActions& actions) {
  const auto found = segments_.find(id);
  if (found == segments_.end() || found->second.made) return;
  found->second.made = true;
  const auto granted = std::exchange(found->second.granted, {});
  const auto restoring = std::exchange(found->second.restoring, {});
  for (const store_action::Granted& grant : granted) {
    if (!is_reserved(grant.client, grant.place)) continue;  // The client is gone.
    if (made) {
      actions.push_back(grant);
      continue;
    }
    Writer& writer = writers_[grant.client];
    const auto reserved = writer.reserved.find({id, grant.place.offset});
    reserved_ -= reserved->second;
    free_place(grant.place, reserved->second, now);
    writer.reserved.erase(reserved);
    actions.push_back(
        store_action::Refused{grant.client, grant.request, grant.place.size, NoRoom::no_segment});
  }
  for (const std::uint64_t object : restoring) {
    // Those that were removed meanwhile are ghosts in this segment.
    auto [ghost, end] = ghosts_.equal_range(object);
    const auto here = [&](const Stored& stored) {
      return stored.where == Where::restoring && stored.place.segment == id;
    };
    while (ghost != end && !here(ghost->second)) ++ghost;
    if (ghost != end) {
      pins_ -= ghost->second.pins;
      give_up(ghost->second, now, actions);
      ghosts_.erase(ghost);
      continue;
    }
    const auto stored = objects_.find(object);
    if (stored == objects_.end() || !here(stored->second)) continue;
    if (made) {
      actions.push_back(
          store_action::Restore{object, *stored->second.handle, stored->second.place});
      continue;
    }
    free_place(stored->second.place, stored->second.room, now);
    stored->second.where = Where::disk;
    for (const std::uint64_t bringing : std::exchange(stored->second.bringings, {})) {
      fail_bringing(bringing, object, NoRoom::no_segment, now, actions);
    }
  }
  if (!made) drop_segment(id, actions);
  // A writer that went meanwhile left it empty.
  if (made && found->second.taken == 0 && writers_[found->second.writer].gone) {
    drop_segment(id, actions);
  }
  pump(now, actions);
}

}  // namespace ray::detail
