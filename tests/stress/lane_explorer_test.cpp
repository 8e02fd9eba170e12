// A lane in every order of its steps that needs few preemptions: short random programs of an owner,
// a thief and one who claims. The lane is the library's own text with other atomics
// (CMakeLists.txt).
#include "support/catch.hpp"

#include "lane_explored.hpp"

#include "api/probes.hpp"
#include "stress/seed.hpp"

#include <array>
#include <functional>
#include <random>
#include <string>
#include <string_view>
#include <vector>

namespace {

using explored::Lane;
using Record = explored::Task;

constexpr std::size_t kTasks = 6;

/// What one thread does, as text: 'u' pushes as a driver, 'n' as a task, 'o' pops, a digit claims
/// that task, 's' steals one, 'S' steals up to 4, 'L' takes one of the oldest family.
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

/// How one thread's programs are made: `first`, then `length` steps of `steps`.
struct Kind {
  std::string_view first;
  std::string_view steps;
  int length;
};

Program random_program(std::mt19937_64& random, const Kind& kind) {
  Program program(kind.first);
  for (int i = 0; i < kind.length; ++i) {
    const int step = stress::below(random, static_cast<int>(kind.steps.size()));
    program += kind.steps[static_cast<std::size_t>(step)];
  }
  return program;
}

/// Tries all schedules of `rounds` random programs, the first thread being the owner: no task is
/// lost or taken twice in any.
void explore(const char* name, int rounds, const std::vector<Kind>& kinds) {
  auto random = stress::seeded(name);
  explorer::Schedule schedule(2);
  for (int round = 0; round < rounds; ++round) {
    std::vector<Program> programs;
    for (const Kind& kind : kinds) programs.push_back(random_program(random, kind));
    do {
      World world;
      std::vector<std::function<void()>> bodies;
      for (std::size_t i = 0; i < programs.size(); ++i) {
        bodies.emplace_back([&, i] { world.run(programs[i], i == 0); });
      }
      schedule.run(std::move(bodies));
      if (!world.ends_well()) {
        std::string text;
        for (const Program& program : programs) text += program + ", ";
        FAIL("programs " << text << "schedule " << schedule.text());
      }
    } while (schedule.next());
  }
}

}  // namespace

TEST_CASE("an owner and a thief of a lane, in every order of two preemptions") {
  explore("lane explorer", probes::scaled(60), {{"uuuu", "uuno012345", 5}, {"", "sSL0123", 3}});
}

TEST_CASE("an owner, a thief and a claimer of a lane, in every order of two preemptions") {
  explore("lane explorer of three", probes::scaled(20),
          {{"uuu", "uuno01234", 4}, {"", "sSL", 2}, {"", "0123sL", 2}});
}
