// Actors that save their state: what comes back after a restart, and when it is saved.
#include "support/catch.hpp"

#include <ray/ray.hpp>

#include "api/probes.hpp"

#include <algorithm>
#include <mutex>
#include <stdexcept>
#include <string>
#include <vector>

namespace checkpoint_test {

namespace {

using Catch::Matchers::ContainsSubstring;
using probes::eventually;
using probes::kDeadline;

constexpr ray::KillOptions kRestart{.no_restart = false};

probes::Shared<int> taken;
probes::Shared<int> tries[2];
probes::Gate inside[2];

class Account {
public:
  explicit Account(int start) : sum_(start) {}
  int add(int x) { return sum_ += x; }
  int sum() const { return sum_; }
  void fails(int x) {
    sum_ += x;
    throw std::runtime_error("after it was added");
  }
  int hangs_at_first(int x, int round) {
    sum_ += x;
    if (tries[round]++ == 0) {
      inside[round].open();
      const auto token = ray::context().stop_token();
      eventually([&] { return token.stop_requested(); });
    }
    return sum_;
  }

  int checkpoint() const {
    ++taken;
    return sum_;
  }
  void restore(int sum) { sum_ = sum; }

private:
  int sum_;
};

template <class E, class T>
std::string error_of(const ray::ObjectRef<T>& ref) {
  try {
    ray::get(ref, kDeadline);
  } catch (const E& error) {
    return error.what();
  } catch (const std::exception& error) {
    return std::string("another type: ") + error.what();
  }
  return "no error";
}

}  // namespace

TEST_CASE("an actor goes on from its checkpoint each time it starts again") {
  ray::Runtime rt({.num_cpus = 1});
  taken = 0;
  const auto account = rt.actor_with<Account>({.max_restarts = -1})(100);
  int sum = 100;
  for (int restart = 0; restart < 5; ++restart) {
    for (int i = 1; i <= 3; ++i) {
      sum += i;
      CHECK(rt.get(rt.remote<&Account::add>(account, i), kDeadline) == sum);
    }
    rt.kill(account, kRestart);
    CHECK(rt.get(rt.remote<&Account::sum>(account), kDeadline) == sum);
  }
  CHECK(taken == 15);
}

TEST_CASE("a call that throws is saved too, since the actor goes on with what it did") {
  ray::Runtime rt({.num_cpus = 1});
  const auto account = rt.actor_with<Account>({.max_restarts = 1})(1);
  CHECK_THAT(error_of<ray::TaskError>(rt.remote<&Account::fails>(account, 5)),
             ContainsSubstring("after it was added"));
  rt.kill(account, kRestart);
  CHECK(rt.get(rt.remote<&Account::sum>(account), kDeadline) == 6);
}

TEST_CASE("checkpoint_every says how many calls may be lost, and const methods do not count") {
  ray::Runtime rt({.num_cpus = 1});
  taken = 0;
  const auto account = rt.actor_with<Account>({.max_restarts = -1, .checkpoint_every = 3})(0);
  for (int i = 1; i <= 8; ++i) {
    rt.get(rt.remote<&Account::add>(account, 1), kDeadline);
    CHECK(rt.get(rt.remote<&Account::sum>(account), kDeadline) == i);
  }
  CHECK(taken == 2);
  rt.kill(account, kRestart);
  CHECK(rt.get(rt.remote<&Account::sum>(account), kDeadline) == 6);
  // Counted anew from there.
  for (int i = 0; i < 2; ++i) rt.get(rt.remote<&Account::add>(account, 1), kDeadline);
  CHECK(taken == 2);
  rt.get(rt.remote<&Account::add>(account, 1), kDeadline);
  CHECK(taken == 3);
}

TEST_CASE("an actor that cannot start again, or shall not be saved, is not asked for its state") {
  ray::Runtime rt({.num_cpus = 1});
  taken = 0;
  const auto mortal = rt.actor<Account>(1);
  const auto forgetful = rt.actor_with<Account>({.max_restarts = 1, .checkpoint_every = 0})(1);
  for (const auto& each : {mortal, forgetful}) {
    CHECK(rt.get(rt.remote<&Account::add>(each, 1), kDeadline) == 2);
  }
  rt.kill(forgetful, kRestart);
  CHECK(rt.get(rt.remote<&Account::sum>(forgetful), kDeadline) == 1);
  CHECK(taken == 0);
}

TEST_CASE("a call that the restart interrupts counts once or not at all") {
  ray::Runtime rt({.num_cpus = 2});
  const int retries = GENERATE(0, 1);
  const auto account = rt.actor_with<Account>({.max_restarts = 1, .max_task_retries = retries})(0);
  CHECK(rt.get(rt.remote<&Account::add>(account, 1), kDeadline) == 1);
  const auto call = rt.remote<&Account::hangs_at_first>(account, 10, retries);
  const auto behind = rt.remote<&Account::add>(account, 100);
  inside[retries].pass();
  rt.kill(account, kRestart);
  if (retries == 0) {
    CHECK_THROWS_AS(rt.get(call, kDeadline), ray::ActorDiedError);
    CHECK(rt.get(behind, kDeadline) == 101);
  } else {
    CHECK(rt.get(call, kDeadline) == 11);
    CHECK(rt.get(behind, kDeadline) == 111);
  }
}

// --- what a state may be ---

namespace {

/// References, handles and much data.
class Library {
public:
  struct State {
    std::vector<ray::ObjectRef<std::vector<int>>> books;
    ray::ActorHandle<Account> account;
    std::vector<double> shelf;
  };

  void take_in(ray::ObjectRef<std::vector<int>> book) {
    state_.books.push_back(std::move(book));
    state_.shelf.resize(100'000 * state_.books.size(), 0.5);
  }
  void open(ray::ActorHandle<Account> account) { state_.account = std::move(account); }
  std::size_t size() const { return state_.shelf.size(); }
  int last(std::size_t book) const { return ray::get(state_.books.at(book)).back(); }
  int sum() const { return ray::get(ray::remote<&Account::sum>(state_.account)); }

  const State& checkpoint() const { return state_; }
  void restore(const State& state) { state_ = state; }

private:
  State state_;
};

/// A state that cannot be copied.
class Matrix {
public:
  void fill(double x) {
    rows_ = ray::Array<double>(50'000);
    for (double& each : rows_) each = x;
  }
  double sum() const {
    double sum = 0;
    for (const double each : rows_) sum += each;
    return sum;
  }
  ray::Array<double> checkpoint() const { return rows_.clone(); }
  void restore(const ray::Array<double>& rows) { rows_ = rows.clone(); }

private:
  ray::Array<double> rows_;
};

}  // namespace

TEST_CASE("references, handles and large data in a checkpoint stay as long as the actor") {
  ray::Runtime rt({.num_cpus = 2});
  auto library = rt.actor_with<Library>({.max_restarts = -1})();
  {
    const auto account = rt.actor<Account>(7);
    rt.get(rt.remote<&Library::open>(library, account), kDeadline);
  }
  for (int book = 0; book < 4; ++book) {
    // The only references are the actor's and its checkpoint's.
    rt.get(rt.remote<&Library::take_in>(library, rt.put(std::vector<int>(50'000, book))),
           kDeadline);
    rt.kill(library, kRestart);
    CHECK(rt.get(rt.remote<&Library::size>(library), kDeadline) ==
          100'000 * (static_cast<std::size_t>(book) + 1));
  }
  CHECK(rt.get(rt.remote<&Library::sum>(library), kDeadline) == 7);
}

TEST_CASE("a state that cannot be copied is restored from a reference, as often as it takes") {
  ray::Runtime rt({.num_cpus = 1});
  const auto matrix = rt.actor_with<Matrix>({.max_restarts = -1})();
  rt.get(rt.remote<&Matrix::fill>(matrix, 2.0), kDeadline);
  for (int restart = 0; restart < 3; ++restart) {
    rt.kill(matrix, kRestart);
    CHECK(rt.get(rt.remote<&Matrix::sum>(matrix), kDeadline) == 100'000.0);
  }
}

// --- many calls at once ---

namespace {

class Tally {
public:
  int add(int x) {
    const std::lock_guard lock(mutex_);
    seen_.push_back(x);
    return x;
  }
  std::vector<int> seen() const {
    const std::lock_guard lock(mutex_);
    return seen_;
  }
  std::vector<int> checkpoint() const { return seen(); }
  void restore(const std::vector<int>& seen) { seen_ = seen; }

private:
  mutable std::mutex mutex_;
  std::vector<int> seen_;
};

ray::Task<int> later(int x) { co_return x; }

class Waiter {
public:
  ray::Task<int> add(ray::ObjectRef<int> x) {
    sum_ += co_await x;
    co_return sum_;
  }
  int sum() const { return sum_; }
  int checkpoint() const { return sum_; }
  void restore(int sum) { sum_ = sum; }

private:
  int sum_ = 0;
};

}  // namespace

TEST_CASE("F32 after restarts the state has each call that was answered, once, and no other") {
  ray::Runtime rt({.num_cpus = 2});
  const int retries = GENERATE(0, -1);
  const auto tally = rt.actor_with<Tally>({.max_restarts = -1, .max_task_retries = retries})();
  std::vector<int> answered;
  int next = 0;
  for (int round = 0; round < probes::scaled(200); ++round) {
    std::vector<ray::ObjectRef<int>> refs;
    for (int i = 0; i < 20; ++i) refs.push_back(rt.remote<&Tally::add>(tally, next++));
    // Now and then a call that is just being run.
    if (round % 2 == 0)
      static_cast<void>(rt.try_get(refs[static_cast<std::size_t>(round % 20)], kDeadline));
    rt.kill(tally, kRestart);
    for (const auto& ref : refs) {
      const auto answer = rt.try_get(ref, kDeadline);
      if (answer.has_value()) answered.push_back(*answer);
    }
  }
  CHECK(rt.get(rt.remote<&Tally::seen>(tally), kDeadline) == answered);
  if (retries == -1) CHECK(answered.size() == static_cast<std::size_t>(next));
}

TEST_CASE("with calls at once each that was answered is in the newest checkpoint") {
  ray::Runtime rt({.num_cpus = 4});
  const auto tally = rt.actor_with<Tally>({.max_restarts = -1, .max_concurrency = 4})();
  std::vector<int> answered;
  for (int round = 0; round < probes::scaled(50); ++round) {
    std::vector<ray::ObjectRef<int>> refs;
    for (int i = 0; i < 20; ++i) refs.push_back(rt.remote<&Tally::add>(tally, 20 * round + i));
    rt.get(refs[static_cast<std::size_t>(round % 20)], kDeadline);
    rt.kill(tally, kRestart);
    for (int i = 0; i < 20; ++i) {
      if (rt.try_get(refs[static_cast<std::size_t>(i)], kDeadline).has_value()) {
        answered.push_back(20 * round + i);
      }
    }
  }
  const auto seen = rt.get(rt.remote<&Tally::seen>(tally), kDeadline);
  for (const int each : answered) {
    if (std::count(seen.begin(), seen.end(), each) != 1) FAIL_CHECK(each << " is not there once");
  }
}

TEST_CASE("coroutine methods are saved when they end") {
  ray::Runtime rt({.num_cpus = 2});
  const auto waiter = rt.actor_with<Waiter>({.max_restarts = -1})();
  int sum = 0;
  for (int round = 1; round <= 5; ++round) {
    sum += round;
    CHECK(rt.get(rt.remote<&Waiter::add>(waiter, rt.remote<later>(round)), kDeadline) == sum);
    rt.kill(waiter, kRestart);
    CHECK(rt.get(rt.remote<&Waiter::sum>(waiter), kDeadline) == sum);
  }
}

// --- what goes wrong ---

namespace {

struct Stubborn {
  int value = 0;
  int set(int x) { return value = x; }
  int get() const { return value; }
  int checkpoint() const {
    if (value == 13) throw std::runtime_error("not the thirteenth");
    return value;
  }
  void restore(int x) {
    if (x == 66) throw std::runtime_error("no way back");
    value = x;
  }
};

}  // namespace

TEST_CASE("a call whose state cannot be saved fails, and the next one saves it") {
  ray::Runtime rt({.num_cpus = 1});
  const auto stubborn = rt.actor_with<Stubborn>({.max_restarts = 2})();
  CHECK(rt.get(rt.remote<&Stubborn::set>(stubborn, 1), kDeadline) == 1);
  const std::string text = error_of<ray::Error>(rt.remote<&Stubborn::set>(stubborn, 13));
  CHECK_THAT(text, ContainsSubstring("not saved") && ContainsSubstring("checkpoint()") &&
                       ContainsSubstring("Stubborn") && ContainsSubstring("not the thirteenth"));
  CHECK(rt.get(rt.remote<&Stubborn::get>(stubborn), kDeadline) == 13);
  rt.kill(stubborn, kRestart);
  CHECK(rt.get(rt.remote<&Stubborn::get>(stubborn), kDeadline) == 1);
  CHECK(rt.get(rt.remote<&Stubborn::set>(stubborn, 14), kDeadline) == 14);
  rt.kill(stubborn, kRestart);
  CHECK(rt.get(rt.remote<&Stubborn::get>(stubborn), kDeadline) == 14);
}

TEST_CASE("an actor whose restore throws could not start") {
  ray::Runtime rt({.num_cpus = 1});
  const auto stubborn = rt.actor_with<Stubborn>({.max_restarts = 2})();
  CHECK(rt.get(rt.remote<&Stubborn::set>(stubborn, 66), kDeadline) == 66);
  rt.kill(stubborn, kRestart);
  CHECK_THAT(error_of<ray::ActorDiedError>(rt.remote<&Stubborn::get>(stubborn)),
             ContainsSubstring("restore()") && ContainsSubstring("no way back") &&
                 ContainsSubstring("after 2 restarts"));
}

TEST_CASE("checkpoint_every is checked, and that there is a checkpoint") {
  ray::Runtime rt({.num_cpus = 1});
  struct Plain {
    int one() const { return 1; }
  };
  CHECK_THAT(probes::complaint(
                 [&] { static_cast<void>(rt.actor_with<Account>({.checkpoint_every = -1})(1)); }),
             ContainsSubstring("ActorOptions::checkpoint_every = -1"));
  CHECK_THAT(probes::complaint(
                 [&] { static_cast<void>(rt.actor_with<Plain>({.checkpoint_every = 2})()); }),
             ContainsSubstring("checkpoint_every = 2") && ContainsSubstring("no checkpoint()"));
}

}  // namespace checkpoint_test
