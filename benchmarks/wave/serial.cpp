// Two loops.

#include "wave/workload.hpp"

int main(int argc, char** argv) {
  bench::Program program(argc, argv, wave::kWorkload, "serial");
  const std::size_t n = program.n();
  return program.run(wave::expected(n), 1, [&] { return wave::expected(n); });
}
