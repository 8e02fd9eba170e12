#pragma once

// A pool whose threads must not wait: every vector counts its missing children, and the child
// that comes last posts the sum.

#include <atomic>
#include <future>

#include <asio/post.hpp>
#include <asio/thread_pool.hpp>

#include "tree/workload.hpp"

namespace tree {

class AsioTree {
public:
  AsioTree(asio::thread_pool& pool, Leaf leaf, int leaves)
      : pool_(pool),
        leaf_(leaf),
        leaves_(leaves),
        vertices_(static_cast<std::size_t>(root(leaves) + 1)) {}

  std::uint64_t reduce() {
    std::future<std::uint64_t> answer = answer_.get_future();
    for (int id = 0; id < leaves_; ++id) {
      asio::post(pool_, [this, id] {
        at(id).vector = leaf_(id);
        finish(id);
      });
    }
    return answer.get();
  }

private:
  struct Vertex {
    bench::Vector vector;
    std::atomic<int> children_done{0};
  };

  Vertex& at(int id) { return vertices_[static_cast<std::size_t>(id)]; }

  void finish(int id) {
    if (id == root(leaves_)) {
      // Taken out of the tree, which the main thread destroys as soon as it has the answer.
      std::promise<std::uint64_t> answer = std::move(answer_);
      answer.set_value(digest(at(id).vector));
      return;
    }
    const int parent = leaves_ + id / 2;
    // acq_rel: whoever comes second sees the vector of whoever came first.
    if (at(parent).children_done.fetch_add(1, std::memory_order_acq_rel) == 0) return;
    asio::post(pool_, [this, parent] {
      const auto [left, right] = children(parent, leaves_);
      at(parent).vector = bench::add_vectors(at(left).vector, at(right).vector);
      at(left).vector = {};
      at(right).vector = {};
      finish(parent);
    });
  }

  asio::thread_pool& pool_;
  Leaf leaf_;
  int leaves_;
  std::vector<Vertex> vertices_;
  std::promise<std::uint64_t> answer_;
};

inline int run_asio(bench::Program& program, Leaf leaf) {
  const int leaves = static_cast<int>(program.n());
  asio::thread_pool pool(bench::kWorkers);
  return program.run(reduce(leaf, leaves), 1, [&] {
    AsioTree asio_tree(pool, leaf, leaves);
    return asio_tree.reduce();
  });
}

}  // namespace tree
