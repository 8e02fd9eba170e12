// ActorPool: work handed to whichever of some actors is free.
#pragma once

#include <cstddef>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include <ray/actor.hpp>
#include <ray/objects.hpp>
#include <ray/remote.hpp>

namespace ray {

namespace detail {

/// One address for each type.
template <class T>
inline constexpr char type_tag = 0;

/// What a method M returns as an object, or R itself.
template <auto M>
using MethodValue = std::remove_cvref_t<typename MemberSignature<decltype(M)>::Result>;

[[noreturn]] void throw_pool_misuse(const char* why);
[[noreturn]] void throw_pool_dead(std::size_t died);

/// A ref of any type that knows which.
struct ErasedRef {
  std::shared_ptr<Object> object;
  const char* type = nullptr;

  template <class T>
  static ErasedRef of(ObjectRef<T> ref) {
    return {std::shared_ptr<Object>(RefAccess::give_up(ref), [](Object* o) { release(o); }),
            &type_tag<T>};
  }
  template <class T>
  ObjectRef<T> as() const {
    if (type != &type_tag<T>) {
      throw_pool_misuse("the next result is of another type than the one that was asked for");
    }
    retain(object.get());
    return RefAccess::adopt<T>(object.get());
  }
};

}  // namespace detail

/// A result whose type the reader names: `int x = pool.get_next();` or `.as<int>()`. Nothing is
/// fetched, and no failure thrown, before that.
class [[nodiscard]] PoolResult {
public:
  explicit PoolResult(detail::ErasedRef ref) : ref_(std::move(ref)) {}
  template <class T>
  T as() && {
    ObjectRef<T> ref = ref_.as<T>();
    ref_.object.reset();
    return get(std::move(ref));
  }
  template <class T>
  operator T() && {  // NOLINT: implicit, so that a plain variable can take it.
    return std::move(*this).template as<T>();
  }

private:
  detail::ErasedRef ref_;
};

/// Calls on a set of actors, one at a time on each. submit() queues a call; results come in order
/// (get_next) or as they are done (get_next_unordered); a failure comes out where its result would.
/// An actor that is dead for good gets no more calls and leaves the pool: the call that it did not
/// end fails, the others go to those that are left. When none is left each call that was submitted
/// fails with ActorDiedError. One that starts again (max_restarts) stays.
/// Threads: one at a time.
template <class C>
class ActorPool {
public:
  explicit ActorPool(std::vector<ActorHandle<C>> actors) : idle_(actors.begin(), actors.end()) {
    for (const auto& handle : actors) {
      if (!handle) detail::throw_pool_misuse("one of the actors' handles is empty");
    }
  }

  /// Calls the method with each element on some actor; results in the order of the range.
  template <auto M, class Range>
  std::vector<detail::MethodValue<M>> map(const Range& range) {
    return collect<M>(range, [this] { return next_in_order(); });
  }
  /// The same, results as they are done.
  template <auto M, class Range>
  std::vector<detail::MethodValue<M>> map_unordered(const Range& range) {
    return collect<M>(range, [this] { return next_done(); });
  }

  /// Queues a call of the method with these arguments.
  template <auto M, class... A>
  void submit(A&&... arguments) {
    auto call = [... kept = std::decay_t<A>(std::forward<A>(arguments))](
                    const ActorHandle<C>& actor) mutable {
      return detail::ErasedRef::of(remote<M>(actor, std::move(kept)...));
    };
    backlog_.push_back(std::make_shared<CallOf<decltype(call)>>(std::move(call)));
    start();
  }
  /// The oldest result. Throws InvalidArgumentError when there is none to come.
  PoolResult get_next() { return PoolResult(next_in_order()); }
  /// The first result that is done.
  PoolResult get_next_unordered() { return PoolResult(next_done()); }
  template <class T>
  T get_next() {
    return PoolResult(next_in_order()).as<T>();
  }
  template <class T>
  T get_next_unordered() {
    return PoolResult(next_done()).as<T>();
  }
  template <auto M>
  detail::MethodValue<M> get_next() {
    return get_next<detail::MethodValue<M>>();
  }
  template <auto M>
  detail::MethodValue<M> get_next_unordered() {
    return get_next_unordered<detail::MethodValue<M>>();
  }

  /// Whether a result is still to be fetched.
  [[nodiscard]] bool has_next() const noexcept { return !calls_.empty() || !backlog_.empty(); }
  /// Whether an actor is idle.
  [[nodiscard]] bool has_free() const noexcept {
    bool one_lives = false;
    for (const ActorHandle<C>& actor : idle_) one_lives = one_lives || lives(actor);
    return one_lives && backlog_.empty();
  }
  void push(ActorHandle<C> actor) {
    if (!actor) detail::throw_pool_misuse("the actor's handle is empty");
    idle_.push_back(std::move(actor));
    start();
  }
  /// Takes an idle actor out of the pool; none if all are busy.
  std::optional<ActorHandle<C>> pop_idle() {
    if (!backlog_.empty()) return std::nullopt;
    ActorHandle<C> actor = next_idle();
    return actor ? std::optional(std::move(actor)) : std::nullopt;
  }

private:
  struct Call {
    virtual ~Call() = default;
    virtual detail::ErasedRef operator()(const ActorHandle<C>& actor) = 0;
  };
  template <class F>
  struct CallOf final : Call {
    explicit CallOf(F f) : function(std::move(f)) {}
    detail::ErasedRef operator()(const ActorHandle<C>& actor) override { return function(actor); }
    F function;
  };
  struct Started {
    detail::ErasedRef ref;
    ActorHandle<C> actor;  // Empty once it is done and the actor is idle again.
  };

  static bool lives(const ActorHandle<C>& actor) noexcept {
    return !detail::actor_is_dead(detail::HandleAccess::core(actor));
  }
  /// Out of the idle ones, leaving the dead behind; empty when there is none.
  ActorHandle<C> next_idle() {
    while (!idle_.empty()) {
      ActorHandle<C> actor = std::move(idle_.front());
      idle_.erase(idle_.begin());
      if (lives(actor)) return actor;
      ++died_;
    }
    return {};
  }
  void start() {
    while (!backlog_.empty()) {
      ActorHandle<C> actor = next_idle();
      if (!actor) return;
      const std::shared_ptr<Call> call = std::move(backlog_.front());
      backlog_.erase(backlog_.begin());
      detail::ErasedRef ref = (*call)(actor);
      calls_.push_back({std::move(ref), std::move(actor)});
    }
  }
  /// Waits for one of the calls to be done and gives its actor the next.
  void advance() {
    std::vector<detail::Object*> running;
    for (const Started& call : calls_) {
      if (call.actor) running.push_back(call.ref.object.get());
    }
    if (running.empty()) fail_next();
    detail::Engine::wait_many(running.data(), running.size(), 1, false, nullptr);
    for (Started& call : calls_) {
      if (call.actor && call.ref.object->sealed()) {
        idle_.push_back(std::exchange(call.actor, ActorHandle<C>()));
      }
    }
    start();
  }
  /// No actor is there to run the next call.
  [[noreturn]] void fail_next() {
    if (died_ == 0) detail::throw_pool_misuse("it has no actor to run what was submitted");
    backlog_.erase(backlog_.begin());
    detail::throw_pool_dead(died_);
  }
  detail::ErasedRef take(std::size_t position) {
    Started call = std::move(calls_[position]);
    calls_.erase(calls_.begin() + static_cast<std::ptrdiff_t>(position));
    if (call.actor) idle_.push_back(std::move(call.actor));
    start();
    return std::move(call.ref);
  }
  void require_next() const {
    if (!has_next()) detail::throw_pool_misuse("there is no result to come; submit() first");
  }
  detail::ErasedRef next_in_order() {
    require_next();
    while (calls_.empty() || !calls_.front().ref.object->sealed()) advance();
    return take(0);
  }
  detail::ErasedRef next_done() {
    require_next();
    for (;;) {
      for (std::size_t i = 0; i < calls_.size(); ++i) {
        if (calls_[i].ref.object->sealed()) return take(i);
      }
      advance();
    }
  }
  template <auto M, class Range, class Next>
  std::vector<detail::MethodValue<M>> collect(const Range& range, Next next) {
    using T = detail::MethodValue<M>;
    if (has_next()) detail::throw_pool_misuse("map while results of submit() are not fetched");
    std::vector<T> results;
    try {
      for (const auto& element : range) submit<M>(element);
      while (has_next()) results.push_back(PoolResult(next()).template as<T>());
    } catch (...) {
      backlog_.clear();
      while (!calls_.empty()) next_done();
      throw;
    }
    return results;
  }

  std::vector<ActorHandle<C>> idle_;
  std::vector<Started> calls_;  // In the order in which they were submitted.
  std::vector<std::shared_ptr<Call>> backlog_;
  std::size_t died_ = 0;  // Actors that were taken out because they had.
};

}  // namespace ray
