// A node with what it decided, for tests that play its clients by hand.
#pragma once

#include <algorithm>
#include <map>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "runtime/node.hpp"
#include "task/failure_codec.hpp"

namespace probes {

using namespace ray::detail;
namespace message = ray::detail::message;
namespace decision = ray::detail::decision;

inline NodeLimits small_node(std::int64_t slots = 2, std::uint32_t prestart = 2) {
  NodeLimits limits;
  limits.total.cpu = slots * 10'000;
  limits.store_bytes = 1 << 20;
  limits.segment_bytes = 1 << 18;
  limits.workers_max = 16;
  limits.prestart = prestart;
  return limits;
}

inline Bytes bytes_of(const std::string& text) {
  Bytes bytes;
  for (const char character : text) bytes.push_back(static_cast<std::byte>(character));
  return bytes;
}
inline std::string text_of(const Bytes& bytes) {
  std::string text;
  for (const std::byte byte : bytes) text.push_back(static_cast<char>(byte));
  return text;
}
inline WireValue inlined(const std::string& text, std::vector<std::uint64_t> contains = {}) {
  WireValue value;
  value.bytes = bytes_of(text);
  value.contains = std::move(contains);
  return value;
}
inline WireValue stored(const Place& place) {
  WireValue value;
  value.kind = WireValue::Kind::stored;
  value.place = place;
  return value;
}
inline WireValue failed(const std::string& text) {
  FailureParts parts;
  parts.code = ray::ErrorCode::task;
  parts.text = text;
  WireValue value;
  value.kind = WireValue::Kind::failure;
  value.bytes = encode_failure(parts);
  return value;
}
/// The root of the driver's ids.
inline constexpr std::uint64_t kRoot = 0x1234'5678'9abc'def0ULL;

inline TaskSpec plain(std::uint32_t index, std::vector<std::uint64_t> needs = {},
                      std::uint64_t parent = kRoot) {
  TaskSpec spec;
  spec.parent = parent;
  spec.index = index;
  spec.function = 7;
  spec.demand.cpu = 10'000;
  spec.name = "t" + std::to_string(index);
  spec.needs = std::move(needs);
  return spec;
}
inline TaskSpec creation(std::uint32_t index, const std::string& name = {}) {
  TaskSpec spec = plain(index);
  spec.kind = TaskKind::actor_creation;
  spec.demand.cpu = 0;
  spec.name = "Counter";
  spec.creates.emplace();
  spec.creates->class_name = "Counter";
  spec.creates->name = name;
  return spec;
}
inline TaskSpec call(std::uint32_t index, std::uint64_t actor,
                     std::vector<std::uint64_t> needs = {}, std::uint64_t parent = kRoot) {
  TaskSpec spec = plain(index, std::move(needs), parent);
  spec.kind = TaskKind::actor_call;
  spec.demand.cpu = 0;
  spec.actor = actor;
  return spec;
}

struct NodeProbe {
  Node node;
  NodeTime now{1'000'000};
  std::vector<std::pair<ClientId, Message>> sent;  // And not looked at yet.
  std::vector<ClientId> starting;
  std::map<ClientId, std::string> killed;
  std::vector<decision::Spill> spills;
  std::vector<decision::Restore> restores;
  std::vector<std::uint32_t> segments;
  std::vector<std::uint32_t> dropped_segments;
  std::vector<std::uint64_t> dropped_spills;
  bool make_segments = true;

  explicit NodeProbe(NodeLimits limits = small_node()) : node(std::move(limits)) {
    message::Hello hello;
    hello.digest = 1;
    say(kDriverClient, hello);
  }

  void say(ClientId from, Message message) {
    Decisions decisions;
    node.receive(from, std::move(message), now, decisions);
    take(decisions);
  }
  void take(Decisions& decisions) {
    for (Decision& each : decisions) {
      if (auto* send = std::get_if<decision::Send>(&each)) {
        sent.emplace_back(send->to, std::move(send->message));
      } else if (auto* start = std::get_if<decision::StartWorker>(&each)) {
        starting.push_back(start->client);
      } else if (auto* kill = std::get_if<decision::KillWorker>(&each)) {
        killed[kill->client] = kill->why;
      } else if (auto* make = std::get_if<decision::MakeSegment>(&each)) {
        segments.push_back(make->segment);
      } else if (auto* drop = std::get_if<decision::DropSegment>(&each)) {
        dropped_segments.push_back(drop->segment);
      } else if (auto* spill = std::get_if<decision::Spill>(&each)) {
        spills.push_back(*spill);
      } else if (auto* restore = std::get_if<decision::Restore>(&each)) {
        restores.push_back(*restore);
      } else if (auto* forget = std::get_if<decision::DropSpill>(&each)) {
        dropped_spills.push_back(forget->handle);
      }
    }
    while (make_segments && !segments.empty()) {
      const std::uint32_t segment = segments.back();
      segments.pop_back();
      Decisions more;
      node.segment_made(segment, true, now, more);
      take(more);
    }
  }
  /// All workers that were started say Hello.
  void greet(std::uint64_t digest = 1) {
    for (const ClientId client : std::exchange(starting, {})) {
      message::Hello hello;
      hello.digest = digest;
      hello.pid = 1000 + client;
      say(client, hello);
    }
  }
  void end(ClientId client, const std::string& how = "was killed by SIGKILL") {
    Decisions decisions;
    node.worker_ended(client, how, now, decisions);
    take(decisions);
  }
  void pass(NodeTime time) {
    const NodeTime until = now + time;
    for (;;) {
      const auto deadline = node.deadline();
      now = deadline && *deadline < until ? std::max(now, *deadline) : until;
      Decisions decisions;
      node.tick(now, decisions);
      take(decisions);
      if (now >= until) return;
    }
  }
  /// The oldest message of this kind to this client; it is taken.
  template <class Kind>
  std::optional<Kind> next(ClientId to) {
    for (auto it = sent.begin(); it != sent.end(); ++it) {
      if (it->first != to || !std::holds_alternative<Kind>(it->second)) continue;
      Kind found = std::move(std::get<Kind>(it->second));
      sent.erase(it);
      return found;
    }
    return std::nullopt;
  }
  /// The oldest Run to anybody.
  std::optional<std::pair<ClientId, message::Run>> run() {
    for (auto it = sent.begin(); it != sent.end(); ++it) {
      if (!std::holds_alternative<message::Run>(it->second)) continue;
      std::pair<ClientId, message::Run> found(it->first,
                                              std::move(std::get<message::Run>(it->second)));
      sent.erase(it);
      return found;
    }
    return std::nullopt;
  }
  std::optional<message::Sealed> sealed(std::uint64_t object, ClientId to = kDriverClient) {
    for (auto it = sent.begin(); it != sent.end(); ++it) {
      auto* found = std::get_if<message::Sealed>(&it->second);
      if (it->first != to || found == nullptr || found->object != object) continue;
      message::Sealed taken = std::move(*found);
      sent.erase(it);
      return taken;
    }
    return std::nullopt;
  }
  std::uint64_t submit(TaskSpec spec, ClientId from = kDriverClient) {
    const std::uint64_t id = spec.id();
    say(from, message::Submit{std::move(spec)});
    return id;
  }
  void began(ClientId worker, std::uint64_t task) { say(worker, message::Began{task}); }
  void done(ClientId worker, std::uint64_t task, WireValue value, std::int32_t attempt = 0) {
    message::Done done;
    done.task = task;
    done.attempt = attempt;
    done.values.push_back(std::move(value));
    say(worker, std::move(done));
  }
  void drop(std::uint64_t id, ClientId from = kDriverClient, std::int32_t count = 1) {
    message::References references;
    references.changes.emplace_back(id, -count);
    say(from, std::move(references));
  }
  void take_reference(std::uint64_t id, ClientId from) {
    message::References references;
    references.changes.emplace_back(id, 1);
    say(from, std::move(references));
  }
  Place reserve(ClientId from, std::uint64_t size) {
    say(from, message::Reserve{++requests, size});
    const auto reserved = next<message::Reserved>(from);
    return reserved ? reserved->place : Place{};
  }
  std::uint64_t requests = 0;
};

inline message::Blocked waits_for(std::uint64_t task, std::vector<std::uint64_t> objects,
                                  bool may_nest = true) {
  const auto count = static_cast<std::uint32_t>(objects.size());
  return {task, std::move(objects), count, may_nest};
}

/// An actor that is alive.
inline std::uint64_t living_actor(NodeProbe& probe, std::uint32_t index, TaskSpec spec) {
  spec.index = index;
  const std::uint64_t id = probe.submit(std::move(spec));
  probe.greet();
  const auto run = probe.run();
  if (!run || run->second.task->id() != id) throw std::runtime_error("the actor was not created");
  probe.began(run->first, id);
  message::Done done;
  done.task = id;
  probe.say(run->first, done);
  return id;
}

/// The failure in a value; empty where it is none.
inline FailureParts failure_in(const std::optional<message::Sealed>& sealed) {
  if (!sealed || sealed->value.kind != WireValue::Kind::failure) return {};
  return decode_failure(sealed->value.bytes);
}

}  // namespace probes
