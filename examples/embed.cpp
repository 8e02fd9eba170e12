// The runtime inside a program that has a life of its own. Notice: a Runtime is an object, several
// live side by side, each with its own workers, and its destructor ends it; and an event loop is
// never blocked: a small coroutine awaits the result and posts it to the loop, whose timer goes on
// ticking meanwhile. All of it is the same where tasks run in other processes (RAY_ISOLATION).
#include <ray/ray.hpp>

#include <asio.hpp>

#include <chrono>
#include <coroutine>
#include <cstdio>
#include <exception>

long fibonacci(int n) { return n < 2 ? n : fibonacci(n - 1) + fibonacci(n - 2); }

// A coroutine of the program's own and not a task: it stays in this process, where the loop is.
struct Detached {
  struct promise_type {
    Detached get_return_object() const { return {}; }
    std::suspend_never initial_suspend() const noexcept { return {}; }
    std::suspend_never final_suspend() const noexcept { return {}; }
    void return_void() const {}
    void unhandled_exception() const { std::terminate(); }
  };
};

using Loop = asio::io_context::executor_type;
long answer = 0;  // written and read on the loop's thread only

// Holds no thread while it waits; one of the runtime's takes it on from there, and the loop's
// thread gets the value.
Detached deliver(ray::ObjectRef<long> result, Loop loop) {
  long value = -1;
  try {
    value = co_await result;
  } catch (const ray::Error& error) {
    std::fprintf(stderr, "%s\n", error.what());
  }
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
  asio::io_context io;  // outlives the runtime, whose threads post to it
  ray::Runtime runtime({.num_cpus = 2});
  deliver(runtime.remote<fibonacci>(30), io.get_executor());

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
