// The store's memory and its file on disk.
#include <cstring>

#include <ray/error.hpp>

#include "runtime/host.hpp"

namespace ray::detail {

namespace {

constexpr std::uint64_t kPopulated = std::uint64_t{4} << 20;  // At a time.

}  // namespace

SegmentRecord SegmentRecord::read(std::span<const std::byte> bytes) {
  SegmentRecord record;
  if (bytes.size() == sizeof record) std::memcpy(&record, bytes.data(), sizeof record);
  return record;
}

/// The system gives memory page by page, and slowly: it is asked for apart from the lock, and the
/// pages of an ordinary segment are mapped while it is used, but for the first.
void Host::perform(decision::MakeSegment&& make) {
  later([this, make] {
    SystemFault fault;
    std::shared_ptr<Segment> segment;
    const std::uint64_t first =
        make.size <= ordinary_segment_ ? std::min(make.size, kPopulated) : make.size;
    if (auto fresh = Segment::make(make.size, fault);
        fresh && fresh->reserve(0, make.size, fault) && fresh->populate(0, first, fault)) {
      segment = std::make_shared<Segment>(std::move(*fresh));
      // Mapped here it stays writable; a worker that writes it says when it has it mapped. Old
      // kernels cannot: readers have descriptors for reading only.
      if (make.writer == kDriverClient) segment->seal(fault);
    }
    {
      const std::lock_guard lock(mutex_);
      if (segment != nullptr) {
        segments_.emplace(make.segment, segment);
        const auto found = workers_.find(make.writer);
        if (found != workers_.end()) show_segment(*found->second, make.segment, true);
      }
      node_.segment_made(make.segment, segment != nullptr, now(), decisions_,
                         segment != nullptr ? std::string() : fault.text());
      carry_out();
    }
    if (segment != nullptr) populate_later(segment, first);
  });
}

/// A part at a time: other chores have their turns between.
void Host::populate_later(const std::weak_ptr<Segment>& segment, std::uint64_t from) {
  const auto left = segment.lock();
  if (left == nullptr || from >= left->bytes().size()) return;
  later([this, segment, from] {
    const auto held = segment.lock();
    if (held == nullptr) return;
    const std::uint64_t size = std::min<std::uint64_t>(kPopulated, held->bytes().size() - from);
    SystemFault fault;
    if (held->populate(from, size, fault)) populate_later(segment, from + size);
  });
}

/// Its writer has it mapped: from here on nobody else can. Requires: mutex_.
void Host::seal_segment(WorkerEnd& writer, std::uint32_t segment) {
  const auto found = segments_.find(segment);
  SystemFault fault;
  if (found != segments_.end() && writer.segments.contains(segment)) found->second->seal(fault);
}

/// Whoever has it mapped keeps its memory: they are told. One whose socket is full keeps it.
void Host::perform(decision::DropSegment&& drop) {
  segments_.erase(drop.segment);
  const SegmentRecord record{.segment = drop.segment, .writes = 0, .size = 0};
  for (auto& [client, worker] : workers_) {
    if (worker->segments.erase(drop.segment) == 0) continue;
    SystemFault fault;
    worker->link.socket().send(std::as_bytes(std::span(&record, 1)), -1, fault);
  }
}

void Host::perform(decision::Spill&& spill) {
  const std::span<std::byte> bytes = room(spill.place);
  later([this, object = spill.object, bytes] {
    SystemFault fault;
    std::optional<std::uint64_t> handle;
    if (!spill_) {
      spill_ = SpillFile::open(options_.spill_directory, fault);
    }
    if (spill_) handle = spill_->write(object, bytes, fault);
    const std::lock_guard lock(mutex_);
    node_.spilled(object, handle, now(), decisions_, handle ? std::string() : fault.text());
    carry_out();
  });
}

void Host::perform(decision::Restore&& restore) {
  const std::span<std::byte> bytes = room(restore.place);
  later([this, object = restore.object, handle = restore.handle, bytes] {
    std::string why;
    const bool intact = spill_ && spill_->read(handle, bytes, why);
    const std::lock_guard lock(mutex_);
    node_.restored(object, intact, now(), decisions_);
    carry_out();
  });
}

void Host::perform(decision::DropSpill&& drop) {
  later([this, handle = drop.handle] {
    if (spill_) spill_->drop(handle);
  });
}

/// Requires: mutex_. The record comes to the worker before any message that names the segment.
void Host::show_segment(WorkerEnd& worker, std::uint32_t segment, bool writes) {
  const auto found = segments_.find(segment);
  if (found == segments_.end() || !worker.segments.insert(segment).second) return;
  const SegmentRecord record{
      .segment = segment, .writes = writes ? 1u : 0u, .size = found->second->bytes().size()};
  SystemFault fault;
  std::optional<Descriptor> readable;
  int descriptor = found->second->descriptor();
  if (!writes) {
    readable = found->second->open_for_readers(fault);
    descriptor = readable ? readable->number() : -1;
  }
  const auto bytes = std::as_bytes(std::span(&record, 1));
  if (descriptor < 0 ||
      worker.link.socket().send(bytes, descriptor, fault) != UnixSocket::Sent::all) {
    worker.child.kill();  // It could not read what it is sent.
  }
}

void Host::show_places(WorkerEnd& worker, const Message& message) {
  const auto show = [&](const WireValue& value) {
    if (value.kind == WireValue::Kind::stored) show_segment(worker, value.place.segment, false);
  };
  if (const auto* run = std::get_if<message::Run>(&message)) {
    show(run->task->arguments);
    for (const WireValue& value : run->values) show(value);
  } else if (const auto* fetched = std::get_if<message::Fetched>(&message)) {
    show(fetched->value);
  } else if (const auto* sealed = std::get_if<message::Sealed>(&message)) {
    show(sealed->value);
  } else if (const auto* item = std::get_if<message::Item>(&message)) {
    show(item->value);
  } else if (const auto* reserved = std::get_if<message::Reserved>(&message)) {
    if (reserved->failure.empty()) show_segment(worker, reserved->place.segment, true);
  }
}

std::span<std::byte> Host::room(const Place& place) {
  const auto found = segments_.find(place.segment);
  if (found == segments_.end()) throw Error("ray: no segment of that number in the object store");
  const std::span<std::byte> all = found->second->bytes();
  if (place.offset > all.size() || place.size > all.size() - place.offset) {
    throw Error("ray: a place outside of its segment in the object store");
  }
  return all.subspan(static_cast<std::size_t>(place.offset), static_cast<std::size_t>(place.size));
}

std::span<std::byte> Host::writable(const Place& place) {
  const std::lock_guard lock(mutex_);
  return room(place);
}

std::span<const std::byte> Host::view(const Place& place, std::shared_ptr<void>& memory) {
  const std::lock_guard lock(mutex_);
  const std::span<std::byte> bytes = room(place);
  memory = segments_.at(place.segment);
  return bytes;
}

}  // namespace ray::detail
