// Objects: their values, who is told of them, and how long they stay.
#include <algorithm>

#include <ray/ids.hpp>

#include "runtime/node_state.hpp"
#include "task/failure_codec.hpp"

namespace ray::detail {

// --- values ---

bool Node::State::accept(ClientId from, const WireValue& value) {
  if (value.kind == WireValue::Kind::absent) {
    fault(from, "it sent a value without its bytes");
    return false;
  }
  if (value.kind == WireValue::Kind::stored && !store.is_reserved(from, value.place)) {
    fault(from, "it sent a value in a place that it was not given");
    return false;
  }
  return true;
}

void Node::State::discard(ClientId from, const WireValue& value) {
  if (value.kind != WireValue::Kind::stored || !store.is_reserved(from, value.place)) return;
  store.unreserve(from, value.place, now, store_actions);
}

void Node::State::seal(ClientId from, std::uint64_t id, WireValue&& value) {
  ObjectEntry* object = find_object(id);
  if (object == nullptr || object->state != ObjectState::pending) {
    discard(from, value);
    return;
  }
  if (value.kind == WireValue::Kind::stored && !store.is_reserved(from, value.place)) {
    // The same place twice in one message.
    fault(from, "it sent two values in one place");
    seal_failure(id, failure(ErrorCode::object_lost, "its worker broke the protocol"));
    return;
  }
  if (value.kind == WireValue::Kind::stored) {
    object->state = ObjectState::stored;
    object->size = value.place.size;
    store.seal(from, value.place, id);
  } else {
    object->state =
        value.kind == WireValue::Kind::failure ? ObjectState::failed : ObjectState::inlined;
    object->bytes = std::move(value.bytes);
  }
  object->contains = std::move(value.contains);
  // Copied, because holding may make objects known.
  const std::vector<std::uint64_t> contains = object->contains;
  for (const std::uint64_t inner : contains) hold(inner);
  sealed(id, *object);
}

void Node::State::seal_failure(std::uint64_t id, const Bytes& why) {
  ObjectEntry* object = find_object(id);
  if (object == nullptr || object->state != ObjectState::pending) return;
  object->state = ObjectState::failed;
  object->bytes = why;
  sealed(id, *object);
}

void Node::State::sealed(std::uint64_t id, ObjectEntry& object) {
  for (const ClientId client : std::exchange(object.watchers, {})) tell(client, id, object);
  for (const ClientId client : std::exchange(object.fetchers, {})) fetch(client, id, object);
  for (const TaskQueue::Woken& woken : queue.sealed(id)) {
    TaskEntry* entry = find_task(woken.task);
    if (entry == nullptr) continue;
    if (object.state == ObjectState::failed) {
      queue.forget(woken.task);
      failing.emplace_back(woken.task, failed_need(*entry, object.bytes));
    } else if (woken.complete) {
      became_ready(*entry);
    }
  }
}

// --- who is told ---

WireValue Node::State::shown(const ObjectEntry& object) {
  WireValue value;
  value.contains = object.contains;
  if (object.state == ObjectState::stored) {
    value.kind = WireValue::Kind::absent;
    value.place.size = object.size;
  } else {
    value.kind = object.state == ObjectState::failed ? WireValue::Kind::failure
                                                     : WireValue::Kind::inline_bytes;
    value.bytes = object.bytes;
  }
  return value;
}

void Node::State::tell(ClientId client, std::uint64_t id, const ObjectEntry& object) {
  send(client, message::Sealed{id, shown(object)});
}

void Node::State::watch(ClientId client, std::uint64_t id, ObjectEntry& object) {
  if (object.state != ObjectState::pending) {
    tell(client, id, object);
  } else if (std::find(object.watchers.begin(), object.watchers.end(), client) ==
             object.watchers.end()) {
    object.watchers.push_back(client);
  }
}

void Node::State::fetch(ClientId client, std::uint64_t id, ObjectEntry& object) {
  if (object.state == ObjectState::pending) {
    object.fetchers.push_back(client);
    if (client != kDriverClient) {
      waiting_fetches.insert({client, id});
      leases.lend(client, true);
      recall(client);  // It begins nothing until then: not even what makes the object.
      dispatch_needed = true;
    }
    return;
  }
  fetch_goes_on(client, id);
  if (!is_client(client)) return;
  if (object.state != ObjectState::stored) {
    send(client, message::Fetched{id, shown(object)});
  } else if (store.in_memory(id)) {
    store.pin(id, client);
    WireValue value = shown(object);
    value.kind = WireValue::Kind::stored;
    value.place = store.place(id);
    send(client, message::Fetched{id, std::move(value)});
  } else {
    fetchings[++bringing] = {client, id};
    // A fetch holds what it brings: whoever dropped the object meanwhile still gets an answer.
    hold(id);
    store.bring(bringing, {id}, true, now, store_actions);
  }
}

void Node::State::fetch_goes_on(ClientId client, std::uint64_t id) {
  if (waiting_fetches.erase({client, id}) == 0) return;
  const auto other = waiting_fetches.lower_bound({client, 0});
  if (other == waiting_fetches.end() || other->first != client) leases.lend(client, false);
}

// --- references ---

void Node::State::make_known(std::uint64_t id) {
  if (objects.contains(id) || actors.find(id) != nullptr) return;
  ObjectEntry& object = objects[id];
  object.state = ObjectState::failed;
  object.bytes = failure(ErrorCode::object_lost, "object " + hex_id(id) + " is gone: it was freed");
}

void Node::State::hold(std::uint64_t id) {
  make_known(id);
  references.hold(id);
}

void Node::State::release(std::uint64_t id) {
  if (references.release(id) == Left::none) unreferenced.push_back(id);
}

void Node::State::take(ClientId client, std::uint64_t id) {
  make_known(id);
  references.take(client, id);
}

void Node::State::free_unreferenced() {
  while (!unreferenced.empty()) {
    const std::uint64_t id = unreferenced.back();
    unreferenced.pop_back();
    if (references.count(id) != 0) continue;
    if (ActorEntry* actor = actors.find(id)) {
      unreferenced_actor(*actor);
    } else {
      free_object(id);
    }
  }
}

void Node::State::free_object(std::uint64_t id) {
  const auto found = objects.find(id);
  if (found == objects.end()) return;
  const ObjectEntry object = std::move(found->second);
  objects.erase(found);
  if (object.state == ObjectState::stored) store.remove(id, now, store_actions);
  for (const std::uint64_t inner : object.contains) release(inner);
  // Whoever waits without a reference is told that there is nothing to wait for.
  if (object.state == ObjectState::pending && !object.fetchers.empty()) {
    for (const ClientId client : object.fetchers) {
      message::Fetch again{id};
      handle(client, again);
    }
  }
  if (object.producer == 0) return;
  TaskEntry* maker = find_task(object.producer);
  if (maker == nullptr) return;
  if (maker->live_results != 0) --maker->live_results;
  if (maker->state != TaskState::kept || maker->live_results != 0 || maker->spec->creates) return;
  if (maker->heirs == 0) {
    forget_kept(object.producer);
  } else {
    kept_alone(*maker);
  }
}

// --- the store ---

void Node::State::do_store_actions() {
  for (StoreAction& action : std::exchange(store_actions, {})) {
    if (auto* make = std::get_if<store_action::MakeSegment>(&action)) {
      out->push_back(decision::MakeSegment{make->segment, make->size, make->writer});
    } else if (auto* drop = std::get_if<store_action::DropSegment>(&action)) {
      out->push_back(decision::DropSegment{drop->segment});
    } else if (auto* spill = std::get_if<store_action::Spill>(&action)) {
      out->push_back(decision::Spill{spill->object, spill->place});
    } else if (auto* restore = std::get_if<store_action::Restore>(&action)) {
      out->push_back(decision::Restore{restore->object, restore->handle, restore->place});
    } else if (auto* forget = std::get_if<store_action::DropSpill>(&action)) {
      out->push_back(decision::DropSpill{forget->handle});
    } else if (auto* granted = std::get_if<store_action::Granted>(&action)) {
      send(granted->client, message::Reserved{granted->request, granted->place, {}});
    } else if (auto* refused = std::get_if<store_action::Refused>(&action)) {
      send(refused->client,
           message::Reserved{refused->request, {}, no_room(refused->size, refused->why)});
    } else if (auto* ready = std::get_if<store_action::Brought>(&action)) {
      brought(ready->bringing);
    } else if (auto* failed = std::get_if<store_action::NotBrought>(&action)) {
      not_brought(*failed);
    } else if (auto* gone = std::get_if<store_action::Lost>(&action)) {
      lost(gone->object);
    }
  }
}

Bytes Node::State::no_room(std::uint64_t size, NoRoom why) const {
  const std::string asked = "no room for an object of " + std::to_string(size) + " bytes: ";
  const std::string store_words =
      "the object store (" + std::to_string(limits.store_bytes) + " bytes) ";
  switch (why) {
    case NoRoom::disk:
      return failure(ErrorCode::out_of_disk,
                     asked + store_words + "is full and nothing can be spilled to disk: " +
                         (disk_fault.empty() ? "it could not be written" : disk_fault));
    case NoRoom::no_segment:
      return failure(ErrorCode::object_store_full,
                     asked + "the system gives no shared memory" +
                         (memory_fault.empty() ? "" : ": " + memory_fault));
    case NoRoom::too_large:
      return failure(ErrorCode::object_store_full,
                     asked + store_words + "is smaller; give init a larger object_store_bytes");
    case NoRoom::lost:
      return failure(ErrorCode::object_lost, "the object is gone: it could not be read from disk");
    case NoRoom::full:
      break;
  }
  return failure(ErrorCode::object_store_full,
                 asked + store_words + "is full of objects that are in use; waited " +
                     std::to_string(limits.full_grace.count() / 1'000'000) +
                     " ms. What a get gave stays there for as long as a reference to it is held: "
                     "drop references sooner, or give init a larger object_store_bytes");
}

void Node::State::lost(std::uint64_t id) {
  ObjectEntry* object = find_object(id);
  if (object == nullptr || object->state != ObjectState::stored) return;
  for (const std::uint64_t inner : std::exchange(object->contains, {})) release(inner);
  object->state = ObjectState::pending;
  object->size = 0;
  if (object->producer != 0 && run_for_lost(object->producer)) return;
  seal_failure(id, failure(ErrorCode::object_lost,
                           "object " + hex_id(id) + " is gone: it could not be read from disk"));
}

}  // namespace ray::detail
