#include <ray/task/record.hpp>

#include <cxxabi.h>

#include <cstdio>
#include <cstdlib>
#include <thread>
#include <typeinfo>

namespace ray {

namespace detail {

void assertion_failed(const char* condition, const char* file, int line) noexcept {
  std::fprintf(stderr, "ray: internal error: assertion '%s' failed at %s:%d\n", condition, file,
               line);
  std::abort();
}

std::string hex_id(std::uint64_t value) {
  char text[17];
  std::snprintf(text, sizeof text, "%016llx", static_cast<unsigned long long>(value));
  return text;
}

namespace {

std::string demangle(const std::type_info& type) {
  int status = 0;
  char* text = abi::__cxa_demangle(type.name(), nullptr, nullptr, &status);
  std::string result = status == 0 && text != nullptr ? text : type.name();
  std::free(text);
  return result;
}

constexpr std::size_t kTextMax = std::size_t{64} << 10;  // Of an exception's text, when quoted.

}  // namespace

Described describe_parts(const std::exception_ptr& exception) {
  try {
    std::rethrow_exception(exception);
  } catch (const std::exception& e) {
    const char* what = e.what();
    std::string text = what != nullptr ? what : "";  // A user's type may have none.
    if (text.size() > kTextMax) text = text.substr(0, kTextMax) + "… (cut)";
    return {demangle(typeid(e)), std::move(text)};
  } catch (...) {
    const std::type_info* type = abi::__cxa_current_exception_type();
    return {type != nullptr ? demangle(*type) : "unknown type", ""};
  }
}

std::string describe(const std::exception_ptr& exception) {
  const Described parts = describe_parts(exception);
  return parts.text.empty() ? parts.type : parts.type + ": " + parts.text;
}

FailurePtr make_failure(std::exception_ptr exception, std::string_view task_name) {
  auto failure = std::make_shared<Failure>();
  failure->exception = std::move(exception);
  if (!task_name.empty()) failure->trail.emplace_back(task_name);
  return failure;
}

FailurePtr extend_failure(const FailurePtr& cause, std::string_view task_name) {
  auto failure = std::make_shared<Failure>(*cause);
  if (failure->trail.size() < kTrailMax) {
    failure->trail.emplace_back(task_name);
  } else {
    ++failure->trail_dropped;
  }
  return failure;
}

std::shared_ptr<const Error> to_error(const Failure& failure) {
  Described parts = describe_parts(failure.exception);
  std::string text =
      failure.trail.empty() ? "failed: " : "task '" + failure.trail[0] + "' failed: ";
  text += parts.text.empty() ? parts.type : parts.type + ": " + parts.text;
  try {
    std::rethrow_exception(failure.exception);
  } catch (const TaskError& e) {  // From another process; it names the task already.
    parts.type = e.type_name();
    if (failure.trail.empty() || (!e.trail().empty() && e.trail()[0] == failure.trail[0])) {
      text = e.what();
    }
  } catch (...) {
  }
  for (std::size_t i = 1; i < failure.trail.size(); ++i) {
    text += "\n  and so '" + failure.trail[i] + "', which takes its result, did not run";
  }
  if (failure.trail_dropped != 0) {
    text += "\n  and so did " + std::to_string(failure.trail_dropped) + " more tasks not run";
  }
  try {
    std::rethrow_exception(failure.exception);
  } catch (const TaskError&) {
  } catch (const Error& e) {
    return std::make_shared<Error>(failure.trail.empty() ? e.what() : text, e.code());
  } catch (...) {
  }
  return std::make_shared<TaskError>(text, parts.type, failure.trail, failure.exception);
}

namespace {

/// Objects that die while another one dies wait here: a chain of a million objects, each the last
/// holder of the next, must not recurse.
struct DestroyQueue {
  bool active = false;
  Object* head = nullptr;
};
constinit thread_local DestroyQueue destroy_queue;

void destroy_now(Object* object) noexcept {
  if ((object->waiters.load(std::memory_order_relaxed) & kShared) != 0) {
    forget_shared.load(std::memory_order_relaxed)(object);
  }
  object->ops->destroy(object);
}

}  // namespace

constinit std::atomic<void (*)(Object*) noexcept> forget_shared{nullptr};

void destroy_object(Object* object) noexcept {
  if (destroy_queue.active) {
    object->waiters.store(reinterpret_cast<std::uintptr_t>(destroy_queue.head) |
                              (object->waiters.load(std::memory_order_relaxed) << 48),
                          std::memory_order_relaxed);
    destroy_queue.head = object;
    return;
  }
  destroy_queue.active = true;
  destroy_now(object);
  while (destroy_queue.head != nullptr) {
    Object* next = destroy_queue.head;
    const std::uintptr_t word = next->waiters.load(std::memory_order_relaxed);
    destroy_queue.head = reinterpret_cast<Object*>(word & 0xffff'ffff'ffffULL);
    next->waiters.store(word >> 48, std::memory_order_relaxed);
    destroy_now(next);
  }
  destroy_queue.active = false;
}

void release_slow(Object* object, std::uint32_t count) noexcept {
  const bool retiring = retires(object);
  const std::uint32_t refs = object->refs.load(std::memory_order_acquire);
  if (refs == count) {
    destroy_object(object);
    return;
  }
  // 'All but the maker's weight are mine' is as good as having given them back: nobody else can
  // take a reference any more.
  if (!(retiring && refs == kRuntimeRef + count)) {
    const std::uint32_t before = object->refs.fetch_sub(count, std::memory_order_acq_rel);
    if (before == count) destroy_object(object);
    if (!retiring || before != kRuntimeRef + count) return;
  }
  // acq_rel: whoever comes second sees what the first has done.
  if ((object->waiters.load(std::memory_order_acquire) & ~std::uintptr_t{kSealMask}) == kRetired ||
      (object->waiters.fetch_or(kAbandoned, std::memory_order_acq_rel) & kRetired) != 0) {
    destroy_object(object);
  }
}

bool becomes_only_reference(const Object* object) noexcept {
  constexpr int kTries = 2000;
  for (int i = 0; i < kTries; ++i) {
    if (is_only_reference(object)) return true;
    std::this_thread::yield();
  }
  return false;
}

void store_failure(Object* object, FailurePtr failure) {
  ::new (object->value()) FailurePtr*(new FailurePtr(std::move(failure)));
}

const FailurePtr& stored_failure(Object* object) noexcept {
  return **static_cast<FailurePtr**>(object->value());
}

void drop_failure(Object* object) noexcept { delete *static_cast<FailurePtr**>(object->value()); }

}  // namespace detail

}  // namespace ray
