#include "tree/onetbb.hpp"

int main(int argc, char** argv) {
  bench::Program program(argc, argv, tree::kWorkload, "onetbb");
  return tree::run_onetbb(program, bench::normal_vector);
}
