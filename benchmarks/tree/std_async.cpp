#include "tree/std_async.hpp"

int main(int argc, char** argv) {
  bench::Program program(argc, argv, tree::kWorkload, "std_async");
  return tree::run_std_async(program, bench::normal_vector);
}
