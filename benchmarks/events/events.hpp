#pragma once

// `events`: what it costs to record every task for state() and timeline(). Of ray only.
//
// empty: 1 M tasks that return nothing, from outside; wait for all; per task.
// work:  the same with 100,000 tasks of about 1 us.

#include <string_view>

#include <ray/ray.hpp>

#include "harness.hpp"

namespace events {

inline constexpr bench::Workload kWorkload{.name = "events", .unit = "ns", .n = 1'000'000};

inline void nothing() {}
inline std::uint64_t work(std::uint64_t x) {
  for (int i = 0; i < 500; ++i) x = ray::detail::mix64(x);
  return x;
}

inline int run(int argc, char** argv, std::string_view implementation, bool recorded) {
  bench::Program program(argc, argv, kWorkload, implementation);
  const bool empty = program.mode("empty") == "empty";
  const std::size_t n = empty ? program.n() : program.n() / 10;
  ray::Runtime rt({.num_cpus = bench::kWorkers, .task_events = recorded});
  return program.run(n, static_cast<double>(n), [&] {
    std::size_t done = 0;
    if (empty) {
      std::vector<ray::ObjectRef<void>> refs;
      refs.reserve(n);
      for (std::size_t i = 0; i < n; ++i) refs.push_back(rt.remote<nothing>());
      rt.get(refs);
      done = refs.size();
    } else {
      std::vector<ray::ObjectRef<std::uint64_t>> refs;
      refs.reserve(n);
      for (std::size_t i = 0; i < n; ++i) refs.push_back(rt.remote<work>(i));
      done = rt.get(refs).size();
    }
    return static_cast<std::uint64_t>(done);
  });
}

}  // namespace events
