#include "tree/ray.hpp"

int main(int argc, char** argv) {
  bench::Program program(argc, argv, tree::kThinWorkload, "ray");
  return tree::run_ray<bench::cheap_vector>(program);
}
