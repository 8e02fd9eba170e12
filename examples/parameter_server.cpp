// Fits a line to noisy points with a parameter server. Notice: the data is put once and every task
// reads the same object, nothing is copied; gradients go from the tasks to the actor as references
// and never pass through main(); a server's calls run in the order they were made, so the weights
// asked for after a step are those after it.
#include <ray/ray.hpp>

#include <array>
#include <cmath>
#include <cstdio>
#include <random>
#include <utility>
#include <vector>

struct Point {
  double x, y;
};
using Shard = std::vector<Point>;
using Weights = std::array<double, 2>;  // y = weights[0] * x + weights[1]
constexpr Weights kTruth{2.5, -1.0};
constexpr int kWorkers = 4;
constexpr int kSteps = 60;

class ParameterServer {
public:
  explicit ParameterServer(double rate) : rate_(rate) {}
  Weights weights() const { return weights_; }
  void apply(const Weights& a, const Weights& b, const Weights& c, const Weights& d) {
    for (std::size_t i = 0; i < weights_.size(); ++i) {
      weights_[i] -= rate_ * (a[i] + b[i] + c[i] + d[i]) / kWorkers;
    }
  }

private:
  double rate_;
  Weights weights_{0, 0};
};

Shard make_shard(unsigned seed) {
  std::mt19937 engine(seed);
  std::uniform_real_distribution<double> place(-1, 1);
  std::normal_distribution<double> noise(0, 0.1);
  Shard shard(5000);
  for (Point& p : shard) {
    p.x = place(engine);
    p.y = kTruth[0] * p.x + kTruth[1] + noise(engine);
  }
  return shard;
}

Weights gradient(const Weights& w, const Shard& shard) {
  Weights g{0, 0};
  for (const Point& p : shard) {
    const double error = w[0] * p.x + w[1] - p.y;
    g[0] += 2 * error * p.x / static_cast<double>(shard.size());
    g[1] += 2 * error / static_cast<double>(shard.size());
  }
  return g;
}

double loss(const Weights& w, const Shard& shard) {
  double sum = 0;
  for (const Point& p : shard) sum += std::pow(w[0] * p.x + w[1] - p.y, 2);
  return sum / static_cast<double>(shard.size());
}

int main(int argc, char** argv) {
  ray::init(argc, argv);

  std::array<ray::ObjectRef<Shard>, kWorkers> shards;
  for (unsigned i = 0; i < kWorkers; ++i) shards[i] = ray::remote<make_shard>(i);
  auto server = ray::actor<ParameterServer>(0.3);

  std::vector<std::pair<int, ray::ObjectRef<double>>> losses;
  for (int step = 0; step <= kSteps; ++step) {
    auto w = ray::remote<&ParameterServer::weights>(server);
    if (step % 10 == 0) losses.emplace_back(step, ray::remote<loss>(w, shards[0]));
    ray::remote<&ParameterServer::apply>(
        server, ray::remote<gradient>(w, shards[0]), ray::remote<gradient>(w, shards[1]),
        ray::remote<gradient>(w, shards[2]), ray::remote<gradient>(w, shards[3]));
  }

  bool falls = true;
  double last = 1e9;
  for (const auto& [step, ref] : losses) {
    const double now = ray::get(ref);
    std::printf("step %2d  loss %.5f\n", step, now);
    falls = falls && now < last + 1e-4;
    last = now;
  }
  const Weights w = ray::get(ray::remote<&ParameterServer::weights>(server));
  std::printf("y = %.2f x %+.2f\n", w[0], w[1]);
  const bool good = falls && last < 0.02 && std::abs(w[0] - kTruth[0]) < 0.02 &&
                    std::abs(w[1] - kTruth[1]) < 0.02;
  if (!good) std::printf("WRONG: this should have come near y = 2.50 x -1.00\n");
  return good ? 0 : 1;
}
