#include "tree/asio.hpp"

int main(int argc, char** argv) {
  bench::Program program(argc, argv, tree::kWorkload, "asio");
  return tree::run_asio(program, bench::normal_vector);
}
