// A lane under its owner, a thief and a claimer: no task is lost, none is taken twice.
#include "support/catch.hpp"

#include <ray/scheduler/lane.hpp>

#include "api/probes.hpp"
#include "stress/seed.hpp"

#include <array>
#include <atomic>
#include <memory>
#include <thread>
#include <vector>

namespace {

using ray::detail::Lane;
using ray::detail::ObjectOps;
using Record = ray::detail::Task;

constexpr ObjectOps kOps{.destroy = nullptr,
                         .drop = nullptr,
                         .value_offset = 0,
                         .kind = ray::detail::ObjectKind::task,
                         .retires = false,
                         .leaf = false,
                         .run = nullptr,
                         .release_arguments = nullptr,
                         .arguments = nullptr,
                         .name = nullptr,
                         .seal_elements = nullptr,
                         .codec = nullptr};

/// A task and how often it was pushed less how often it was taken: 0 or 1.
struct Item {
  std::unique_ptr<Record> task = std::make_unique<Record>(&kOps, 1);
  std::atomic<int> inside{0};
};

struct Items {
  std::vector<Item> items;
  std::atomic<int> taken_twice{0};

  explicit Items(std::size_t count) : items(count) {}
  void took(Record* task) {
    for (Item& item : items) {
      if (item.task.get() != task) continue;
      if (item.inside.fetch_sub(1) != 1) ++taken_twice;
    }
  }
};

void steal_all(Lane& lane, Items& items, std::size_t most) {
  Record* out[32];
  const std::size_t count = lane.steal(out, most);
  for (std::size_t i = 0; i < count; ++i) items.took(out[i]);
}

void claim_own(Lane& lane, Items& items, Item& item) {
  if (item.inside == 1 && lane.claim_own(item.task.get())) items.took(item.task.get());
}

}  // namespace

TEST_CASE("a lane loses no task and gives none away twice") {
  auto random = stress::seeded("lane");
  for (int round = 0; round < probes::scaled(600); ++round) {
    Lane lane;
    // Few tasks meet at the ends of the lane; many make it grow.
    Items items(round % 10 == 0 ? 3000 : 8);
    std::atomic<bool> stop{false};
    std::thread thief([&] {
      for (std::size_t k = 0; !stop; ++k) {
        if (k % 3 != 0) {
          steal_all(lane, items, k % 3 == 1 ? 1 : 32);
        } else if (Record* task = lane.steal_one()) {
          items.took(task);
        }
      }
    });
    std::thread claimer([&] {
      for (std::size_t k = 0; !stop; ++k) {
        Item& item = items.items[k % items.items.size()];
        if (item.inside == 1 && Lane::claim(item.task.get())) items.took(item.task.get());
      }
    });
    for (int step = 0; step < (round % 10 == 0 ? 3 : 300); ++step) {
      for (Item& item : items.items) {
        if (item.inside != 0) continue;
        item.inside = 1;
        const int family = stress::below(random, 3);
        lane.push(item.task.get(),
                  family == 0 ? nullptr : &items.items[static_cast<std::size_t>(family)]);
      }
      // As a task that waits for its children: in any order, so that holes stand below the newest.
      const std::size_t count = items.items.size();
      switch (stress::below(random, 4)) {
        case 0:
          while (Record* task = lane.pop()) items.took(task);
          break;
        case 1:
          for (std::size_t i = 0; i < count; ++i) claim_own(lane, items, items.items[i]);
          break;
        case 2:
          for (std::size_t i = count; i > 0; --i) claim_own(lane, items, items.items[i - 1]);
          break;
        default:
          for (int i = 0; i < 4; ++i) {
            claim_own(lane, items, items.items[stress::below(random, static_cast<int>(count))]);
          }
          break;
      }
    }
    while (Record* task = lane.pop()) items.took(task);
    stop = true;
    thief.join();
    claimer.join();
    while (!lane.looks_empty()) steal_all(lane, items, 32);
    int lost = 0;
    for (const Item& item : items.items) lost += item.inside;
    REQUIRE(lost == 0);
    REQUIRE(items.taken_twice == 0);
  }
}
