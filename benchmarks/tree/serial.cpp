#include "tree/serial.hpp"

int main(int argc, char** argv) {
  bench::Program program(argc, argv, tree::kWorkload, "serial");
  return tree::run_serial(program, bench::normal_vector);
}
