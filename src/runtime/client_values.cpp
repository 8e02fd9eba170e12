// Values on their way out: in a message where they are small, else in the store.
#include <algorithm>

#include <ray/error.hpp>

#include <ray/detail/records.hpp>

#include "runtime/client.hpp"
#include "runtime/failures.hpp"
#include "runtime/parts.hpp"
#include "runtime/references.hpp"
#include "runtime/shared_objects.hpp"
#include "task/stored_layout.hpp"
#include "task/wire.hpp"

namespace ray::detail {

namespace {

/// A larger piece of a value is not copied to learn its size.
constexpr std::uint64_t kLookedAt = 1024;

[[noreturn]] void rethrow_with(const SerializationError& error, const char* what, Object* task) {
  throw SerializationError(std::string(error.what()) + " (" + what + " of '" + task_name(task) +
                           "')");
}

}  // namespace

/// `borrowed`: its owner keeps the value, and the rooms that its arrays have.
WireValue Client::pack(const OutputArchive& archive, std::vector<std::uint64_t> contains,
                       bool borrowed) {
  if (contains.size() > kContainsMax) {
    throw SerializationError("ray: a value with " + std::to_string(contains.size()) +
                             " references cannot leave its process, at most " +
                             std::to_string(kContainsMax) + " can: nest them, some in each object");
  }
  WireValue value;
  value.contains = std::move(contains);
  if (archive.beside().empty() && archive.bytes().size() < inline_bytes_) {
    value.bytes = archive.bytes();
    return value;
  }
  std::vector<std::uint64_t> sizes;
  for (const auto& piece : archive.beside()) sizes.push_back(piece.size());
  value.kind = WireValue::Kind::stored;
  if (const auto place = borrowed ? std::nullopt : stored_in_place(archive)) {
    value.place = *place;
    return value;
  }
  value.place = reserve(stored_size(archive.bytes().size(), sizes));
  write_stored(channel_->writable(value.place).data(), archive.bytes(), archive.beside());
  return value;
}

/// It was not sent.
void Client::unreserve(const WireValue& value) {
  if (value.kind == WireValue::Kind::stored) send(message::Unreserve{value.place});
}

WireValue Client::encode_value(Object* object, std::uint32_t part, Aliases& aliases) {
  References references(*this, aliases);
  OutputArchive out(inline_bytes_, &references);
  try {
    object->ops->codec->write(out, object, part);
    return pack(out, references.take_contains());
  } catch (const SerializationError& error) {
    const Task* producer = producer_of(object);
    if (producer == nullptr) throw;
    rethrow_with(error, "a result", object);
  }
}

WireValue Client::encode_sealed(Object* object, Aliases& aliases) {
  if (has_value(object)) return encode_value(object, 0, aliases);
  return failed_value(*failure_of(object));
}

std::uint64_t Client::identify(Object* object, Aliases& aliases) {
  const std::uint16_t engine = parts_.engine.index();
  const std::uint64_t id = object->task_id();
  const Task* producer = producer_of(object);
  if (producer != nullptr && producer->has(kRemote) && producer->engine == engine &&
      (object->seal_state() != kFailed || is_shared(engine, id, object))) {
    return id;  // One that has failed without being entered was never sent.
  }
  if (producer == nullptr && is_shared(engine, id, object)) return id;
  if (!object->sealed()) {
    const std::uint64_t name = promise(object);
    aliases.add(name);
    return name;
  }
  // Of this process, or another runtime's.
  if (producer == nullptr && (object->waiters.load(std::memory_order_acquire) & kShared) == 0) {
    WireValue value = encode_sealed(object, aliases);
    // Nobody may name it before the node knows it; of two threads that come here at once one is
    // late.
    const std::lock_guard lock(introductions_mutex_);
    if (is_shared(engine, id, object)) {
      unreserve(value);
      return id;
    }
    send(message::Put{.object = id, .value = std::move(value)});
    enter_shared(engine, id, object);
    object->waiters.fetch_or(kShared, std::memory_order_acq_rel);
    return id;
  }
  const auto [parent, index] = parts_.engine.next_identity();
  const std::uint64_t alias = child_id(parent, index);
  send(message::Put{.object = alias, .value = encode_sealed(object, aliases)});
  aliases.add(alias);
  return alias;
}

bool Client::put(Object* object, const void* from, void (*write)(OutputArchive&, const void*)) {
  Aliases aliases(*this);
  References references(*this, aliases);
  WireValue value;
  try {
    // How large it is, and as a rule without copying much.
    OutputArchive out(std::min(kLookedAt, inline_bytes_), &references);
    write(out, from);
    std::uint64_t size = out.bytes().size();
    for (const auto& piece : out.beside()) size += piece.size();
    if (size < inline_bytes_) return false;
    if (std::ranges::any_of(out.beside(),
                            [&](const auto& piece) { return piece.size() < inline_bytes_; })) {
      out = OutputArchive(inline_bytes_, &references);
      write(out, from);
    }
    value = pack(out, references.take_contains(), from != object);
  } catch (const SerializationError&) {
    return false;  // It may never have to leave this process.
  }
  WireValue absent;
  absent.kind = WireValue::Kind::absent;
  absent.place.size = value.place.size;
  const std::uint64_t id = object->task_id();
  enter_shared(parts_.engine.index(), id, object);
  send(message::Put{.object = id, .value = std::move(value)});
  object->ops->drop(object, object->seal_state());
  ::new (object->value())
      Encoded*(new Encoded{.value = std::move(absent), .engine = parts_.engine.index(), .pin = {}});
  object->waiters.store(kEncoded | kShared, std::memory_order_release);
  return true;
}

void Client::fill(TaskSpec& spec, Task* task, Aliases& aliases) {
  const ObjectCodec& codec = *task->ops->codec;
  spec.parent = task->parent;
  spec.index = task->index;
  spec.function = codec.type->id;
  spec.results = codec.results;
  spec.demand.cpu = task->has(kNoCpu) ? 0 : kCpuUnit;
  spec.max_retries = TaskOptions{}.max_retries;
  spec.backpressure = TaskOptions{}.generator_backpressure;
  if (tells_sites_) spec.site = Events::site(task);
  if (const TaskExtra* extra = task->extra.load(std::memory_order_acquire)) {
    if (extra->has_demand) spec.demand = extra->demand;
    if (extra->retries_given) spec.max_retries = extra->max_retries;
    spec.retry_exceptions = extra->retry_exceptions;
    if (extra->backpressure > 0) spec.backpressure = extra->backpressure;
    if (!extra->name.empty()) spec.name = extra->name;
  }
  if (const std::string_view why = why_not_sent(*codec.type); !why.empty()) {
    throw UnknownFunctionError("ray: '" + task_name(task) +
                               "' cannot be called in another process: " + std::string(why));
  }
  struct Context {
    Client& client;
    TaskSpec& spec;
    Aliases& aliases;
  } context{*this, spec, aliases};
  try {
    task->ops->arguments(
        task,
        [](void* given, Object* argument) {
          auto& into = *static_cast<Context*>(given);
          into.spec.needs.push_back(into.client.identify(argument, into.aliases));
        },
        &context);
    References references(*this, aliases);
    OutputArchive out(inline_bytes_, &references);
    codec.write_arguments(out, task);
    spec.arguments = pack(out, references.take_contains());
  } catch (const SerializationError& error) {
    rethrow_with(error, "an argument", task);
  }
  if (task->ops->kind == ObjectKind::actor_call) fill_call(spec, *static_cast<ActorCall*>(task));
}

}  // namespace ray::detail
