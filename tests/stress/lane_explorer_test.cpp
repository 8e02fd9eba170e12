// A lane in every order of its steps that needs few preemptions: short random programs of an owner,
// a thief and one who claims. The lane is the library's own text with other atomics
// (CMakeLists.txt).
#include "support/catch.hpp"

#include "lane_explored.hpp"

#include "api/probes.hpp"
#include "stress/seed.hpp"

#include <array>
#include <string>
#include <vector>

namespace {

using explored::Lane;
using Record = explored::Task;

constexpr std::size_t kTasks = 6;

/// What one thread does, as text: 'u' pushes, 'o' pops, a digit claims that task, 's' steals one,
/// 'S' steals up to 4, 'L' takes one of the oldest family.
using Program = std::string;

struct World {
  Lane lane;
  std::array<Record, kTasks> tasks;
  std::array<int, kTasks> inside{};  // Pushed less taken.

  void took(const Record* task) { --inside[static_cast<std::size_t>(task - tasks.data())]; }
  void push(bool nested) {
    for (std::size_t i = 0; i < kTasks; ++i) {
      if (inside[i] != 0) continue;
      inside[i] = 1;
      lane.push(&tasks[i], nested ? this : nullptr);
      return;
    }
  }
  void steal(std::size_t most) {
    std::array<Record*, 4> out;
    const std::size_t count = lane.steal(out.data(), most);
    for (std::size_t i = 0; i < count; ++i) took(out[i]);
  }
  void run(const Program& program, bool owner) {
    for (const char step : program) {
      Record* task = nullptr;
      if (step == 'u' || step == 'n') {
        push(step == 'n');
      } else if (step == 'o') {
        task = lane.pop();
      } else if (step == 's') {
        steal(1);
      } else if (step == 'S') {
        steal(4);
      } else if (step == 'L') {
        task = lane.steal_one();
      } else {
        Record* asked = &tasks[static_cast<std::size_t>(step - '0')];
        if (owner ? lane.claim_own(asked) : Lane::claim(asked)) task = asked;
      }
      if (task != nullptr) took(task);
    }
  }
  /// Whether what is left can be taken, and all was taken once.
  bool ends_well() {
    for (std::size_t i = 0; i < 2 * kTasks && !lane.looks_empty(); ++i) steal(4);
    for (const int count : inside) {
      if (count != 0) return false;
    }
    return lane.looks_empty();
  }
};

Program random_program(std::mt19937_64& random, std::string_view steps, int length) {
  Program program;
  for (int i = 0; i < length; ++i) {
    program +=
        steps[static_cast<std::size_t>(stress::below(random, static_cast<int>(steps.size())))];
  }
  return program;
}

/// Tries all schedules of the programs; true if no task was lost or taken twice in any.
void explore(explorer::Schedule& schedule, const std::array<Program, 3>& programs,
             std::size_t threads) {
  schedule.restart();
  do {
    World world;
    std::vector<std::function<void()>> bodies{[&] { world.run(programs[0], true); },
                                              [&] { world.run(programs[1], false); },
                                              [&] { world.run(programs[2], false); }};
    bodies.resize(threads);
    schedule.run(std::move(bodies));
    if (!world.ends_well()) {
      FAIL("owner " << programs[0] << ", thief " << programs[1] << ", claimer " << programs[2]
                    << ", schedule " << schedule.text());
    }
  } while (schedule.next());
}

}  // namespace

TEST_CASE("an owner and a thief of a lane, in every order of two preemptions") {
  auto random = stress::seeded("lane explorer");
  explorer::Schedule schedule(2);
  for (int i = 0; i < probes::scaled(60); ++i) {
    explore(schedule,
            {"uuuu" + random_program(random, "uuno012345", 5), random_program(random, "sSL0123", 3),
             ""},
            2);
  }
}

TEST_CASE("an owner, a thief and a claimer of a lane, in every order of two preemptions") {
  auto random = stress::seeded("lane explorer of three");
  explorer::Schedule schedule(2);
  for (int i = 0; i < probes::scaled(20); ++i) {
    explore(schedule,
            {"uuu" + random_program(random, "uuno01234", 4), random_program(random, "sSL", 2),
             random_program(random, "0123sL", 2)},
            3);
  }
}
