// Tasks that yield items one after the other: who reads them is told at once, and gives credit.
#include <algorithm>

#include "runtime/node_state.hpp"

namespace ray::detail {

void Node::State::handle(ClientId from, message::Yielded& yielded) {
  if (!accept(from, yielded.value)) return;
  TaskEntry* entry = find_task(yielded.task);
  if (entry == nullptr || entry->worker != from || entry->decided || entry->stream == nullptr ||
      yielded.item < entry->stream->given) {
    // Of a task that was cancelled, or an item that an earlier attempt gave.
    discard(from, yielded.value);
    return;
  }
  StreamState& stream = *entry->stream;
  if (yielded.item > stream.given) {
    fault(from, "it left out an item of " + task_words(*entry));
    return;
  }
  const std::uint64_t id = child_id(~yielded.task, yielded.item);
  ++stream.given;
  if (!objects.contains(id)) objects[id].state = ObjectState::pending;
  if (is_client(stream.reader)) references.take(stream.reader, id);
  seal(from, id, std::move(yielded.value));
  send(stream.reader, message::Item{yielded.task, yielded.item, false, shown(objects.at(id))});
}

void Node::State::handle(ClientId from, message::Consumed& consumed) {
  TaskEntry* entry = find_task(consumed.task);
  if (entry == nullptr || entry->stream == nullptr || entry->stream->reader != from) return;
  entry->stream->consumed = std::max(entry->stream->consumed, consumed.items);
  if (!entry->decided && entry->at_worker()) {
    send(entry->worker, message::Credit{consumed.task, entry->stream->consumed});
  }
}

void Node::State::end_stream(ClientId from, TaskEntry& entry, WireValue&& end) {
  // An end has no value to speak of.
  discard(from, end);
  if (end.kind != WireValue::Kind::failure) end = WireValue{};
  const StreamState& stream = *entry.stream;
  send(stream.reader, message::Item{entry.spec->id(), stream.given, true, std::move(end)});
}

WireValue Node::State::cancelled_value(const TaskEntry& entry) const {
  return failed_value(failure(ErrorCode::task_cancelled,
                              task_words(entry) + " was cancelled: its parent ran again",
                              name_of(entry)));
}

void Node::State::forget_stream(TaskEntry& entry) {
  const auto read = streams.find(entry.stream->reader);
  if (read == streams.end()) return;
  read->second.erase(entry.spec->id());
  if (read->second.empty()) streams.erase(read);
}

}  // namespace ray::detail
