// A flow graph of continue_nodes: built, run and destroyed.

#include <deque>

#include <tbb/flow_graph.h>

#include "tbb_arena.hpp"
#include "wave/workload.hpp"

namespace {

using Node = tbb::flow::continue_node<tbb::flow::continue_msg>;

std::uint64_t run_graph(std::size_t n) {
  wave::Grid grid(n);
  tbb::flow::graph graph;
  std::deque<Node> nodes;
  for (std::size_t i = 1; i <= n; ++i) {
    for (std::size_t j = 1; j <= n; ++j) {
      nodes.emplace_back(graph, [&grid, i, j](const tbb::flow::continue_msg& done) {
        grid.compute(i, j);
        return done;
      });
      if (i > 1) tbb::flow::make_edge(nodes[nodes.size() - 1 - n], nodes.back());
      if (j > 1) tbb::flow::make_edge(nodes[nodes.size() - 2], nodes.back());
    }
  }
  nodes.front().try_put(tbb::flow::continue_msg());
  graph.wait_for_all();
  return grid.last();
}

}  // namespace

int main(int argc, char** argv) {
  bench::Program program(argc, argv, wave::kWorkload, "onetbb");
  const std::size_t n = program.n();
  bench::TbbArena arena;
  return program.run(wave::expected(n), 1,
                     [&] { return arena->execute([n] { return run_graph(n); }); });
}
