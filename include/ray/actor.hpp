// Actors: objects with state that live in the runtime. actor<C>(args…) makes one, remote<&C::m>
// (handle, args…) calls it, and it ends when its last handle is gone and its calls are done.
#pragma once

#include <string_view>
#include <type_traits>
#include <typeinfo>
#include <utility>

#include <ray/detail/checkpoints.hpp>
#include <ray/detail/checks.hpp>
#include <ray/detail/submit.hpp>
#include <ray/ids.hpp>
#include <ray/options.hpp>

namespace ray {

template <class C>
class ActorHandle;

namespace detail {

struct HandleAccess {
  template <class C>
  static ActorCore* core(const ActorHandle<C>& handle) noexcept {
    return handle.core_;
  }
  template <class C>
  static ActorHandle<C> adopt(ActorCore* core) noexcept {
    ActorHandle<C> handle;
    handle.core_ = core;
    return handle;
  }
};

template <class T>
struct HandleTarget {
  static constexpr bool is_handle = false;
};
template <class C>
struct HandleTarget<ActorHandle<C>> {
  static constexpr bool is_handle = true;
  using type = C;
};

template <class C>
std::string_view actor_class_name() {
  return type_text<C>();
}
template <class C>
inline constexpr ActorClass actor_class_of{
    .name = &actor_class_name<C>,
    .destroy = [](void* object) noexcept { delete static_cast<C*>(object); },
    .type = &typeid(C),
    .checkpoint = checkpoint_ops<C>()};

[[noreturn]] void throw_empty_handle(const char* call);

}  // namespace detail

/// A counted name of an actor. Regular; may be passed to tasks and stored in objects. When the
/// last one is gone, the actor ends after the calls that were made (unless it is detached).
/// Lifetime: may outlive the runtime; calls then fail with ActorDiedError.
template <class C>
class ActorHandle {
public:
  ActorHandle() noexcept = default;
  ActorHandle(const ActorHandle& other) noexcept : core_(other.core_) {
    if (core_ != nullptr) detail::actor_retain_handle(core_);
  }
  ActorHandle(ActorHandle&& other) noexcept : core_(std::exchange(other.core_, nullptr)) {}
  ActorHandle& operator=(const ActorHandle& other) noexcept {
    ActorHandle copy(other);
    std::swap(core_, copy.core_);
    return *this;
  }
  ActorHandle& operator=(ActorHandle&& other) noexcept {
    ActorHandle moved(std::move(other));
    std::swap(core_, moved.core_);
    return *this;
  }
  ~ActorHandle() {
    if (core_ != nullptr) detail::actor_release_handle(core_);
  }

  explicit operator bool() const noexcept { return core_ != nullptr; }
  friend bool operator==(const ActorHandle& a, const ActorHandle& b) noexcept {
    return a.core_ == b.core_;
  }
  ActorId id() const noexcept {
    return core_ == nullptr ? ActorId{} : ActorId{detail::actor_id(core_)};
  }

private:
  friend struct detail::HandleAccess;
  detail::ActorCore* core_ = nullptr;
};

namespace detail {

template <class C>
struct Codec<ActorHandle<C>> {
  static void write(OutputArchive& out, const ActorHandle<C>& handle) {
    out.write_actor(HandleAccess::core(handle));
  }
  static void read(InputArchive& in, ActorHandle<C>& handle) {
    handle = HandleAccess::adopt<C>(in.read_actor(&actor_class_of<C>));
  }
};

/// `options`: MethodOptions or DefaultOptions.
template <auto M, class Options, class Handle, class... A>
auto submit_method(SourceSite site, const Options& options, Handle&& handle, A&&... arguments) {
  using Method = MemberSignature<std::remove_cvref_t<decltype(M)>>;
  using Target = HandleTarget<std::remove_cvref_t<Handle>>;
  static_assert(Method::known, "ray: this method's signature is not supported (volatile or &&?)");
  static_assert(Target::is_handle,
                "ray: the first argument of a remote method is the ActorHandle to call it on");
  if constexpr (Method::known && Target::is_handle) {
    using C = typename Target::type;
    constexpr bool belongs = std::is_base_of_v<typename Method::Class, C>;
    static_assert(belongs, "ray: this method belongs to another class than the actor's");
    using P = typename Method::Parameters;
    if constexpr (belongs && CheckCount<P::size, sizeof...(A)>::ok) {
      if constexpr (CheckAll<P, Types<A...>, std::index_sequence_for<A...>>::ok) {
        using R = typename RecordFor<ActorCall, MethodCall<M, C>, typename Method::Result, P,
                                     Types<A...>>::type;
        ActorCore* core = HandleAccess::core(handle);
        if (core == nullptr) throw_empty_handle("remote<&C::method>");
        const MethodOptions* given = nullptr;
        if constexpr (!std::is_same_v<Options, DefaultOptions>) given = &options;
        return submit_call_record<R>(core, site, given, std::forward<A>(arguments)...);
      } else {
        return refused<typename Method::Result>();
      }
    } else {
      return refused<typename Method::Result>();
    }
  }
}

template <class R, class... A>
auto submit_call_record(ActorCore* core, SourceSite site, const MethodOptions* options,
                        A&&... arguments) {
  const ActorScope scope(core);
  Engine* engine = scope.engine();
  if (engine == nullptr) [[unlikely]]
    refuse_after_fork();
  R* record = R::make(std::forward<A>(arguments)...);
  record->core = core;
  actor_retain(core);
  Unlaunched<R> guard{record};
  if (engine != nullptr) engine->adopt(record, site);
  actor_prepare(core, record, options);
  guard.record = nullptr;
  auto returned = record->returned();
  if (engine == nullptr) {  // The actor is dead, and the call will say so.
    actor_submit(core, record, true);
  } else {
    if (options != nullptr && options->timeout) engine->arm_timeout(record, *options->timeout);
    launch(*engine, record, core);
  }
  return returned;
}

/// The creation of a C with its arguments.
template <class C, class... S>
struct CreationOf final : Creation {
  union {
    Slots<S...> slots;
  };

  template <class... A>
  explicit CreationOf(std::pair<std::uint64_t, std::uint32_t> identity, A&&... arguments)
      : Creation(&ops, identity.first, identity.second),
        slots(std::in_place, std::forward<A>(arguments)...) {
    prepare();
  }
  CreationOf(InputArchive& in, Needs& needs) : Creation(&ops, 0, 0), slots(in, needs) { prepare(); }
  ~CreationOf() {}
  CreationOf(const CreationOf&) = delete;
  CreationOf& operator=(const CreationOf&) = delete;

  void prepare() {
    static_cast<void>(&type);  // Mentioned, it enters the function table.
    construct = &make_object;
    failed_argument = [](Creation* creation) {
      return static_cast<CreationOf*>(creation)->slots.failed();
    };
    cls = &actor_class_of<C>;
  }
  static ray::detail::Task* make_from(InputArchive& in, Needs& needs) {
    struct Memory {
      void* raw = allocate_record<CreationOf>();
      ~Memory() {
        if (raw != nullptr) free_record<CreationOf>(raw);
      }
    } memory;
    auto* creation = ::new (memory.raw) CreationOf(in, needs);
    memory.raw = nullptr;
    return creation;
  }
  static void write_arguments(OutputArchive& out, ray::detail::Task* task) {
    static_cast<CreationOf*>(task)->slots.apply(
        [&](const auto&... held) { (write_slot(out, held), ...); });
  }

  static void* make_object(Creation* creation, bool again) {
    return static_cast<CreationOf*>(creation)->slots.apply(
        [again](auto&... held) -> void* { return new C(argument_of(held, again)...); });
  }
  template <class Held>
  static decltype(auto) argument_of(Held& held, bool again) {
    if constexpr (Held::is_ref) {
      return held.hand_over(again);
    } else {
      using V = decltype(held.value);
      if constexpr (std::is_copy_constructible_v<V>) {
        return again ? V(held.value) : V(std::move(held.value));
      } else {
        return V(std::move(held.value));
      }
    }
  }
  static void destroy(Object* object) noexcept {
    auto* self = static_cast<CreationOf*>(object);
    if (TaskExtra* extra = self->extra.load(std::memory_order_relaxed)) free_extra(extra);
    self->~CreationOf();
    free_record<CreationOf>(self);
  }
  static void release_arguments(ray::detail::Task* task) noexcept {
    std::destroy_at(&static_cast<CreationOf*>(task)->slots);
  }
  static void arguments(ray::detail::Task* task, void (*visit)(void*, Object*), void* context) {
    static_cast<CreationOf*>(task)->slots.for_each_ref(
        [&](auto& held, std::size_t) { visit(context, held.object); });
  }
  inline static const RecordType type{typeid(CreationOf), &actor_class_name<C>, make_from};
  inline static constexpr ObjectCodec codec = {.write = nullptr,
                                               .read = nullptr,
                                               .results = 0,
                                               .write_arguments = write_arguments,
                                               .element = nullptr,
                                               .stream = nullptr,
                                               .type = &type};
  static constexpr ObjectOps ops = {
      .destroy = destroy,
      .drop = [](Object*, std::uintptr_t) noexcept {},
      .value_offset = 0,
      .kind = ObjectKind::task,
      .retires = false,
      .leaf = false,
      .run = actor_construct,
      .release_arguments = release_arguments,
      .arguments = arguments,
      .name = &actor_class_name<C>,
      .seal_elements = nullptr,
      .codec = &codec,
  };
};

/// How an argument of a constructor arrives: an ObjectRef as the value it names.
template <class A>
struct ConstructorArgument {
  using type = typename Kept<Unknown, A>::type;
};
template <class A>
requires is_object_ref<A>
struct ConstructorArgument<A> {
  using type = const RefValue<A>&;
};
/// A constructor that takes refs as they are wins over one that takes their values.
template <class C, class... A>
inline constexpr bool takes_refs = std::is_constructible_v<C, typename Kept<Unknown, A>::type...>;

template <class A>
struct RefItself {
  using type = ValueSlot<Unknown, typename Kept<Unknown, A>::type>;
};

template <class C, class... A>
ActorHandle<C> make_actor_of(Engine& engine, const ActorOptions& options, A&&... arguments) {
  constexpr bool passable = [&]<std::size_t... I>(std::index_sequence<I...>) {
    return (CheckPassable<I + 1, A>::ok && ...);
  }
  (std::index_sequence_for<A...>());
  constexpr bool as_refs = takes_refs<C, A...>;
  constexpr bool fits =
      as_refs || std::is_constructible_v<C, typename ConstructorArgument<A>::type...>;
  static_assert(
      fits || !passable,
      "ray: the actor's class cannot be constructed from these arguments (text arrives as "
      "a std::string, the object of an ObjectRef as const&)");
  if constexpr (passable && fits && CheckCheckpoint<C>::ok) {
    using Made = typename std::conditional_t<
        as_refs, std::type_identity<CreationOf<C, typename RefItself<A>::type...>>,
        std::type_identity<CreationOf<C, Slot<Unknown, A>...>>>::type;
    auto* creation =
        ::new (allocate_record<Made>()) Made(engine.next_identity(), std::forward<A>(arguments)...);
    bool existed = false;
    ActorCore* core = nullptr;
    try {
      core = make_actor(engine, &actor_class_of<C>, options, creation, &existed);
    } catch (...) {
      const Unlaunched<Made> guard{creation};
      throw;
    }
    ActorHandle<C> handle = HandleAccess::adopt<C>(core);
    if (existed) {
      const Unlaunched<Made> guard{creation};
    } else {
      // As launch() does it, but it may be dead already, and then nobody else keeps the creation.
      retain(creation);
      launch(engine, creation);
      release(creation);
    }
    return handle;
  } else {
    return {};
  }
}

}  // namespace detail

/// An actor class with options: `actor<C>.options({.name = "x"})(args…)`.
template <class C>
class ActorWithOptions {
public:
  explicit ActorWithOptions(ActorOptions options, detail::Engine* engine = nullptr)
      : options_(std::move(options)), engine_(engine) {}
  template <class... A>
  ActorHandle<C> operator()(A&&... arguments) const {
    return detail::make_actor_of<C>(engine_ != nullptr ? *engine_ : detail::Engine::current(),
                                    options_, std::forward<A>(arguments)...);
  }

private:
  ActorOptions options_;
  detail::Engine* engine_;
};

/// What `actor<C>` is. Calling it makes an actor at once; its constructor runs later, on a worker.
/// Arguments are values or ObjectRefs. Throws InvalidArgumentError for bad options.
template <class C>
class ActorClass {
public:
  [[nodiscard("ray: options(…) makes no actor yet: add (arguments…)")]] ActorWithOptions<C> options(
      ActorOptions options) const {
    return ActorWithOptions<C>(std::move(options));
  }
  template <class... A>
  [[nodiscard("ray: without a handle the actor ends at once")]] ActorHandle<C> operator()(
      A&&... arguments) const {
    return ActorWithOptions<C>(ActorOptions{})(std::forward<A>(arguments)...);
  }
};

template <class C>
inline constexpr ActorClass<C> actor{};

/// The actor of that name in this runtime. Throws InvalidArgumentError when there is none, or
/// it is of another class.
template <class C>
ActorHandle<C> get_actor(std::string_view name) {
  return detail::HandleAccess::adopt<C>(
      detail::find_actor(detail::Engine::current(), name, &detail::actor_class_of<C>));
}

/// Ends an actor at once: calls that have not ended fail with ActorDiedError; one that runs is
/// asked to stop and its result dropped. With no_restart = false it starts again if it has
/// restarts left (none unless ActorOptions::max_restarts is set), and only the calls that had begun
/// fail: those in line run on the new object. The object's destructor runs when no call is inside
/// any more.
template <class C>
void kill(const ActorHandle<C>& handle, KillOptions options = {}) {
  detail::ActorCore* core = detail::HandleAccess::core(handle);
  if (core == nullptr) detail::throw_empty_handle("kill");
  detail::actor_kill(core, options.no_restart);
}

}  // namespace ray

template <class C>
struct std::hash<ray::ActorHandle<C>> {
  std::size_t operator()(const ray::ActorHandle<C>& handle) const noexcept {
    return std::hash<ray::ActorId>()(handle.id());
  }
};
