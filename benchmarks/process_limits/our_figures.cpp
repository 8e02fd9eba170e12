#include "process_limits/our_figures.hpp"

#include <signal.h>
#include <unistd.h>

#include <chrono>
#include <cstdint>
#include <exception>
#include <stdexcept>
#include <thread>
#include <utility>

namespace limits {

namespace {

using Clock = std::chrono::steady_clock;
using Blob = std::vector<std::uint8_t>;  // Contiguous data; it travels beside the message.

/// Nothing that is waited for takes so long. (The program as a whole has an alarm.)
constexpr std::chrono::seconds kPatience{30};

double micros_since(Clock::time_point start) {
  return std::chrono::duration<double, std::micro>(Clock::now() - start).count();
}

int no_op() { return 1; }

ray::Array<std::uint8_t> make_large(std::size_t size) {
  ray::Array<std::uint8_t> array(size);
  array[size - 1] = 1;
  return array;
}

/// Microseconds that the worker takes for `get` alone.
double time_get(ray::ObjectRef<ray::Array<std::uint8_t>> ref) {
  const auto start = Clock::now();
  const auto& array = ray::get(ref);
  const double micros = micros_since(start);
  if (array[array.size() - 1] != 1) throw std::logic_error("the object has other bytes");
  return micros;
}

class Server {
public:
  int no_op() { return 1; }
  int process() { return static_cast<int>(getpid()); }
  void never_returns() {
    while (true) pause();
  }
};

void require(bool right) {
  if (!right) throw std::logic_error("a task gave a wrong result");
}

/// The median of a call's time, which is taken over many calls at once.
template <class Call>
double median_of_calls(const Effort& effort, int calls, Call call) {
  std::vector<double> values;
  for (int repeat = -1; repeat < effort.repeats; ++repeat) {
    const auto start = Clock::now();
    for (int i = 0; i < calls; ++i) call();
    if (repeat >= 0) values.push_back(micros_since(start) / calls);
  }
  return median(std::move(values));
}

double time_tasks(const Effort& effort) {
  return median_of_calls(effort, effort.messages / 10,
                         [] { require(ray::get(ray::remote<no_op>()) == 1); });
}

double time_actor_calls(const Effort& effort) {
  const auto server = ray::actor<Server>();
  return median_of_calls(effort, effort.messages / 10,
                         [&] { require(ray::get(ray::remote<&Server::no_op>(server)) == 1); });
}

double count_tasks(const Effort& effort) {
  constexpr int kInFlight = 1000;
  const double micros = median_of_calls(effort, std::max(1, effort.messages / 2000), [] {
    std::vector<ray::ObjectRef<int>> refs;
    refs.reserve(kInFlight);
    for (int i = 0; i < kInFlight; ++i) refs.push_back(ray::remote<no_op>());
    for (const int one : ray::get(refs)) require(one == 1);
  });
  return kInFlight * 1e6 / micros;
}

/// A put of everything at once; the object lives as long as the reference.
std::pair<double, ray::ObjectRef<Blob>> timed_put(const Blob& blob) {
  const auto start = Clock::now();
  ray::ObjectRef<Blob> ref = ray::put(blob);
  return {static_cast<double>(blob.size()) * 1e6 / micros_since(start), std::move(ref)};
}

/// The first put of a runtime, and the later ones, of which each finds the memory of the one
/// before.
void put_large(const Effort& effort, OurFigures& ours) {
  const Blob blob(effort.large, 1);
  ours.put_fresh = timed_put(blob).first;
  std::vector<double> recycled;
  for (int i = 0; i < std::min(effort.repeats, 5); ++i) recycled.push_back(timed_put(blob).first);
  ours.put_recycled = median(recycled);
}

/// The references are kept for one repeat, so that each put takes the next place of the store.
double time_puts(const Effort& effort, std::size_t size) {
  constexpr int kPuts = 1000;
  const Blob blob(size, 1);
  std::vector<double> values;
  std::vector<ray::ObjectRef<Blob>> refs;
  for (int repeat = -1; repeat < effort.repeats; ++repeat) {
    refs.clear();
    refs.reserve(kPuts);
    const auto start = Clock::now();
    for (int i = 0; i < kPuts; ++i) refs.push_back(ray::put(blob));
    if (repeat >= 0) values.push_back(micros_since(start) / kPuts);
  }
  return median(std::move(values));
}

double time_get_in_driver(const Effort& effort) {
  std::vector<double> values;
  for (int repeat = 0; repeat < effort.repeats; ++repeat) {
    const auto ref = ray::remote<make_large>(effort.large / 16);
    ray::wait(std::vector{ref}, {.timeout = kPatience});
    const auto start = Clock::now();
    const auto& array = ray::get(ref, kPatience);
    values.push_back(micros_since(start));
    require(array[array.size() - 1] == 1);
  }
  return median(values);
}

double time_get_in_worker(const Effort& effort) {
  std::vector<double> values;
  for (int repeat = 0; repeat < effort.repeats; ++repeat) {
    const auto ref = ray::put(make_large(effort.large / 16));
    values.push_back(ray::get(ray::remote<time_get>(ref), kPatience));
  }
  return median(values);
}

double time_death(const Effort& effort) {
  std::vector<double> values;
  for (int repeat = 0; repeat < effort.starts; ++repeat) {
    const auto server = ray::actor<Server>();
    const int process = ray::get(ray::remote<&Server::process>(server), kPatience);
    if (process == static_cast<int>(getpid()))
      throw std::runtime_error("the actor lives in this process");
    const auto call = ray::remote<&Server::never_returns>(server);
    ray::wait(std::vector{call}, {.timeout = std::chrono::milliseconds(20)});  // So that it runs.
    const auto start = Clock::now();
    ::kill(process, SIGKILL);
    const auto result = ray::try_get(call, kPatience);
    values.push_back(micros_since(start));
    if (result || result.error().code() == ray::ErrorCode::get_timeout)
      throw std::runtime_error("nobody noticed that the worker was killed");
  }
  return median(values);
}

/// Runtimes one after the other, each until its first task is done.
double time_first_task(const Effort& effort, const ray::RuntimeOptions& options) {
  std::vector<double> values;
  for (int repeat = 0; repeat < std::min(effort.starts, 20); ++repeat) {
    const auto start = Clock::now();
    ray::Runtime runtime(options);
    require(runtime.get(runtime.remote<no_op>(), kPatience) == 1);
    values.push_back(micros_since(start));
  }
  return median(values);
}

}  // namespace

OurFigures measure_ours(const Effort& effort, ray::Isolation isolation) {
  OurFigures ours;
  const auto attempt = [&](const char* what, auto measure) {
    try {
      measure();
    } catch (const std::exception& error) {
      ours.failures.push_back(std::string(what) + ": " + error.what());
    }
  };
  const ray::RuntimeOptions options{.num_cpus = 2, .isolation = isolation};
  {
    const ray::Runtime runtime(options);  // Refused: before anything is measured.
    attempt("T7", [&] { put_large(effort, ours); });
    attempt("T4", [&] { ours.task_round_trip = time_tasks(effort); });
    attempt("T5", [&] { ours.tasks_per_second = count_tasks(effort); });
    attempt("T8 in the driver", [&] { ours.get_in_driver = time_get_in_driver(effort); });
    attempt("T8 in a worker", [&] { ours.get_in_worker = time_get_in_worker(effort); });
    attempt("T9 64 KiB", [&] { ours.put_64_kib = time_puts(effort, std::size_t{64} << 10); });
    attempt("T9 100 B", [&] { ours.put_100_bytes = time_puts(effort, 100); });
    attempt("T16", [&] { ours.actor_round_trip = time_actor_calls(effort); });
    attempt("T14", [&] { ours.death_noticed = time_death(effort); });
  }
  attempt("T13", [&] { ours.first_task = time_first_task(effort, options); });
  return ours;
}

}  // namespace limits
