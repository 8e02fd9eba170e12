// The node in the simulated world, many seeds of it. RAY_SIM_SEED=… runs one, RAY_SIM_SEEDS=… so
// many from RAY_SIM_FIRST=… on.
#include "support/catch.hpp"

#include <ray/sim/simulator.hpp>

#include "api/probes.hpp"

#include <cstdio>
#include <cstdlib>
#include <map>
#include <string>

namespace {

std::uint64_t number_from(const char* variable, std::uint64_t otherwise) {
  const char* text = std::getenv(variable);
  return text == nullptr ? otherwise : std::strtoull(text, nullptr, 10);
}

}  // namespace

TEST_CASE("whatever fails, every reference ends in its value or in a failure", "[sim]") {
  std::uint64_t first = number_from("RAY_SIM_FIRST", 1);
  std::uint64_t count =
      number_from("RAY_SIM_SEEDS", static_cast<std::uint64_t>(probes::scaled(2000)));
  const bool one = std::getenv("RAY_SIM_SEED") != nullptr;
  if (one) {
    first = number_from("RAY_SIM_SEED", 1);
    count = 1;
  }
  std::map<std::string, std::uint64_t> counts;
  std::uint64_t events = 0;
  int bad = 0;
  for (std::uint64_t seed = first; seed < first + count && bad < 5; ++seed) {
    ray::sim::SimOptions options = ray::sim::options_of(seed);
    options.trace = one && std::getenv("RAY_SIM_TRACE") != nullptr;
    const ray::sim::SimReport report = ray::sim::simulate(options);
    for (const auto& [what, times] : report.counts) counts[what] += times;
    events += report.events;
    if (report.wrong.empty()) continue;
    ++bad;
    std::fprintf(stderr, "again: RAY_SIM_SEED=%llu ray_tests '[sim]'\n",
                 static_cast<unsigned long long>(seed));
    FAIL_CHECK("seed " << seed << ": " << report.wrong);
  }
  if (one || std::getenv("RAY_SIM_SEEDS") != nullptr) {
    for (const auto& [what, times] : counts) {
      std::fprintf(stderr, "%s: %llu\n", what.c_str(), static_cast<unsigned long long>(times));
    }
    std::fprintf(stderr, "events: %llu\n", static_cast<unsigned long long>(events));
  } else {
    // A world in which nothing happens would find nothing.
    for (const char* what : {"began", "crash", "kill", "nested", "recall", "spill", "restore",
                             "lost", "memory", "suspended", "named", "found", "not found", "cancel",
                             "value", "failed", "state", "large state", "resumed"}) {
      CHECK(counts[what] > 0);
    }
  }
}

TEST_CASE("the same seed gives the same course of events", "[sim]") {
  for (std::uint64_t seed = 1; seed < 30; ++seed) {
    const auto once = ray::sim::simulate(ray::sim::options_of(seed));
    const auto again = ray::sim::simulate(ray::sim::options_of(seed));
    CHECK(once.digest == again.digest);
    CHECK(once.events == again.events);
  }
}

TEST_CASE("G-23 of 100,000 cancels at random moments each releases who waits within a second",
          "[sim]") {
  const auto enough = static_cast<std::uint64_t>(probes::scaled(100'000));
  std::uint64_t cancels = 0;
  for (std::uint64_t seed = 1; cancels < enough; ++seed) {
    ray::sim::SimOptions options = ray::sim::options_of(seed);
    options.shut_down = false;
    options.steps = 100;
    options.cancel_storm = 2000;
    const ray::sim::SimReport report = ray::sim::simulate(options);
    INFO("seed " << seed);
    REQUIRE(report.wrong == "");
    REQUIRE(report.counts.at("cancel") > 0);
    cancels += report.counts.at("cancel");
  }
  std::printf("G-23: %llu cancels, none held for longer than a second of virtual time\n",
              static_cast<unsigned long long>(cancels));
}

TEST_CASE("whatever is lost is made again, as far back as it takes", "[sim]") {
  std::uint64_t lost = 0;
  for (std::uint64_t seed = 1; lost < 100; ++seed) {
    ray::sim::SimOptions options;
    options.seed = seed;
    options.steps = 30;
    options.node.store_bytes = 1'500'000;
    options.program.throwing = 0;
    options.program.large = 900;
    options.program.actors = options.program.streams = false;
    options.program.rebuilds = true;
    options.disk_lost = 150;
    options.drop = 600;
    ray::sim::SimReport report = ray::sim::simulate(options);
    INFO("seed " << seed);
    REQUIRE(report.wrong == "");
    CHECK(report.counts["failed"] == 0);
    lost += report.counts["lost"];
  }
}
