// `grow`: whether the cost of one stays the same when there are many. Of ray only; --n is the
// size, and a value is the time for one (ns). Sizes below 100,000 are repeated up to it, so that
// a repetition is never only the waking of the workers.
//
// tasks: n tasks are submitted, and their references fetched by one get; per task.
// get:   the same for objects that are there already; per reference.
// fan_in: one task gets a vector of n references to tasks that were submitted; per reference.
// args:  tasks with n arguments by reference (1, 2, 4, 8 or 16); per argument.

#include <ray/ray.hpp>

#include "harness.hpp"

namespace {

constexpr bench::Workload kWorkload{.name = "grow", .unit = "ns", .n = 1'000};

using Refs = std::vector<ray::ObjectRef<int>>;

int work(int x) { return x; }

std::uint64_t total(const Refs& refs) {
  std::uint64_t sum = 0;
  for (int x : ray::get(refs)) sum += static_cast<std::uint64_t>(x);
  return sum;
}

std::uint64_t fan_in(Refs refs) { return total(refs); }

template <class... Ints>
std::uint64_t add(Ints... xs) {
  return (static_cast<std::uint64_t>(xs) + ...);
}

Refs submit(std::size_t n) {
  Refs refs;
  refs.reserve(n);
  for (std::size_t i = 0; i < n; ++i) refs.push_back(ray::remote<work>(static_cast<int>(i % 1000)));
  return refs;
}

template <std::size_t... I>
std::uint64_t call_with(const Refs& refs, std::index_sequence<I...>) {
  return ray::get(ray::remote<add<decltype(static_cast<int>(I))...>>(refs[I]...));
}

std::uint64_t call_with_all(const Refs& refs) {
  switch (refs.size()) {
    case 1:
      return call_with(refs, std::make_index_sequence<1>{});
    case 2:
      return call_with(refs, std::make_index_sequence<2>{});
    case 4:
      return call_with(refs, std::make_index_sequence<4>{});
    case 8:
      return call_with(refs, std::make_index_sequence<8>{});
    case 16:
      return call_with(refs, std::make_index_sequence<16>{});
    default:
      std::fprintf(stderr, "--mode args takes 1, 2, 4, 8 or 16\n");
      std::exit(2);
  }
}

}  // namespace

int main(int argc, char** argv) {
  bench::Program program(argc, argv, kWorkload, "ray");
  const std::string_view mode = program.mode("tasks");
  const std::size_t n = program.n();
  const std::size_t rounds = std::max<std::size_t>(1, 100'000 / n);
  ray::init({.num_cpus = bench::kWorkers});
  const Refs there = mode == "tasks" ? Refs{} : submit(n);
  const std::uint64_t once = there.empty() ? total(submit(n)) : total(there);
  return program.run(once * rounds, static_cast<double>(n * rounds), [&] {
    std::uint64_t sum = 0;
    for (std::size_t round = 0; round < rounds; ++round) {
      if (mode == "tasks") {
        sum += total(submit(n));
      } else if (mode == "get") {
        sum += total(there);
      } else if (mode == "fan_in") {
        sum += ray::get(ray::remote<fan_in>(submit(n)));
      } else {
        sum += call_with_all(there);
      }
    }
    return sum;
  });
}
