#include "tree/asio.hpp"

int main(int argc, char** argv) {
  bench::Program program(argc, argv, tree::kThinWorkload, "asio");
  return tree::run_asio(program, bench::cheap_vector);
}
