// The runtime inside a program that has a life of its own. Notice: a Runtime is an object, several
// live side by side, each with its own workers, and its destructor ends it; and an event loop is
// never blocked: a small coroutine task awaits the result and posts it to the loop, whose timer
// goes on ticking meanwhile.
#include <ray/ray.hpp>

#include <asio.hpp>

#include <chrono>
#include <cstdio>

long fibonacci(int n) { return n < 2 ? n : fibonacci(n - 1) + fibonacci(n - 2); }

// Runs on a worker without holding it while it waits, and ends on the loop's own thread.
using Loop = asio::io_context::executor_type;
long answer = 0;  // written and read on the loop's thread only

ray::Task<void> deliver(ray::ObjectRef<long> result, Loop loop) {
  const long value = co_await result;
  asio::post(loop, [value] { answer = value; });
}

int two_runtimes() {
  ray::Runtime small({.num_cpus = 1, .name = "small"});
  ray::Runtime large({.num_cpus = 2, .name = "large"});
  ray::ObjectRef<long> a = small.remote<fibonacci>(20);
  ray::ObjectRef<long> b = large.remote<fibonacci>(21);
  std::printf("two runtimes: %ld and %ld\n", small.get(a), large.get(b));
  return small.get(a) == 6765 && large.get(b) == 10946 ? 0 : 1;
}

int beside_a_loop() {
  ray::Runtime runtime({.num_cpus = 2});
  asio::io_context io;
  runtime.remote<deliver>(runtime.remote<fibonacci>(30), io.get_executor());

  int ticks = 0;
  asio::steady_timer timer(io);
  const auto tick = [&](const auto& again) -> void {
    timer.expires_after(std::chrono::milliseconds(1));
    timer.async_wait([&](const asio::error_code& error) {
      ++ticks;
      if (!error && answer == 0 && ticks < 60'000) again(again);
    });
  };
  tick(tick);
  io.run();

  std::printf("beside a loop: %ld, the loop %s\n", answer, ticks > 0 ? "ticked" : "stood still");
  return answer == 832040 && ticks > 0 ? 0 : 1;
}

int main() {
  const int wrong = two_runtimes() + beside_a_loop();
  if (wrong != 0) std::printf("WRONG\n");
  return wrong;
}
