#include "tree/onetbb.hpp"

int main(int argc, char** argv) {
  bench::Program program(argc, argv, tree::kThinWorkload, "onetbb");
  return tree::run_onetbb(program, bench::cheap_vector);
}
