#include "support/catch.hpp"

#include "store/store_index.hpp"

#include <chrono>
#include <map>
#include <random>

using namespace ray::detail;
using namespace std::chrono_literals;
namespace action = ray::detail::store_action;

namespace {

template <class Kind>
std::vector<Kind> all(const StoreActions& actions) {
  std::vector<Kind> found;
  for (const auto& each : actions) {
    if (const auto* one = std::get_if<Kind>(&each)) found.push_back(*one);
  }
  return found;
}

struct Filled {
  StoreIndex store{StoreLimits{1024, 1024, UINT64_MAX, 10s}};
  StoreTime now{1};
  StoreActions actions;

  Place reserve(ClientId client, std::uint64_t size) {
    StoreActions more;
    store.reserve(client, 1, size, now, more);
    for (const auto& make : all<action::MakeSegment>(more)) {
      store.segment_made(make.segment, true, now, more);
    }
    const auto granted = all<action::Granted>(more);
    actions.insert(actions.end(), more.begin(), more.end());
    return granted.empty() ? Place{} : granted[0].place;
  }
  void put(std::uint64_t object, std::uint64_t size, ClientId client = 1) {
    const Place place = reserve(client, size);
    REQUIRE(place.segment != 0);
    store.seal(client, place, object);
  }
};

}  // namespace

TEST_CASE("a writer's segments grow with what it has, up to the ordinary size", "[node]") {
  Filled filled;
  filled.store = StoreIndex(StoreLimits{1 << 20, 1000, UINT64_MAX, 10s, 128});
  for (const std::uint64_t size : {128, 128, 256, 512, 960, 960}) filled.reserve(1, size);
  filled.reserve(2, 64);
  filled.reserve(2, 2048);
  std::vector<std::uint64_t> sizes;
  for (const auto& make : all<action::MakeSegment>(filled.actions)) sizes.push_back(make.size);
  CHECK(sizes == std::vector<std::uint64_t>{128, 128, 256, 512, 1000, 1000, 128, 2048});
}

TEST_CASE("places are aligned, apart, and free again as one", "[node]") {
  Filled filled;
  const Place first = filled.reserve(1, 1);
  const Place second = filled.reserve(1, 65);
  CHECK(first.offset % 64 == 0);
  CHECK(second.offset % 64 == 0);
  CHECK(filled.store.used() == 64 + 128);
  CHECK_FALSE(filled.store.is_reserved(2, first));
  CHECK_FALSE(filled.store.is_reserved(1, {first.segment, first.offset, 65}));
  filled.store.unreserve(1, first, filled.now, filled.actions);
  filled.store.unreserve(1, second, filled.now, filled.actions);
  CHECK_FALSE(filled.store.is_reserved(1, first));
  CHECK(filled.reserve(1, 1024).offset == 0);  // The whole segment is one hole.
  CHECK(filled.store.segments() == 1);
}

TEST_CASE("no two of many places overlap, and nothing is lost", "[node]") {
  StoreIndex store(StoreLimits{1 << 20, 1 << 16, UINT64_MAX, 10s});
  std::mt19937_64 random(7);
  std::map<std::pair<std::uint32_t, std::uint64_t>, std::pair<std::uint64_t, ClientId>> there;
  StoreActions actions;
  for (int i = 0; i < 20'000; ++i) {
    actions.clear();
    const auto client = static_cast<ClientId>(random() % 3);
    if (there.size() < 200 && random() % 2 == 0) {
      store.reserve(client, 1, random() % 5000, StoreTime(i), actions);
      for (const auto& make : all<action::MakeSegment>(actions)) {
        store.segment_made(make.segment, true, StoreTime(i), actions);
      }
      const auto granted = all<action::Granted>(actions);
      REQUIRE(granted.size() == 1);
      const Place& place = granted[0].place;
      const auto after = there.lower_bound({place.segment, place.offset});
      if (after != there.end() && after->first.first == place.segment) {
        REQUIRE(place.offset + rounded_size(place.size) <= after->first.second);
      }
      if (after != there.begin()) {
        const auto before = std::prev(after);
        if (before->first.first == place.segment) {
          REQUIRE(before->first.second + rounded_size(before->second.first) <= place.offset);
        }
      }
      there[{place.segment, place.offset}] = {place.size, client};
    } else if (!there.empty()) {
      auto it = there.begin();
      std::advance(it, static_cast<long>(random() % there.size()));
      store.unreserve(it->second.second, {it->first.first, it->first.second, it->second.first},
                      StoreTime(i), actions);
      there.erase(it);
    }
  }
  for (const auto& [place, size] : there) {
    store.unreserve(size.second, {place.first, place.second, size.first}, StoreTime(0), actions);
  }
  CHECK(store.used() == 0);
  actions.clear();
  store.tick(StoreTime(100s), actions);
  CHECK(store.segments() <= 3);  // One is kept for each writer.
}

TEST_CASE("what was not used for longest goes to disk, and what is pinned stays", "[node]") {
  Filled filled;
  filled.put(1, 512);
  filled.put(2, 256);
  filled.store.pin(1, 9);
  CHECK(filled.reserve(2, 512).segment == 0);  // It waits for the spill.
  const auto spills = all<action::Spill>(filled.actions);
  REQUIRE(spills.size() == 1);
  CHECK(spills[0].object == 2);
  filled.actions.clear();
  filled.store.spilled(2, 77, filled.now, filled.actions);
  CHECK_FALSE(filled.store.in_memory(2));
  CHECK(all<action::Granted>(filled.actions).empty());  // 512 of 1,024 are pinned, 512 asked.
  // The reservation fits exactly now.
  for (const auto& make : all<action::MakeSegment>(filled.actions)) {
    filled.store.segment_made(make.segment, true, filled.now, filled.actions);
  }
  CHECK(all<action::Granted>(filled.actions).size() == 1);
  CHECK(filled.store.on_disk() == 256);
  filled.store.remove(2, filled.now, filled.actions);
  CHECK(all<action::DropSpill>(filled.actions).size() == 1);
  CHECK(filled.store.on_disk() == 0);
}

TEST_CASE("a full store is waited for, then it is an error", "[node]") {
  Filled filled;
  filled.put(1, 1024);
  filled.store.pin(1, 9);
  CHECK(filled.reserve(2, 64).segment == 0);
  CHECK(filled.reserve(2, 2000).segment == 0);
  REQUIRE(all<action::Refused>(filled.actions).size() == 1);  // Never fits: at once.
  CHECK(all<action::Refused>(filled.actions)[0].why == NoRoom::too_large);
  filled.actions.clear();
  REQUIRE(filled.store.deadline());
  filled.store.tick(*filled.store.deadline() - 1ns, filled.actions);
  CHECK(filled.actions.empty());
  filled.store.tick(*filled.store.deadline(), filled.actions);
  REQUIRE(all<action::Refused>(filled.actions).size() == 1);
  CHECK(all<action::Refused>(filled.actions)[0].why == NoRoom::full);
}

TEST_CASE("a full disk is tried again, and named in the end", "[node]") {
  Filled filled;
  filled.put(1, 1024);
  CHECK(filled.reserve(2, 64).segment == 0);
  filled.actions.clear();
  filled.store.spilled(1, std::nullopt, filled.now, filled.actions);
  CHECK(filled.store.in_memory(1));
  CHECK(all<action::Spill>(filled.actions).empty());
  filled.store.tick(filled.now + 1s, filled.actions);
  CHECK(all<action::Spill>(filled.actions).size() == 1);
  filled.store.spilled(1, std::nullopt, filled.now + 1s, filled.actions);
  filled.actions.clear();
  filled.store.tick(filled.now + 11s, filled.actions);
  filled.store.spilled(1, std::nullopt, filled.now + 11s, filled.actions);
  filled.store.tick(filled.now + 11s, filled.actions);
  REQUIRE(all<action::Refused>(filled.actions).size() == 1);
  CHECK(all<action::Refused>(filled.actions)[0].why == NoRoom::disk);
}

TEST_CASE("several objects come all or none, and stay until they are let go", "[node]") {
  Filled filled;
  filled.put(1, 512);
  filled.put(2, 512);
  filled.reserve(2, 1024);
  filled.store.spilled(1, 11, filled.now, filled.actions);
  filled.store.spilled(2, 12, filled.now, filled.actions);
  for (const auto& make : all<action::MakeSegment>(filled.actions)) {
    filled.store.segment_made(make.segment, true, filled.now, filled.actions);
  }
  const Place room = all<action::Granted>(filled.actions).back().place;
  filled.actions.clear();
  filled.store.bring(99, {1, 2}, false, filled.now, filled.actions);
  CHECK(filled.actions.empty());
  StoreActions more;
  filled.store.unreserve(2, room, filled.now, more);
  for (const auto& make : all<action::MakeSegment>(more)) {
    filled.store.segment_made(make.segment, true, filled.now, more);
  }
  CHECK(all<action::Restore>(more).size() == 2);
  filled.store.restored(1, true, filled.now, filled.actions);
  CHECK(filled.actions.empty());
  SECTION("both") {
    filled.store.restored(2, true, filled.now, filled.actions);
    CHECK(all<action::Brought>(filled.actions).size() == 1);
    CHECK(filled.store.pins() == 2);
    filled.store.unpin_brought(99, filled.now, filled.actions);
    CHECK(filled.store.pins() == 0);
  }
  SECTION("one is lost") {
    filled.store.restored(2, false, filled.now, filled.actions);
    CHECK(all<action::NotBrought>(filled.actions).size() == 1);
    CHECK(all<action::Lost>(filled.actions).size() == 1);
    CHECK(filled.store.pins() == 0);
    CHECK(filled.store.used() == 512);
  }
}

TEST_CASE("what is not all there is not brought, whoever brings a part of it", "[node]") {
  Filled filled;
  filled.put(1, 512);
  filled.put(2, 512);
  const auto make_all = [&](StoreActions& actions) {
    for (const auto& make : all<action::MakeSegment>(actions)) {
      filled.store.segment_made(make.segment, true, filled.now, actions);
    }
  };
  filled.reserve(2, 1024);
  filled.store.spilled(1, 11, filled.now, filled.actions);
  filled.store.spilled(2, 12, filled.now, filled.actions);
  make_all(filled.actions);
  const Place room = all<action::Granted>(filled.actions).back().place;
  filled.store.unreserve(2, room, filled.now, filled.actions);
  const Place half = filled.reserve(2, 512);
  REQUIRE(half.segment != 0);
  filled.actions.clear();
  filled.store.bring(98, {1}, false, filled.now, filled.actions);
  make_all(filled.actions);
  filled.store.bring(99, {1, 2}, false, filled.now, filled.actions);
  filled.actions.clear();
  filled.store.restored(1, true, filled.now, filled.actions);
  const auto brought = all<action::Brought>(filled.actions);
  REQUIRE(brought.size() == 1);
  CHECK(brought[0].bringing == 98);
  filled.actions.clear();
  filled.store.unreserve(2, half, filled.now, filled.actions);
  make_all(filled.actions);
  filled.store.restored(2, true, filled.now, filled.actions);
  CHECK(all<action::Brought>(filled.actions).size() == 1);
}

TEST_CASE("an object that is removed while it is read lives until the reader is done", "[node]") {
  Filled filled;
  filled.put(1, 512);
  filled.store.pin(1, 9);
  filled.store.remove(1, filled.now, filled.actions);
  CHECK_FALSE(filled.store.contains(1));
  CHECK(filled.store.used() == 512);
  CHECK(filled.store.unpin(1, 9, filled.now, filled.actions));
  CHECK(filled.store.used() == 0);
  CHECK_FALSE(filled.store.unpin(1, 9, filled.now, filled.actions));
  SECTION("the pins of a client that dies go with it") {
    filled.put(2, 512);
    filled.store.pin(2, 9);
    filled.reserve(9, 64);
    filled.store.client_gone(9, filled.now, filled.actions);
    CHECK(filled.store.pins() == 0);
    CHECK(filled.store.used() == 512);
  }
}

TEST_CASE("no more goes to disk than there is room for, what is on its way counted", "[node]") {
  Filled filled{StoreIndex(StoreLimits{1024, 1024, 512, 10s}), StoreTime(1), {}};
  filled.put(1, 512);
  filled.put(2, 512);
  filled.reserve(2, 1024);
  CHECK(all<action::Spill>(filled.actions).size() == 1);
}

TEST_CASE("who waits longest is served first, and what is let go makes room", "[node]") {
  Filled filled;
  filled.put(1, 512);
  filled.put(2, 512);
  filled.store.bring(98, {1}, false, filled.now, filled.actions);
  filled.store.bring(99, {2}, false, filled.now, filled.actions);
  REQUIRE(all<action::Brought>(filled.actions).size() == 2);
  filled.reserve(2, 1024);
  filled.actions.clear();
  filled.store.bring(97, {1}, false, filled.now, filled.actions);
  CHECK(all<action::Brought>(filled.actions).empty());
  filled.store.unpin_brought(98, filled.now, filled.actions);
  CHECK(all<action::Spill>(filled.actions).size() == 1);
  filled.store.unpin_brought(99, filled.now, filled.actions);
  CHECK(all<action::Spill>(filled.actions).size() == 2);
}

TEST_CASE("an object that is removed while it is written and read gives its room back once",
          "[node]") {
  Filled filled;
  filled.put(1, 512);
  filled.put(2, 512);
  filled.reserve(1, 512);
  REQUIRE(all<action::Spill>(filled.actions).size() == 1);
  filled.store.pin(1, 9);
  filled.store.remove(1, filled.now, filled.actions);
  CHECK(filled.store.unpin(1, 9, filled.now, filled.actions));
  filled.store.spilled(1, 11, filled.now, filled.actions);
  CHECK(all<action::Granted>(filled.actions).size() == 3);
  filled.store.pin(2, 9);
  filled.reserve(1, 512);
  filled.now += 11s;
  filled.store.tick(filled.now, filled.actions);
  CHECK(all<action::Refused>(filled.actions).size() == 1);
}

TEST_CASE("a disk that works again is not blamed", "[node]") {
  Filled filled;
  filled.put(1, 512);
  filled.put(2, 512);
  filled.reserve(1, 512);
  filled.store.spilled(1, std::nullopt, filled.now, filled.actions);
  filled.actions.clear();
  filled.now += 2s;
  filled.store.tick(filled.now, filled.actions);
  const auto again = all<action::Spill>(filled.actions);
  REQUIRE(again.size() == 1);
  filled.store.spilled(again[0].object, 11, filled.now, filled.actions);
  REQUIRE(all<action::Granted>(filled.actions).size() == 1);
  filled.store.pin(again[0].object == 1 ? 2 : 1, 9);
  filled.reserve(1, 512);
  filled.now += 11s;
  filled.store.tick(filled.now, filled.actions);
  const auto refused = all<action::Refused>(filled.actions);
  REQUIRE(refused.size() == 1);
  CHECK(refused[0].why == NoRoom::full);
}
