// Estimates pi by throwing darts, and shows how far it is. Notice: Progress is an actor, an object
// that lives in the runtime; every task holds a handle to it and reports while it runs, and its
// methods never overlap, so it needs no lock. A terminal gets a bar (without colour if NO_COLOR is
// set), a file or a pipe gets a plain line every tenth.
#include <ray/ray.hpp>

#include <unistd.h>

#include <chrono>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <random>
#include <string>
#include <vector>

constexpr int kTasks = 40;
constexpr int kBatches = 10;  // a task reports after each
constexpr std::int64_t kThrows = 20'000;

class Progress {
public:
  void report(std::int64_t darts) { darts_ += darts; }
  std::int64_t darts() const { return darts_; }

private:
  std::int64_t darts_ = 0;
};

std::int64_t throw_darts(int seed, ray::ActorHandle<Progress> progress) {
  std::mt19937_64 engine(static_cast<std::uint64_t>(seed));
  std::uniform_real_distribution<double> side(-1.0, 1.0);
  std::int64_t hits = 0;
  for (int batch = 0; batch < kBatches; ++batch) {
    for (std::int64_t i = 0; i < kThrows; ++i) hits += std::hypot(side(engine), side(engine)) <= 1;
    ray::remote<&Progress::report>(progress, kThrows);
  }
  return hits;
}

class Bar {
public:
  void show(double fraction) {
    if (terminal_) {
      const auto full = static_cast<std::size_t>(fraction * 40);
      const std::string left(full, '#'), right(40 - full, '.');
      std::printf("\r%s%s%s%s %3.0f %%", colour_ ? "\033[32m" : "", left.c_str(),
                  colour_ ? "\033[0m" : "", right.c_str(), fraction * 100);
      if (fraction >= 1) std::printf("\n");
    } else {
      for (; tenth_ <= static_cast<int>(fraction * 10); ++tenth_) {
        std::printf("%d %% of the darts thrown\n", tenth_ * 10);
      }
    }
    std::fflush(stdout);
  }

private:
  const bool terminal_ = isatty(STDOUT_FILENO) != 0;
  const bool colour_ = std::getenv("NO_COLOR") == nullptr;
  int tenth_ = 1;  // the next to be printed
};

int main(int argc, char** argv) {
  using namespace std::chrono_literals;
  ray::init(argc, argv);

  auto progress = ray::actor<Progress>();
  std::vector<ray::ObjectRef<std::int64_t>> counts;
  for (int seed = 0; seed < kTasks; ++seed) {
    counts.push_back(ray::remote<throw_darts>(seed, progress));
  }

  const double all = static_cast<double>(kTasks * kBatches * kThrows);
  Bar bar;
  for (auto pending = counts; !pending.empty();) {
    pending = ray::wait(pending, {.num_returns = pending.size(), .timeout = 50ms}).pending;
    bar.show(static_cast<double>(ray::get(ray::remote<&Progress::darts>(progress))) / all);
  }

  std::int64_t hits = 0;
  for (std::int64_t count : ray::get(counts)) hits += count;
  const double pi = 4 * static_cast<double>(hits) / all;
  const bool good = std::abs(pi - 3.14159265) < 0.005;  // eight standard deviations
  std::printf("pi is about %.4f%s\n", pi, good ? "" : ", WRONG");
  return good ? 0 : 1;
}
