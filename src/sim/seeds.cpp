// What kind of world a seed stands for.
#include <ray/sim/simulator.hpp>

#include "sim/program.hpp"

namespace ray::sim {

SimOptions options_of(std::uint64_t seed) {
  Random random(mixed(seed, 0x0b7));
  SimOptions options;
  options.seed = seed;
  SimNode& node = options.node;
  node.num_cpus = static_cast<std::int64_t>(2 + random.below(4));
  node.prestart = static_cast<std::uint32_t>(random.below(4));
  node.pipeline_time = std::chrono::microseconds(random.below(2) * 500);
  if (random.chance(400)) options.program.throwing = 0;
  if (random.chance(250)) {
    options.program.gpu = 100;
  }
  if (random.chance(300)) options.program.streams = false;
  options.program.depth = 2 + random.below(2);
  options.steps = 6 + random.below(12);
  options.drop = random.below(3) * 50;
  // A third each: no faults, one kind of them, all sorts.
  const std::uint64_t kind = random.below(12);
  const auto some = [&](std::uint64_t most) { return 1 + random.below(most); };
  const bool all = kind >= 9;
  if (kind == 4 || all) options.crash = some(30);
  if (kind == 5 || all) options.cancel = 50 + random.below(400);
  if (kind == 6 || all) {
    node.store_bytes = 1'000'000 + random.below(1'500'000);
    options.program.large = 500;
    if (random.chance(500)) options.disk_lost = random.below(200);
    if (random.chance(300)) options.disk_full = random.below(400);
  }
  if (kind == 7 || all) options.kill_actor = 300;
  if (kind == 8 || all) options.memory = random.below(60);
  if (random.chance(100)) {
    options.slow_start = 300;
    options.no_start = random.below(100);
  }
  if (all && random.chance(200)) options.no_segment = 50;
  if (random.chance(300)) options.echo = 100;
  if (random.chance(60)) options.shut_down = true;
  // With few workers all may wait.
  if (random.chance(100)) node.workers_max = 6;
  if (kind == 3) {
    // Objects get lost, and what made them as well; nothing else is wrong.
    options.program.rebuilds = true;
    options.program.actors = options.program.streams = false;
    options.program.throwing = options.program.gpu = options.cancel = 0;
    options.program.large = 900;
    options.disk_lost = 50 + random.below(200);
    options.drop = 400;
    node.store_bytes = 1'500'000 + random.below(1'000'000);
    node.workers_max = 400;
    options.no_start = 0;
    options.shut_down = false;
  }
  return options;
}

}  // namespace ray::sim
