#include "tree/openmp.hpp"

int main(int argc, char** argv) {
  bench::Program program(argc, argv, tree::kWorkload, "openmp");
  return tree::run_openmp(program, bench::normal_vector);
}
