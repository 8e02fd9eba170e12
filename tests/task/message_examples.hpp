// One message of each type, as docs/wire.md shows their bytes.
#pragma once

#include <ray/error.hpp>

#include <string>
#include <utility>
#include <vector>

#include "task/failure_codec.hpp"
#include "task/message_codec.hpp"

namespace examples {

using namespace ray::detail;

inline Bytes bytes_of(std::string_view text) {
  const auto bytes = std::as_bytes(std::span(text));
  return {bytes.begin(), bytes.end()};
}

inline constexpr std::uint64_t kParent = 0x1111'1111'1111'1111;
inline constexpr std::uint64_t kTask = 0x2222'2222'2222'2222;
inline constexpr std::uint64_t kObject = 0x3333'3333'3333'3333;
inline constexpr std::uint64_t kOther = 0x4444'4444'4444'4444;
inline constexpr std::uint64_t kActor = 0x5555'5555'5555'5555;
inline constexpr std::uint64_t kFunction = 0x6666'6666'6666'6666;
inline constexpr std::uint64_t kClass = 0x7777'7777'7777'7777;
inline constexpr Place kPlace{3, 4096, 100'000};

inline WireValue inline_value(Bytes bytes) {
  return {WireValue::Kind::inline_bytes, bytes, {}, {}};
}
inline WireValue stored_value() { return {WireValue::Kind::stored, {}, kPlace, {kObject}}; }
inline WireValue absent_value() { return {WireValue::Kind::absent, {}, {0, 0, 100'000}, {}}; }
inline WireValue failed_value() { return {WireValue::Kind::failure, bytes_of("why"), {}, {}}; }
inline Bytes int_bytes() { return {std::byte{7}, std::byte{0}, std::byte{0}, std::byte{0}}; }

/// add(7, 7), of which the parent has started 299 others before.
inline TaskSpec small_task() {
  TaskSpec task;
  task.parent = kParent;
  task.function = kFunction;
  task.index = 299;
  task.demand.cpu = 10'000;
  task.max_retries = 3;
  task.name = "add";
  task.arguments = inline_value({int_bytes()});
  task.arguments.bytes.insert(task.arguments.bytes.end(), {std::byte{7}, {}, {}, {}});
  return task;
}

inline ActorSpec actor_spec() {
  ActorSpec spec;
  spec.class_id = kClass;
  spec.class_name = "Counter";
  spec.name = "hits";
  spec.get_if_exists = true;
  spec.detached = true;
  spec.max_restarts = -1;
  spec.max_task_retries = 2;
  spec.max_concurrency = 4;
  spec.concurrency_groups = {{"io", 2}, {"slow", 1}};
  spec.max_pending_calls = 1000;
  spec.checkpoint_every = 10;
  return spec;
}

/// Every field is there.
inline TaskSpec full_task() {
  TaskSpec task = small_task();
  task.kind = TaskKind::actor_creation;
  task.actor = kActor;
  task.group = 1;
  task.results = kStreamResults;
  task.demand.others = {{"GPU", 5'000}, {"memory", 1'000'000}};
  task.retry_exceptions = true;
  task.backpressure = 64;
  task.site = "main.cpp:12";
  task.arguments.contains = {kObject};
  task.needs = {kObject, kOther};
  task.creates = actor_spec();
  return task;
}

inline std::vector<std::pair<std::string, Message>> all() {
  using namespace message;
  return {
      {"Hello", Hello{kWireVersion, 0x8899'aabb'ccdd'eeff, 12, 4711}},
      {"Submit", Submit{small_task()}},
      {"Submit, every field", Submit{full_task()}},
      {"Put", Put{kObject, stored_value()}},
      {"Reserve", Reserve{5, 100'000}},
      {"Unreserve", Unreserve{kPlace}},
      {"References", References{{{kObject, 1}, {kOther, -2}}}},
      {"Want", Want{{kObject, kOther}}},
      {"Fetch", Fetch{kObject}},
      {"Unpin", Unpin{{kObject}}},
      {"Blocked", Blocked{kTask, {kObject, kOther}, 1, true}},
      {"Unblocked", Unblocked{kTask}},
      {"Began", Began{kTask}},
      {"Suspended", Suspended{kTask, true, kObject}},
      {"GiveBack", GiveBack{{kTask}}},
      {"Done", Done{kTask, 0, {inline_value(int_bytes())}, false, {}}},
      {"Done, every field",
       Done{kTask, 1, {stored_value(), failed_value()}, true, inline_value(bytes_of("state"))}},
      {"Yielded", Yielded{kTask, 8, inline_value(int_bytes())}},
      {"Consumed", Consumed{kTask, 9}},
      {"Cancel", Cancel{kTask, false, true}},
      {"KillActor", KillActor{kActor, true}},
      {"FindActor", FindActor{6, "hits"}},
      {"Ask", Ask{7, "status"}},
      {"SegmentMapped", SegmentMapped{3}},
      {"Welcome", Welcome{2, 0x0123'4567'89ab'cdef, 102'400, bytes_of("opts")}},
      {"Run", Run{small_task(), 0, false, {}, 0}},
      {"Run, every field", Run{full_task(), 2, true, {stored_value(), absent_value()}, kObject}},
      {"Sealed", Sealed{kObject, inline_value(int_bytes())}},
      {"Fetched", Fetched{kObject, stored_value()}},
      {"Reserved", Reserved{5, kPlace, {}}},
      {"CancelTask", CancelTask{kTask}},
      {"Deadlock", Deadlock{kTask, "it waits for itself"}},
      {"Recall", Recall{}},
      {"Item", Item{kTask, 8, true, failed_value()}},
      {"Credit", Credit{kTask, 9}},
      {"ActorFound", ActorFound{6, kActor, actor_spec()}},
      {"ActorEnded", ActorEnded{kActor, bytes_of("why")}},
      {"Answer", Answer{7, bytes_of("{}")}},
      {"Exit", Exit{}},
  };
}

inline FailureParts failure() {
  FailureParts parts;
  parts.code = ray::ErrorCode::task;
  parts.type = "Broken";
  parts.type_id = "6Broken";
  parts.text = "no luck";
  parts.payload = int_bytes();
  parts.trail = {"draw", "sum"};
  parts.trail_dropped = 0;
  parts.pid = 4711;
  return parts;
}

/// The archive and the blocks of an object in the store.
inline const Bytes kArchive = bytes_of("archive");
inline const std::vector<Bytes> kBlocks = {bytes_of("first"), bytes_of("second block")};

}  // namespace examples
