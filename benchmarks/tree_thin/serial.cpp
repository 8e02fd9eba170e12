#include "tree/serial.hpp"

int main(int argc, char** argv) {
  bench::Program program(argc, argv, tree::kThinWorkload, "serial");
  return tree::run_serial(program, bench::cheap_vector);
}
