// ref.future(): an object as a std::future, for code that speaks that. Not part of <ray/ray.hpp>,
// because <future> would double what that costs a user's file.
#pragma once

#include <future>
#include <memory>
#include <type_traits>
#include <utility>

#include <ray/object_ref.hpp>

namespace ray::detail {

template <class T>
struct FutureOf<ObjectRef<T>> {
  /// Threads: any. The promise is kept by whoever seals the object, or at once.
  static std::future<T> of(ObjectRef<T> ref) {
    Object* object = object_of(ref, "future");
    auto waiting = std::make_unique<Waiting>();
    waiting->ref = std::move(ref);
    std::future<T> future = waiting->promise.get_future();
    when_sealed(object, &Waiting::keep, waiting.release());
    return future;
  }

private:
  struct Waiting {
    std::promise<T> promise;
    ObjectRef<T> ref;

    static void keep(void* context) {
      const std::unique_ptr<Waiting> self(static_cast<Waiting*>(context));
      try {
        require_value(RefAccess::object(self->ref));
        if constexpr (std::is_void_v<T>) {
          self->promise.set_value();
        } else {
          self->promise.set_value(take_value(self->ref));
        }
      } catch (...) {
        self->promise.set_exception(std::current_exception());
      }
    }
  };
};

}  // namespace ray::detail
