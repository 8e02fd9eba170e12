// Tasks that are tried again: how often, for what, and what one sees of it.
#include "support/catch.hpp"

#include <ray/ray.hpp>

#include "api/probes.hpp"

#include <stdexcept>
#include <string>
#include <vector>

namespace retry_test {

namespace {

struct Initialized {
  explicit Initialized(double cpus) { ray::init({.num_cpus = cpus}); }
  ~Initialized() { ray::shutdown(); }
  Initialized(const Initialized&) = delete;
  Initialized& operator=(const Initialized&) = delete;
};

struct A;
struct D;
struct E;

template <class Tag>
probes::Shared<int> tries;

template <class Tag>
int fails_first(int times) {
  if (++tries<Tag> <= times) throw std::runtime_error("not yet");
  return tries<Tag>;
}

int same(int x) { return x; }

}  // namespace

TEST_CASE("a throw is no reason to try again unless asked for") {
  const Initialized runtime(1);
  CHECK_THROWS_AS(ray::get(ray::remote<fails_first<struct A>>(1)), std::runtime_error);
  CHECK(tries<struct A> == 1);
}

TEST_CASE("with retry_exceptions a task is tried again until it succeeds") {
  const Initialized runtime(1);
  const auto call =
      ray::remote<fails_first<struct B>>.options({.max_retries = 5, .retry_exceptions = true});
  CHECK(ray::get(call(3)) == 4);
}

TEST_CASE("a task is tried max_retries times more and then fails") {
  const Initialized runtime(2);
  const auto call =
      ray::remote<fails_first<struct C>>.options({.max_retries = 2, .retry_exceptions = true});
  CHECK_THROWS_AS(ray::get(call(100)), std::runtime_error);
  CHECK(tries<struct C> == 3);
}

TEST_CASE("max_retries 0 tries once, and the default is three more") {
  const Initialized runtime(1);
  CHECK_THROWS(ray::get(ray::remote<fails_first<struct D>>.options(
      {.max_retries = 0, .retry_exceptions = true})(100)));
  CHECK(tries<struct D> == 1);
  CHECK_THROWS(ray::get(ray::remote<fails_first<struct E>>.options({.retry_exceptions = true})(9)));
  CHECK(tries<struct E> == 4);
}

TEST_CASE("max_retries -1 goes on for ever") {
  const Initialized runtime(1);
  const auto call =
      ray::remote<fails_first<struct F>>.options({.max_retries = -1, .retry_exceptions = true});
  CHECK(ray::get(call(500)) == 501);
}

TEST_CASE("attempt counts the tries and the id stays") {
  static probes::Shared<int> wrong, tries;
  static probes::Shared<ray::TaskId> id;
  constexpr auto attempts = [] {
    const int attempt = ray::context().attempt();
    if (attempt != tries++) ++wrong;
    if (attempt == 0) id = ray::context().task_id();
    if (id.load() != ray::context().task_id()) ++wrong;
    if (attempt < 3) throw std::runtime_error("again");
    return attempt;
  };
  const Initialized runtime(1);
  CHECK(ray::get(ray::remote<attempts>.options({.retry_exceptions = true})()) == 3);
  CHECK(wrong == 0);
}

TEST_CASE("arguments are whole again for the next try, also those that were consumed") {
  static probes::Shared<int> count;
  constexpr auto consumes = [](std::vector<int> mine, const std::string& text) {
    const std::vector<int> taken = std::move(mine);
    if (++count < 3) throw std::runtime_error("again");
    return taken.size() + text.size();
  };
  const Initialized runtime(1);
  CHECK(ray::get(ray::remote<consumes>.options({.retry_exceptions = true})(
            std::vector<int>{1, 2, 3}, std::string("four"))) == 7);
}

TEST_CASE("dependents wait until the retries are over") {
  const Initialized runtime(2);
  auto ref = ray::remote<fails_first<struct G>>.options({.retry_exceptions = true})(2);
  CHECK(ray::get(ray::remote<same>(ref)) == 3);
}

TEST_CASE("a dependency that failed is no reason to try again") {
  static probes::Shared<int> ran;
  constexpr auto counts = [](int x) {
    ++ran;
    return x;
  };
  constexpr auto fails = []() -> int { throw std::logic_error("first"); };
  const Initialized runtime(1);
  auto bad = ray::remote<fails>();
  CHECK_THROWS_AS(ray::get(ray::remote<counts>.options({.retry_exceptions = true})(bad)),
                  std::logic_error);
  CHECK(ran == 0);
}

TEST_CASE("many retries at once leave the resources whole") {
  static probes::Shared<int> throws;
  constexpr auto flaky = [](int x) {
    if (ray::context().attempt() < x % 4) {
      ++throws;
      throw std::runtime_error("flaky");
    }
    return x;
  };
  const Initialized runtime(2);
  std::vector<ray::ObjectRef<int>> refs;
  const auto call = ray::remote<flaky>.options({.num_cpus = 0.5, .retry_exceptions = true});
  for (int i = 0; i < 400; ++i) refs.push_back(call(i));
  int sum = 0;
  for (int x : ray::get(refs)) sum += x;
  CHECK(sum == 399 * 200);
  CHECK(throws == 600);
  CHECK(probes::eventually([] { return ray::available_resources() == ray::cluster_resources(); }));
}

}  // namespace retry_test
