// A reference per cell; a row is kept only while the next one needs it.

#include <ray/ray.hpp>

#include "wave/workload.hpp"

int main(int argc, char** argv) {
  bench::Program program(argc, argv, wave::kWorkload, "ray");
  const std::size_t n = program.n();
  ray::init({.num_cpus = bench::kWorkers});
  return program.run(wave::expected(n), 1, [&] {
    using Cell = ray::ObjectRef<std::uint64_t>;
    const Cell border = ray::put(std::uint64_t{1});
    std::vector<Cell> row(n, border);
    for (std::size_t i = 0; i < n; ++i) {
      Cell left = border;
      for (Cell& up : row) up = left = ray::remote<wave::cell>(up, left);
    }
    return ray::get(row.back());
  });
}
