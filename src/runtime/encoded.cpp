// Values that came as bytes: made by the first who asks, once.
#include <array>
#include <mutex>

#include <ray/detail/records.hpp>

#include "runtime/failures.hpp"
#include "runtime/parts.hpp"
#include "runtime/references.hpp"
#include "task/stored_layout.hpp"

namespace ray::detail {

namespace {

/// Held while a value is made. A type's own code runs under it, which may make another.
std::recursive_mutex& mutex_of(const Object* object) {
  static std::array<std::recursive_mutex, 64> all;
  return all[mix64(reinterpret_cast<std::uintptr_t>(object)) % all.size()];
}

Encoded*& encoded_in(Object* object) { return *static_cast<Encoded**>(object->value()); }

/// Changes the seal and leaves what stands beside it. release: publishes what lies in the place.
void reseal(Object* object, std::uintptr_t seal) {
  std::uintptr_t word = object->waiters.load(std::memory_order_relaxed);
  while (!object->waiters.compare_exchange_weak(word, (word & ~std::uintptr_t{kSealMask}) | seal,
                                                std::memory_order_release,
                                                std::memory_order_relaxed)) {
  }
}

}  // namespace

void read_wire_value(Client& client, const WireValue& value, std::shared_ptr<Pin> pin,
                     const std::function<void(InputArchive&)>& read) {
  Client::Aliases none(client);
  References references(client, none);
  if (value.kind == WireValue::Kind::inline_bytes) {
    InputArchive in(value.bytes, {}, &references);
    read(in);
  } else {
    std::shared_ptr<void> memory;
    const StoredView view = read_stored(client.channel().view(value.place, memory));
    if (pin != nullptr) pin->memory = std::move(memory);
    InputArchive in(view.archive, view.blocks, &references, std::move(pin));
    read(in);
  }
  client.flush();
}

bool decode_value(Object* object) {
  // What is not in memory is brought there first, and not under the lock: others may have to take
  // it before the answer can come.
  for (;;) {
    std::uint16_t index = 0;
    {
      const std::lock_guard lock(mutex_of(object));
      if (object->seal_state() != kEncoded) return object->seal_state() == kValue;
      const Encoded& encoded = *encoded_in(object);
      if (encoded.value.kind != WireValue::Kind::absent) break;
      index = encoded.engine;
    }
    Encoded fetched;
    fetched.engine = index;
    const std::exception_ptr error = thrown_by([&] {
      const EngineScope scope(index);
      if (scope.engine() == nullptr) {
        throw ObjectLostError("ray: object " + hex_id(object->task_id()) +
                              " was in the store of a runtime that has ended: get it before");
      }
      scope.engine()->parts().client->fetch(fetched, object->task_id());
    });
    const std::lock_guard lock(mutex_of(object));
    if (object->seal_state() != kEncoded) return object->seal_state() == kValue;
    if (error != nullptr) {
      delete encoded_in(object);
      store_failure(object, make_failure(error, ""));
      reseal(object, kFailed);
      return false;
    }
    *encoded_in(object) = std::move(fetched);
  }
  const std::lock_guard lock(mutex_of(object));
  if (object->seal_state() != kEncoded) return object->seal_state() == kValue;
  const std::unique_ptr<Encoded> encoded(encoded_in(object));
  const std::exception_ptr error = thrown_by([&] {
    const EngineScope scope(encoded->engine);
    if (scope.engine() == nullptr) {
      // References inside could not be followed, but plain values can still be read.
      InputArchive in(encoded->value.bytes);
      object->ops->codec->read(in, object);
      return;
    }
    read_wire_value(*scope.engine()->parts().client, encoded->value, encoded->pin,
                    [&](InputArchive& in) { object->ops->codec->read(in, object); });
  });
  if (error != nullptr) store_failure(object, make_failure(error, ""));
  reseal(object, error == nullptr ? kValue : kFailed);
  return error == nullptr;
}

void drop_encoded(Object* object) noexcept { delete encoded_in(object); }

}  // namespace ray::detail
