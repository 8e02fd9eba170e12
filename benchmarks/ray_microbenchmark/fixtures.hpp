#pragma once

// The tasks and actors of Ray's microbenchmark (its ray_perf.py), under their names there.

#include <ray/ray.hpp>

#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace microbenchmark {

using Ok = std::string;  // Ray's b"ok": two bytes.
using Oks = std::vector<ray::ObjectRef<Ok>>;
using Numbers = std::vector<std::int64_t>;  // Where Ray has a numpy array.

inline constexpr std::size_t kMebi = std::size_t{1} << 20;

inline void require(bool right) {
  if (!right) throw std::logic_error("a task gave a wrong result");
}

/// ray.get of all of them. That each of them is right costs a comparison, which Ray does not make.
inline void get_all(const Oks& refs) {
  for (const Ok& ok : ray::get(refs)) require(ok == "ok");
}

inline Ok small_value() { return "ok"; }

inline Oks submit_small_values(int n) {
  Oks refs;
  for (int i = 0; i < n; ++i) refs.push_back(ray::remote<small_value>());
  return refs;
}

inline void do_put_small() {
  for (int i = 0; i < 100; ++i) {
    const ray::ObjectRef<int> ref = ray::put(0);
    require(static_cast<bool>(ref));
  }
}

inline void do_put() {
  for (int i = 0; i < 10; ++i) {
    // numpy's zeros touch no memory before they are put: here they are made where they shall be.
    const auto ref = ray::put(ray::Array<std::int64_t>(10 * kMebi));
    require(static_cast<bool>(ref));
  }
}

inline std::vector<ray::ObjectRef<int>> create_object_containing_ref() {
  std::vector<ray::ObjectRef<int>> refs;
  for (int i = 0; i < 10'000; ++i) refs.push_back(ray::put(1));
  return refs;
}

class Actor {
public:
  Ok small_value() { return "ok"; }
  Ok small_value_arg(int x) {
    require(x == 0);
    return "ok";
  }
  /// Of tasks, not of calls of its own.
  void small_value_batch(int n) { get_all(submit_small_values(n)); }
};

class AsyncActor {
public:
  ray::Task<Ok> small_value() { co_return "ok"; }
  ray::Task<Ok> small_value_with_arg(int x) {
    require(x >= 0);
    co_return "ok";
  }
};

template <class Server>
using Servers = std::vector<ray::ActorHandle<Server>>;

template <class Server>
Servers<Server> make_servers(int n) {
  Servers<Server> servers;
  for (int i = 0; i < n; ++i) servers.push_back(ray::actor<Server>());
  return servers;
}

template <class Server>
Oks call_small_value(const ray::ActorHandle<Server>& server, int n) {
  Oks refs;
  for (int i = 0; i < n; ++i) refs.push_back(ray::remote<&Server::small_value>(server));
  return refs;
}

template <class Server>
class Client {
public:
  explicit Client(Servers<Server> servers) : servers_(std::move(servers)) {}

  void small_value_batch(int n) {
    Oks results;
    for (const auto& server : servers_) {
      for (int i = 0; i < n; ++i) results.push_back(ray::remote<&Server::small_value>(server));
    }
    get_all(results);
  }
  /// The argument is a reference to an object in the store, as in Ray.
  void small_value_batch_arg(int n) {
    const ray::ObjectRef<int> x = ray::put(0);
    Oks results;
    for (const auto& server : servers_) {
      for (int i = 0; i < n; ++i)
        results.push_back(ray::remote<&Server::small_value_arg>(server, x));
    }
    get_all(results);
  }

private:
  Servers<Server> servers_;
};

/// A task that calls all servers in turn: Ray's `work` and `async_actor_work`.
template <class Server>
void work(Servers<Server> servers, int n) {
  Oks results;
  for (int i = 0; i < n; ++i) {
    const std::size_t next = static_cast<std::size_t>(i) % servers.size();
    results.push_back(ray::remote<&Server::small_value>(servers[next]));
  }
  get_all(results);
}

}  // namespace microbenchmark
