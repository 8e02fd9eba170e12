#include "tree/ray.hpp"

int main(int argc, char** argv) {
  bench::Program program(argc, argv, tree::kWorkload, "ray");
  return tree::run_ray<bench::normal_vector>(program);
}
