#include "tree/openmp.hpp"

int main(int argc, char** argv) {
  bench::Program program(argc, argv, tree::kThinWorkload, "openmp");
  return tree::run_openmp(program, bench::cheap_vector);
}
