// A flow graph of n nodes in a row: built, run and destroyed.

#include <deque>

#include <tbb/flow_graph.h>

#include "chain/workload.hpp"
#include "tbb_arena.hpp"

int main(int argc, char** argv) {
  bench::Program program(argc, argv, chain::kWorkload, "onetbb");
  const std::size_t n = program.n();
  bench::TbbArena arena;
  return program.run(n, static_cast<double>(n), [&] {
    return static_cast<std::uint64_t>(arena->execute([n] {
      using Node = tbb::flow::function_node<int, int>;
      tbb::flow::graph graph;
      int last = 0;
      std::deque<Node> nodes;
      for (std::size_t i = 0; i < n; ++i) {
        nodes.emplace_back(graph, tbb::flow::serial, [&last](int x) { return last = x + 1; });
        if (i > 0) tbb::flow::make_edge(nodes[i - 1], nodes[i]);
      }
      nodes.front().try_put(0);
      graph.wait_for_all();
      return last;
    }));
  });
}
