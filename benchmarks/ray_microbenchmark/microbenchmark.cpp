// Ray's own microbenchmark (`ray microbenchmark`): the same rows, under the same names and in the
// same order, with the same bodies. See benchmarks/README.md for where a row is uneven.

#include <ray/ray.hpp>

#include <algorithm>
#include <cstdint>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "ray_microbenchmark/fixtures.hpp"
#include "ray_microbenchmark/session.hpp"

namespace {

using namespace microbenchmark;

using Nothings = std::vector<ray::ObjectRef<void>>;

// What Ray counts as a gigabyte: 0.1 for each 10 * 2^20 numbers of eight bytes.
constexpr double kGigabytesOfTenMebi = 8 * 0.01;

void objects(Session& session) {
  session.row("single client get calls (Plasma Store)", 1,
              [] { return [value = ray::put(0)] { require(ray::get(value) == 0); }; });
  session.row("single client put calls (Plasma Store)", 1, [] {
    return [] {
      const auto ref = ray::put(0);
      require(static_cast<bool>(ref));
    };
  });
  session.row("multi client put calls (Plasma Store)", 1000, [] {
    return [] {
      Nothings clients;
      for (int i = 0; i < 10; ++i) clients.push_back(ray::remote<do_put_small>());
      ray::get(clients);
    };
  });
  session.row("single client put gigabytes", 10 * kGigabytesOfTenMebi, [] {
    return [array = Numbers(100 * kMebi)] {
      const auto ref = ray::put(array);
      require(static_cast<bool>(ref));
    };
  });
  session.row("single client tasks and get batch", 1,
              [] { return [] { get_all(submit_small_values(1000)); }; });
  session.row("multi client put gigabytes", 100 * kGigabytesOfTenMebi, [] {
    return [] {
      Nothings clients;
      for (int i = 0; i < 10; ++i) clients.push_back(ray::remote<do_put>());
      ray::get(clients);
    };
  });
  session.row("single client get object containing 10k refs", 1, [] {
    return [object = ray::remote<create_object_containing_ref>()] {
      require(ray::get(object).size() == 10'000);
    };
  });
  session.row("single client wait 1k refs", 1, [] {
    return [] {
      Oks not_ready = submit_small_values(1000);
      for (int i = 0; i < 1000; ++i) not_ready = std::move(ray::wait(std::move(not_ready)).pending);
      require(not_ready.empty());
    };
  });
}

constexpr int kTasks = 10'000;  // Of each client.
constexpr int kClients = 4;

void tasks(Session& session) {
  session.row("single client tasks sync", 1,
              [] { return [] { require(ray::get(ray::remote<small_value>()) == "ok"); }; });
  session.row("single client tasks async", 1000,
              [] { return [] { get_all(submit_small_values(1000)); }; });
  session.row("multi client tasks async", kTasks * kClients, [] {
    return [actors = make_servers<Actor>(kClients)] {
      Nothings submitted;
      for (const auto& actor : actors)
        submitted.push_back(ray::remote<&Actor::small_value_batch>(actor, kTasks));
      ray::get(submitted);
    };
  });
}

/// Calls of one actor, one by one and a thousand at a time.
template <class Server>
auto call_sync(ray::ActorHandle<Server> actor) {
  return [actor = std::move(actor)] {
    require(ray::get(ray::remote<&Server::small_value>(actor)) == "ok");
  };
}
template <class Server>
auto call_async(ray::ActorHandle<Server> actor) {
  return [actor = std::move(actor)] { get_all(call_small_value(actor, 1000)); };
}

constexpr int kCalls = 5000;
constexpr int kCallers = 4;
constexpr int kCallsWithArgument = 1000;

/// One client that calls all servers.
template <class Server>
auto one_to_many(int servers) {
  return [client = ray::actor<Client<Server>>(make_servers<Server>(servers))] {
    ray::get(ray::remote<&Client<Server>::small_value_batch>(client, kCalls));
  };
}

/// Tasks that call all servers in turn.
template <class Server>
auto many_to_many(int servers) {
  return [actors = make_servers<Server>(servers)] {
    Nothings callers;
    for (int i = 0; i < kCallers; ++i) callers.push_back(ray::remote<work<Server>>(actors, kCalls));
    ray::get(callers);
  };
}

void actors(Session& session, int n_cpu) {
  session.row("1:1 actor calls sync", 1, [] { return call_sync(ray::actor<Actor>()); });
  session.row("1:1 actor calls async", 1000, [] { return call_async(ray::actor<Actor>()); });
  session.row("1:1 actor calls concurrent", 1000,
              [] { return call_async(ray::actor<Actor>.options({.max_concurrency = 16})()); });
  session.row("1:n actor calls async", kCalls * n_cpu, [&] { return one_to_many<Actor>(n_cpu); });
  session.row("n:n actor calls async", kCalls * kCallers,
              [&] { return many_to_many<Actor>(n_cpu); });
  session.row("n:n actor calls with arg async", kCallsWithArgument * n_cpu, [&] {
    std::vector<ray::ActorHandle<Client<Actor>>> clients;
    for (int i = 0; i < n_cpu; ++i)
      clients.push_back(ray::actor<Client<Actor>>(make_servers<Actor>(1)));
    return [clients = std::move(clients)] {
      Nothings batches;
      for (const auto& client : clients)
        batches.push_back(
            ray::remote<&Client<Actor>::small_value_batch_arg>(client, kCallsWithArgument));
      ray::get(batches);
    };
  });
}

void async_actors(Session& session, int n_cpu) {
  session.row("1:1 async-actor calls sync", 1, [] { return call_sync(ray::actor<AsyncActor>()); });
  session.row("1:1 async-actor calls async", 1000,
              [] { return call_async(ray::actor<AsyncActor>()); });
  session.row("1:1 async-actor calls with args async", 1000, [] {
    return [actor = ray::actor<AsyncActor>()] {
      Oks refs;
      for (int i = 0; i < 1000; ++i)
        refs.push_back(ray::remote<&AsyncActor::small_value_with_arg>(actor, i));
      get_all(refs);
    };
  });
  session.row("1:n async-actor calls async", kCalls * n_cpu,
              [&] { return one_to_many<AsyncActor>(n_cpu); });
  session.row("n:n async-actor calls async", kCalls * kCallers,
              [&] { return many_to_many<AsyncActor>(n_cpu); });
}

void not_there_yet(Session& session) {
  session.missing("placement group create/removal", "placement groups");
  for (const char* row : {"client: get calls", "client: put calls", "client: put gigabytes",
                          "client: tasks and put batch", "client: 1:1 actor calls sync",
                          "client: 1:1 actor calls async", "client: 1:1 actor calls concurrent",
                          "client: tasks and get batch"}) {
    session.missing(row, "a client of a runtime elsewhere");
  }
}

}  // namespace

int main(int argc, char** argv) {
  const Arguments arguments = Arguments::parse(argc, argv);
  Session session(arguments);
  ray::Isolation isolation = arguments.isolation;
  double cpus = 0;
  try {
    const ray::Runtime& runtime = ray::init(argc, argv, {.isolation = arguments.isolation});
    isolation = runtime.options().isolation;
    cpus = ray::cluster_resources().at("CPU");
  } catch (const ray::InvalidArgumentError& error) {
    return session.refuse(error.what());
  }
  // Half of the machine's threads, as Ray has it, though at least one.
  const int n_cpu = std::max(1, static_cast<int>(std::thread::hardware_concurrency() / 2));
  objects(session);
  tasks(session);
  actors(session, n_cpu);
  async_actors(session, n_cpu);
  ray::shutdown();
  not_there_yet(session);
  return session.finish(isolation, cpus);
}
