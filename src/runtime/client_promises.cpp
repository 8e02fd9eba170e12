// References of another runtime to what is not there yet: the node is told of an object under a
// name of its own, and gets the value when that has come. Nobody who submits waits for it.
#include <ray/error.hpp>

#include <ray/detail/records.hpp>

#include "runtime/failures.hpp"
#include "runtime/parts.hpp"

namespace ray::detail {

namespace {

/// Sends the value, on a thread of this runtime: whoever seals the object shall not wait for room.
struct Promised : Task {
  using Task::Task;
  Object* object = nullptr;  // Counted.
  std::uint64_t name = 0;
};

void keep(Task* task) {
  auto* promised = static_cast<Promised*>(task);
  // It is no task that anybody knows: inside it the thread is a driver of this runtime.
  current_context().frame->task = nullptr;
  current_context().engine->parts().client->keep_promise(promised->object, promised->name);
  release(task);
}

constexpr ObjectOps kPromisedOps = {
    .destroy =
        [](Object* object) noexcept {
          auto* promised = static_cast<Promised*>(object);
          release(promised->object);
          promised->~Promised();
          slab_free(object, sizeof(Promised));
        },
    .drop = [](Object*, std::uintptr_t) noexcept {},
    .value_offset = 0,
    .kind = ObjectKind::task,
    .retires = false,
    .leaf = false,
    .run = keep,
    .release_arguments = [](Task*) noexcept {},
    .arguments = [](Task*, void (*)(void*, Object*), void*) {},
    .name = []() -> std::string_view { return "promise"; },
    .seal_elements = nullptr,
    .codec = nullptr,
};

}  // namespace

std::uint64_t Client::promise(Object* object) {
  const auto [parent, index] = parts_.engine.next_identity();
  WireValue later;
  later.kind = WireValue::Kind::absent;
  auto* promised = ::new (slab_allocate(sizeof(Promised))) Promised(&kPromisedOps, 1);
  promised->engine = engine_index();
  promised->flags = kInternal | kNoCpu;
  promised->object = object;
  promised->name = child_id(parent, index);
  retain(object);
  const std::uint64_t name = promised->name;
  send(message::Put{.object = name, .value = std::move(later)});
  when_sealed(
      object,
      [](void* context) {
        auto* task = static_cast<Task*>(context);
        const EngineScope scope(task->engine);
        if (Engine* engine = scope.engine()) {
          engine->enqueue_errand(task);
        } else {
          release(task);  // Its runtime is gone.
        }
      },
      static_cast<Task*>(promised));
  return name;
}

void Client::keep_promise(Object* object, std::uint64_t name) {
  Aliases aliases(*this);
  aliases.add(name);
  WireValue value;
  const std::exception_ptr error = thrown_by([&] { value = encode_sealed(object, aliases); });
  if (error != nullptr) value = failed_value(error, "");
  send(message::Put{.object = name, .value = std::move(value)});
}

}  // namespace ray::detail
