// The node's store: which segments there are, who writes them, what lies where, and what goes to
// disk and comes back. It moves no byte itself. A decider: no thread, lock or clock of its own.
//
// Room is given out of segments that one client each writes. What is asked for when memory is full
// stands in line: what is on disk already loses its place in memory, what nobody reads goes to
// disk, oldest use first. Who needs several objects in memory gets room for all or for none, so
// that two who need some each do not hold what the other waits for.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <list>
#include <map>
#include <optional>
#include <set>
#include <unordered_map>
#include <variant>
#include <vector>

#include "task/id_map.hpp"
#include "task/messages.hpp"

namespace ray::detail {

using StoreTime = std::chrono::nanoseconds;

struct StoreLimits {
  std::uint64_t memory = 0;
  std::uint64_t segment = std::uint64_t{64} << 20;
  std::uint64_t disk = UINT64_MAX;
  StoreTime grace = std::chrono::seconds(10);
  /// A writer's first; each further one is as large as all it has, up to `segment`. The system
  /// gives memory slowly, and who writes little shall not wait for much.
  std::uint64_t first_segment = std::uint64_t{1} << 20;
};

/// Why there is no room.
enum class NoRoom : std::uint8_t { too_large, full, disk, no_segment, lost };

namespace store_action {
struct MakeSegment {
  std::uint32_t segment;
  std::uint64_t size;
  ClientId writer;
};
struct DropSegment {
  std::uint32_t segment;
};
struct Spill {
  std::uint64_t object;
  Place place;
};
struct Restore {
  std::uint64_t object;
  std::uint64_t handle;
  Place place;
};
struct DropSpill {
  std::uint64_t handle;
};
/// The client's request has its room.
struct Granted {
  ClientId client;
  std::uint64_t request;
  Place place;
};
struct Refused {
  ClientId client;
  std::uint64_t request;
  std::uint64_t size;
  NoRoom why;
};
/// All objects of the bringing are in memory and pinned for its holder.
struct Brought {
  std::uint64_t bringing;
};
struct NotBrought {
  std::uint64_t bringing;
  std::uint64_t object;  // One that cannot come.
  NoRoom why;
};
/// What was on disk cannot be read: the object is gone from the index.
struct Lost {
  std::uint64_t object;
};
}  // namespace store_action

using StoreAction =
    std::variant<store_action::MakeSegment, store_action::DropSegment, store_action::Spill,
                 store_action::Restore, store_action::DropSpill, store_action::Granted,
                 store_action::Refused, store_action::Brought, store_action::NotBrought,
                 store_action::Lost>;
using StoreActions = std::vector<StoreAction>;

class StoreIndex {
public:
  explicit StoreIndex(StoreLimits limits) : limits_(limits) {}

  // --- room ---

  void reserve(ClientId client, std::uint64_t request, std::uint64_t size, StoreTime now,
               StoreActions& actions);
  /// Whether the client was given this place and has made nothing of it yet.
  bool is_reserved(ClientId client, const Place& place) const;
  void unreserve(ClientId client, const Place& place, StoreTime now, StoreActions& actions);
  /// The reserved place becomes the object's. Requires is_reserved().
  void seal(ClientId client, const Place& place, std::uint64_t object);
  void segment_made(std::uint32_t segment, bool made, StoreTime now, StoreActions& actions);
  /// Its reservations and pins go, and what it asked for; its objects stay.
  void client_gone(ClientId client, StoreTime now, StoreActions& actions);

  // --- objects ---

  bool contains(std::uint64_t object) const { return objects_.contains(object); }
  bool in_memory(std::uint64_t object) const;
  /// Requires in_memory().
  Place place(std::uint64_t object) const;
  /// It stays where it is until as many unpins. Requires in_memory().
  void pin(std::uint64_t object, ClientId client);
  /// False if the client has it not pinned.
  bool unpin(std::uint64_t object, ClientId client, StoreTime now, StoreActions& actions);
  void remove(std::uint64_t object, StoreTime now, StoreActions& actions);

  /// Brings objects into memory and pins them; answered by Brought or NotBrought, maybe at once.
  /// Then the pins are the caller's, until unpin_brought(). Bringings that are urgent stand in the
  /// line of the reservations, the others behind it.
  void bring(std::uint64_t bringing, std::vector<std::uint64_t> objects, bool urgent, StoreTime now,
             StoreActions& actions);
  /// Ends a bringing, answered or not.
  void unpin_brought(std::uint64_t bringing, StoreTime now, StoreActions& actions);

  void spilled(std::uint64_t object, std::optional<std::uint64_t> handle, StoreTime now,
               StoreActions& actions);
  void restored(std::uint64_t object, bool intact, StoreTime now, StoreActions& actions);

  // --- time ---

  void tick(StoreTime now, StoreActions& actions);
  std::optional<StoreTime> deadline() const;

  std::uint64_t used() const noexcept { return used_; }  // Reservations included.
  std::uint64_t reserved() const noexcept { return reserved_; }
  std::uint64_t on_disk() const noexcept { return on_disk_; }
  std::size_t objects() const noexcept { return objects_.size(); }
  std::size_t pins() const noexcept { return pins_; }
  std::size_t segments() const noexcept { return segments_.size(); }

private:
  struct Segment {
    ClientId writer = 0;
    std::uint64_t size = 0;
    bool made = false;
    std::uint64_t taken = 0;                       // Bytes that are not free.
    std::map<std::uint64_t, std::uint64_t> holes;  // Offset, size; neighbours are one.
    std::vector<store_action::Granted> granted;    // Told when it is made.
    std::vector<std::uint64_t> restoring;          // Objects that wait for it.
    StoreTime empty_since{0};
  };
  struct Writer {
    std::set<std::tuple<std::uint64_t, std::uint32_t, std::uint64_t>> holes;    // By size.
    std::map<std::pair<std::uint32_t, std::uint64_t>, std::uint64_t> reserved;  // Size.
    IdMap<std::uint32_t> pins;
    std::size_t segments = 0;
    std::uint64_t bytes = 0;  // Of all its segments.
    bool gone = false;
  };
  enum class Where : std::uint8_t { memory, spilling, disk, restoring };
  struct Stored {
    Where where = Where::memory;
    std::uint32_t pins = 0;
    Place place;
    std::uint64_t room = 0;                    // What the place takes.
    std::optional<std::uint64_t> handle;       // On disk too.
    std::vector<std::uint64_t> bringings;      // That wait for its restoring.
    std::list<std::uint64_t>* line = nullptr;  // Of the two below, in which it stands.
    std::list<std::uint64_t>::iterator in_line;
  };
  struct Bringing {
    std::vector<std::uint64_t> pinned;
    std::vector<std::uint64_t> absent;  // Not in memory when last looked at.
    std::size_t restoring = 0;
  };
  struct Request {
    bool bringing = false;
    ClientId client = 0;
    std::uint64_t id = 0;  // The client's request, or the bringing.
    std::uint64_t size = 0;
    StoreTime since{0};
  };

  Place allocate(ClientId writer, std::uint64_t size, StoreActions& actions);
  void free_place(const Place& place, std::uint64_t room, StoreTime now);
  void drop_segment(std::uint32_t id, StoreActions& actions);
  void erase_hole(std::uint32_t id, Segment& segment, std::uint64_t offset, std::uint64_t size);
  void insert_hole(std::uint32_t id, Segment& segment, std::uint64_t offset, std::uint64_t size);
  /// In memory and pinned by nobody: it stands in the line of those that may go.
  void stand_in_line(std::uint64_t object, Stored& stored);
  void leave_line(Stored& stored);
  void add_pin(Stored& stored);
  void take_pin(std::uint64_t object, StoreTime now, StoreActions& actions);
  /// Its room and its copy on disk go.
  void give_up(Stored& stored, StoreTime now, StoreActions& actions);
  void make_room(std::uint64_t size, StoreTime now, StoreActions& actions);
  bool fits(std::uint64_t size) const { return used_ + size <= limits_.memory; }
  /// Serves those in line, as far as there is room.
  void pump(StoreTime now, StoreActions& actions);
  void pump_line(std::deque<Request>& line, StoreTime now, StoreActions& actions);
  bool serve(const Request& request, StoreTime now, StoreActions& actions);
  bool start_bringing(std::uint64_t id, StoreTime now, StoreActions& actions);
  void fail_bringing(std::uint64_t id, std::uint64_t object, NoRoom why, StoreTime now,
                     StoreActions& actions);
  void expire(std::deque<Request>& line, StoreTime now, StoreActions& actions);

  static constexpr StoreTime kSegmentRest = std::chrono::seconds(5);  // Then an empty one goes.

  StoreLimits limits_;
  std::map<std::uint32_t, Segment> segments_;
  std::unordered_map<ClientId, Writer> writers_;
  IdMap<Stored> objects_;
  /// Removed while they were read, written or restored; an object may come back under its id.
  std::multimap<std::uint64_t, Stored> ghosts_;
  IdMap<Bringing> bringings_;
  std::list<std::uint64_t> clean_;  // Unpinned in memory and on disk; the oldest use first.
  std::list<std::uint64_t> dirty_;  // Unpinned in memory only.
  std::deque<Request> urgent_;
  std::deque<Request> patient_;
  std::uint64_t used_ = 0;
  std::uint64_t reserved_ = 0;
  std::uint64_t spilling_ = 0;  // Part of used_ that is free soon.
  std::uint64_t on_disk_ = 0;
  std::size_t pins_ = 0;
  std::uint32_t last_segment_ = 0;
  std::set<std::pair<StoreTime, std::uint32_t>> empty_;  // Segments, since when.
  StoreTime progress_{0};  // When somebody in line last came nearer to the room.
  StoreTime spill_again_{0};
  bool disk_failed_ = false;
  bool retry_spill_ = false;
};

/// How much room `size` takes.
constexpr std::uint64_t rounded_size(std::uint64_t size) {
  return size == 0 ? 64 : (size + 63) / 64 * 64;
}

}  // namespace ray::detail
