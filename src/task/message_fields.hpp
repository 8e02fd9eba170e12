// The fields of each message, in the order in which they are written (docs/wire.md). For walkers
// see wire.hpp. Fields that usually have their default values are left out: a number in front has a
// bit for each that is there.
#pragma once

#include <concepts>
#include <cstdint>
#include <type_traits>

#include "task/message_codec.hpp"

namespace ray::detail {

/// T, const or not.
template <class M, class T>
concept Either = std::same_as<std::remove_const_t<M>, T>;

inline constexpr ListRule kValuesRule{kValuesMax, 1, true};
inline constexpr ListRule kDemandRule{kDemandEntriesMax, 2, true};
inline constexpr ListRule kGroupsRule{kGroupsMax, 2, true};
inline constexpr ListRule kChangesRule{kIdsMax, 9, false};

/// The flags of fields: the i-th says whether the i-th condition holds.
template <class... Bool>
constexpr std::uint64_t flags_of(Bool... there) {
  std::uint64_t has = 0;
  unsigned bit = 0;
  ((has |= std::uint64_t{there} << bit++), ...);
  return has;
}
constexpr bool has_flag(std::uint64_t flags, unsigned bit) { return (flags >> bit & 1) != 0; }

/// A field that is a struct.
template <class Walker, class T>
void walk_inside(Walker& walker, const char* field, T& value) {
  walker.enter(field);
  walk(walker, value);
  walker.leave();
}

// --- what messages are made of ---

template <class Walker, Either<Place> T>
void walk(Walker& walker, T& place) {
  walker.count("segment", place.segment);
  walker.count("offset", place.offset);
  walker.count("size", place.size);
}

/// The kind, and from bit 2 on which of the fields are there.
inline std::uint64_t flags_of_value(const WireValue& value) {
  return static_cast<std::uint64_t>(value.kind) |
         flags_of(!value.bytes.empty(), value.place != Place{}, !value.contains.empty()) << 2;
}
template <class Walker, Either<WireValue> T>
void walk(Walker& walker, T& value) {
  const auto present = [&] { return flags_of_value(value); };
  const std::uint64_t has = walker.flags("kind", present, 5);
  if constexpr (!std::is_const_v<T>) value.kind = static_cast<WireValue::Kind>(has & 3);
  if (has_flag(has, 2)) walker.bytes("bytes", value.bytes, kMessageMax);
  if (has_flag(has, 3)) walk(walker, value.place);
  if (has_flag(has, 4)) walker.ids("contains", value.contains, kIdsMax);
  walker.check_flags("kind", has, present);
}
static_assert(static_cast<int>(WireValue::Kind::failure) == 3);

template <class Walker, class Values>
void walk_values(Walker& walker, Values& values) {
  walker.enter("values");
  walker.list("count", values, kValuesRule, [](Walker& each, auto& value) { walk(each, value); });
  walker.leave();
}

template <class Walker, Either<ActorSpec> T>
void walk(Walker& walker, T& spec) {
  const auto present = [&] {
    return flags_of(!spec.class_name.empty(), !spec.name.empty(), spec.max_restarts != 0,
                    spec.max_task_retries != 0, spec.max_concurrency != 0, spec.get_if_exists,
                    spec.detached, spec.has_checkpoint, spec.max_pending_calls != -1,
                    !spec.concurrency_groups.empty());
  };
  walker.id("class_id", spec.class_id);
  const std::uint64_t has = walker.flags("flags", present, 10);
  if (has_flag(has, 0)) walker.text("class_name", spec.class_name, kWireTextMax);
  if (has_flag(has, 1)) walker.text("name", spec.name, kNameMax);
  if (has_flag(has, 2)) walker.number("max_restarts", spec.max_restarts);
  if (has_flag(has, 3)) walker.number("max_task_retries", spec.max_task_retries);
  if (has_flag(has, 4)) walker.number("max_concurrency", spec.max_concurrency);
  walker.set(spec.get_if_exists, has_flag(has, 5));
  walker.set(spec.detached, has_flag(has, 6));
  walker.set(spec.has_checkpoint, has_flag(has, 7));
  if (has_flag(has, 8)) walker.number("max_pending_calls", spec.max_pending_calls);
  if (has_flag(has, 9)) walker.map("concurrency_groups", spec.concurrency_groups, kGroupsRule);
  walker.check_flags("flags", has, present);
}

template <class Walker, Either<TaskSpec> T>
void walk(Walker& walker, T& task) {
  const auto present = [&] {
    return flags_of(task.index != 0, task.demand.cpu != 0, flags_of_value(task.arguments) != 0,
                    !task.name.empty(), !task.needs.empty(), task.results != kOneResult,
                    task.max_retries != 0, task.kind != TaskKind::task, task.actor != 0,
                    task.group != 0, !task.demand.others.empty(), task.retry_exceptions,
                    task.backpressure != 0, !task.site.empty(), task.creates.has_value());
  };
  walker.id("parent", task.parent);
  walker.id("function", task.function);
  const std::uint64_t has = walker.flags("flags", present, 15);
  if (has_flag(has, 0)) walker.count("index", task.index);
  if (has_flag(has, 1)) walker.number("cpu", task.demand.cpu);
  if (has_flag(has, 2)) walk_inside(walker, "arguments", task.arguments);
  if (has_flag(has, 3)) walker.text("name", task.name, kNameMax);
  if (has_flag(has, 4)) walker.ids("needs", task.needs, kNeedsMax);
  if (has_flag(has, 5)) walker.count("results", task.results);
  if (has_flag(has, 6)) walker.number("max_retries", task.max_retries);
  if (has_flag(has, 7)) walker.choice("kind", task.kind, TaskKind::actor_call);
  if (has_flag(has, 8)) walker.id("actor", task.actor);
  if (has_flag(has, 9)) walker.count("group", task.group);
  if (has_flag(has, 10)) walker.map("demand", task.demand.others, kDemandRule);
  walker.set(task.retry_exceptions, has_flag(has, 11));
  if (has_flag(has, 12)) walker.number("backpressure", task.backpressure);
  if (has_flag(has, 13)) walker.text("site", task.site, kWireTextMax);
  if (has_flag(has, 14)) {
    if constexpr (!std::is_const_v<T>) task.creates.emplace();
    walk_inside(walker, "creates", *task.creates);
  }
  walker.check_flags("flags", has, present);
}

template <class Walker, class T>
void walk(Walker& walker, const Shared<T>& shared) {
  walk(walker, *shared);
}
template <class Walker, class T>
void walk(Walker& walker, Shared<T>& shared) {
  walk(walker, shared.edit());
}

// --- from a client to the node ---

template <class Walker, Either<message::Hello> T>
void walk(Walker& walker, T& hello) {
  walker.count("version", hello.version);
  walker.id("digest", hello.digest);
  walker.count("functions", hello.functions);
  walker.number("pid", hello.pid);
}

template <class Walker, Either<message::Submit> T>
void walk(Walker& walker, T& submit) {
  walk(walker, submit.task);
}

template <class T>
concept ObjectAndValue =
    Either<T, message::Put> || Either<T, message::Sealed> || Either<T, message::Fetched>;
template <class Walker, ObjectAndValue T>
void walk(Walker& walker, T& put) {
  walker.id("object", put.object);
  walk_inside(walker, "value", put.value);
}

template <class Walker, Either<message::Reserve> T>
void walk(Walker& walker, T& reserve) {
  walker.count("request", reserve.request);
  walker.count("size", reserve.size);
}

template <class Walker, Either<message::Unreserve> T>
void walk(Walker& walker, T& unreserve) {
  walk_inside(walker, "place", unreserve.place);
}

template <class Walker, Either<message::References> T>
void walk(Walker& walker, T& references) {
  walker.add_ids("changes", references.changes.size());
  walker.list("changes", references.changes, kChangesRule, [](Walker& each, auto& change) {
    each.id("changes", change.first);
    each.number("changes", change.second);
  });
}

template <class T>
concept OnlyObjects = Either<T, message::Want> || Either<T, message::Unpin>;
template <class Walker, OnlyObjects T>
void walk(Walker& walker, T& want) {
  walker.ids("objects", want.objects, kIdsMax);
}

template <class Walker, Either<message::Fetch> T>
void walk(Walker& walker, T& fetch) {
  walker.id("object", fetch.object);
}

template <class Walker, Either<message::Blocked> T>
void walk(Walker& walker, T& blocked) {
  walker.id("task", blocked.task);
  walker.ids("objects", blocked.objects, kIdsMax);
  walker.count("count", blocked.count);
  walker.flag("may_nest", blocked.may_nest);
}

template <class T>
concept OnlyTask =
    Either<T, message::Unblocked> || Either<T, message::Began> || Either<T, message::CancelTask>;
template <class Walker, OnlyTask T>
void walk(Walker& walker, T& unblocked) {
  walker.id("task", unblocked.task);
}

template <class Walker, Either<message::Suspended> T>
void walk(Walker& walker, T& suspended) {
  walker.id("task", suspended.task);
  walker.flag("suspended", suspended.suspended);
}

template <class Walker, Either<message::GiveBack> T>
void walk(Walker& walker, T& give_back) {
  walker.ids("tasks", give_back.tasks, kIdsMax);
}

template <class Walker, Either<message::Done> T>
void walk(Walker& walker, T& done) {
  const auto present = [&] {
    return flags_of(done.attempt != 0, !done.values.empty(), done.may_retry, done.has_checkpoint,
                    !done.checkpoint.empty());
  };
  walker.id("task", done.task);
  const std::uint64_t has = walker.flags("flags", present, 5);
  if (has_flag(has, 0)) walker.number("attempt", done.attempt);
  if (has_flag(has, 1)) walk_values(walker, done.values);
  walker.set(done.may_retry, has_flag(has, 2));
  walker.set(done.has_checkpoint, has_flag(has, 3));
  if (has_flag(has, 4)) walker.bytes("checkpoint", done.checkpoint, kMessageMax);
  walker.check_flags("flags", has, present);
}

template <class Walker, Either<message::Yielded> T>
void walk(Walker& walker, T& yielded) {
  walker.id("task", yielded.task);
  walker.count("item", yielded.item);
  walk_inside(walker, "value", yielded.value);
}

template <class T>
concept TaskAndItems = Either<T, message::Consumed> || Either<T, message::Credit>;
template <class Walker, TaskAndItems T>
void walk(Walker& walker, T& consumed) {
  walker.id("task", consumed.task);
  walker.count("items", consumed.items);
}

template <class Walker, Either<message::Cancel> T>
void walk(Walker& walker, T& cancel) {
  walker.id("task", cancel.task);
  walker.flag("force", cancel.force);
  walker.flag("recursive", cancel.recursive);
}

template <class Walker, Either<message::KillActor> T>
void walk(Walker& walker, T& kill) {
  walker.id("actor", kill.actor);
  walker.flag("no_restart", kill.no_restart);
}

template <class Walker, Either<message::FindActor> T>
void walk(Walker& walker, T& find) {
  walker.count("request", find.request);
  walker.text("name", find.name, kNameMax);
}

template <class Walker, Either<message::Ask> T>
void walk(Walker& walker, T& ask) {
  walker.count("request", ask.request);
  walker.text("what", ask.what, kNameMax);
}

template <class Walker, Either<message::SegmentMapped> T>
void walk(Walker& walker, T& mapped) {
  walker.count("segment", mapped.segment);
}

// --- from the node to a client ---

template <class Walker, Either<message::Welcome> T>
void walk(Walker& walker, T& welcome) {
  walker.count("client", welcome.client);
  walker.id("node", welcome.node);
  walker.count("inline_bytes", welcome.inline_bytes);
  walker.bytes("options", welcome.options, kMessageMax);
}

template <class Walker, Either<message::Run> T>
void walk(Walker& walker, T& run) {
  const auto present = [&] {
    return flags_of(run.attempt != 0, !run.values.empty(), run.nested, run.has_checkpoint,
                    !run.checkpoint.empty());
  };
  walk(walker, run.task);
  const std::uint64_t has = walker.flags("run_flags", present, 5);
  if (has_flag(has, 0)) walker.number("attempt", run.attempt);
  if (has_flag(has, 1)) walk_values(walker, run.values);
  walker.set(run.nested, has_flag(has, 2));
  walker.set(run.has_checkpoint, has_flag(has, 3));
  if (has_flag(has, 4)) walker.bytes("checkpoint", run.checkpoint, kMessageMax);
  walker.check_flags("run_flags", has, present);
}

template <class Walker, Either<message::Reserved> T>
void walk(Walker& walker, T& reserved) {
  walker.count("request", reserved.request);
  walk_inside(walker, "place", reserved.place);
  walker.bytes("failure", reserved.failure, kMessageMax);
}

template <class Walker, Either<message::Deadlock> T>
void walk(Walker& walker, T& deadlock) {
  walker.id("task", deadlock.task);
  walker.text("why", deadlock.why, kWireTextMax);
}

template <class T>
concept Empty = Either<T, message::Recall> || Either<T, message::Exit>;
template <class Walker, Empty T>
void walk(Walker&, T&) {}

template <class Walker, Either<message::Item> T>
void walk(Walker& walker, T& item) {
  walker.id("task", item.task);
  walker.count("item", item.item);
  walker.flag("last", item.last);
  walk_inside(walker, "value", item.value);
}

template <class Walker, Either<message::ActorFound> T>
void walk(Walker& walker, T& found) {
  walker.count("request", found.request);
  walker.id("actor", found.actor);
  walk_inside(walker, "spec", found.spec);
}

template <class Walker, Either<message::ActorEnded> T>
void walk(Walker& walker, T& ended) {
  walker.id("actor", ended.actor);
  walker.bytes("failure", ended.failure, kMessageMax);
}

template <class Walker, Either<message::Answer> T>
void walk(Walker& walker, T& answer) {
  walker.count("request", answer.request);
  walker.bytes("text", answer.text, kMessageMax);
}

}  // namespace ray::detail
