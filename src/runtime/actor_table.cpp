#include "runtime/actor_table.hpp"

#include <algorithm>
#include <utility>

namespace ray::detail {

ActorEntry& ActorTable::add(std::uint64_t id, ActorSpec spec) {
  ActorEntry& actor = actors_[id];
  actor.id = id;
  actor.spec = std::move(spec);
  return actor;
}

ActorEntry* ActorTable::find(std::uint64_t id) {
  const auto found = actors_.find(id);
  return found == actors_.end() ? nullptr : &found->second;
}

void ActorTable::erase(std::uint64_t id) {
  if (ActorEntry* actor = find(id)) {
    drop_name(*actor);
    actors_.erase(id);
  }
}

std::vector<std::uint64_t> ActorTable::ids() const {
  std::vector<std::uint64_t> ids;
  for (const auto& [id, actor] : actors_) ids.push_back(id);
  std::sort(ids.begin(), ids.end());
  return ids;
}

ActorEntry* ActorTable::find_name(const std::string& name) {
  const auto found = names_.find(name);
  return found == names_.end() ? nullptr : find(found->second);
}

bool ActorTable::take_name(ActorEntry& actor) {
  actor.named = names_.try_emplace(actor.spec.name, actor.id).second;
  return actor.named;
}

void ActorTable::drop_name(ActorEntry& actor) {
  if (std::exchange(actor.named, false)) names_.erase(actor.spec.name);
}

void ActorTable::enter(ActorEntry& actor, std::uint64_t call, std::uint64_t caller, bool ready) {
  const std::uint64_t age = ++age_;
  const auto held = actor.held.find(caller);
  if (ready && held == actor.held.end()) {
    actor.line.emplace(age, call);
    calls_[call] = {actor.id, caller, age, Where::line, true};
  } else {
    actor.held[caller].emplace(age, call);
    calls_[call] = {actor.id, caller, age, Where::held, ready};
  }
}

void ActorTable::became_ready(std::uint64_t call) {
  const auto found = calls_.find(call);
  if (found == calls_.end()) return;
  found->second.ready = true;
  if (found->second.where == Where::held) {
    advance(actors_.at(found->second.actor), found->second.caller);
  }
}

void ActorTable::advance(ActorEntry& actor, std::uint64_t caller) {
  const auto held = actor.held.find(caller);
  if (held == actor.held.end()) return;
  auto& calls = held->second;
  while (!calls.empty()) {
    const auto [age, id] = *calls.begin();
    Call& call = calls_.at(id);
    if (!call.ready) return;
    calls.erase(calls.begin());
    actor.line.emplace(age, id);
    call.where = Where::line;
  }
  actor.held.erase(held);
}

std::optional<std::uint64_t> ActorTable::first(const ActorEntry& actor) const {
  if (actor.line.empty()) return std::nullopt;
  return actor.line.begin()->second;
}

void ActorTable::sent(ActorEntry& actor, std::uint64_t call) {
  Call& entry = calls_.at(call);
  actor.line.erase(entry.age);
  entry.where = Where::sent;
  ++actor.at_worker;
}

void ActorTable::began(std::uint64_t call) {
  if (const auto found = calls_.find(call); found != calls_.end()) {
    actors_.at(found->second.actor).begun.push_back(call);
  }
}

void ActorTable::put_back(ActorEntry& actor, std::uint64_t call) {
  std::erase(actor.begun, call);
  Call& entry = calls_.at(call);
  actor.line.emplace(entry.age, call);
  entry.where = Where::line;
  --actor.at_worker;
}

bool ActorTable::leave(std::uint64_t call) {
  const auto found = calls_.find(call);
  if (found == calls_.end()) return false;
  const Call entry = found->second;
  calls_.erase(found);
  ActorEntry* actor = find(entry.actor);
  if (actor == nullptr) return false;
  const std::size_t before = actor->line.size();
  if (entry.where == Where::sent) {
    --actor->at_worker;
    std::erase(actor->begun, call);
  } else if (entry.where == Where::line) {
    actor->line.erase(entry.age);
  } else if (const auto held = actor->held.find(entry.caller); held != actor->held.end()) {
    held->second.erase(entry.age);
    advance(*actor, entry.caller);
  }
  return actor->line.size() > before;
}

std::vector<std::uint64_t> ActorTable::unsent(const ActorEntry& actor) const {
  std::map<std::uint64_t, std::uint64_t> all = actor.line;
  for (const auto& [caller, calls] : actor.held) all.insert(calls.begin(), calls.end());
  std::vector<std::uint64_t> calls;
  for (const auto& [age, call] : all) calls.push_back(call);
  return calls;
}

std::optional<std::uint64_t> ActorTable::held_by(std::uint64_t call) const {
  const auto found = calls_.find(call);
  if (found == calls_.end() || found->second.where != Where::held) return std::nullopt;
  const auto& held = actors_.at(found->second.actor).held.at(found->second.caller);
  const std::uint64_t first = held.begin()->second;
  return first == call ? std::nullopt : std::optional(first);
}

}  // namespace ray::detail
