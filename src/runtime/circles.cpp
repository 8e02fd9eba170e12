#include "runtime/circles.hpp"

#include <algorithm>

namespace ray::detail {

namespace {

constexpr std::size_t kCycleHopsMax = 256;
constexpr auto kLookEvery = std::chrono::milliseconds(250);
constexpr auto kLookFor = std::chrono::milliseconds(1);
constexpr std::size_t kEntriesPerLook = 1024;
constexpr std::size_t kBucketsPerLook = 65'536;

/// Calls `visit` with the keys of a part of a hash map, from a bucket on that goes round.
template <class Map, class F>
void for_some(const Map& map, std::size_t& cursor, F visit) {
  const std::size_t buckets = map.bucket_count();
  const std::size_t most = std::min(buckets, kBucketsPerLook);
  for (std::size_t seen = 0, n = 0; n < most && seen < kEntriesPerLook; ++n) {
    const std::size_t bucket = ++cursor % buckets;
    for (auto it = map.begin(bucket); it != map.end(bucket); ++it, ++seen) visit(it->first);
  }
}

bool stands_on(const ThreadContext& context, const Task* task) {
  for (const Frame* frame = context.frame; frame != nullptr; frame = frame->below) {
    if (frame->task == task) return true;
  }
  return false;
}

}  // namespace

bool pin_waiting(Task* task) noexcept {
  std::uint32_t missing = task->missing.load(std::memory_order_acquire);
  while (missing != 0) {
    if (task->missing.compare_exchange_weak(missing, missing + 1, std::memory_order_acq_rel)) {
      return true;
    }
  }
  return false;
}

void unpin(Task* task) noexcept {
  if (task->missing.fetch_sub(1, std::memory_order_acq_rel) == 1) make_ready(task);
}

CircleSearch::~CircleSearch() {
  for (Task* task : pinned_) unpin(task);
  for (Object* object : kept_) release(object);
}

Object* CircleSearch::awaited() {
  bool suspended = false;
  return awaited_by(coroutine_, suspended);
}

bool CircleSearch::stuck(Object* object) {
  if (object == nullptr || object->sealed() || free_.contains(object)) return false;
  Task* producer = producer_of(object);
  if (producer == nullptr || producer->has(kRemote)) return false;  // The node looks after those.
  if (++looked_ > kCycleHopsMax) return false;
  if (!path_.insert(object).second) return true;
  // Looked at again: a generator seals an item, and then waits for who reads it.
  const bool found = is_stuck(producer) && !object->sealed();
  path_.erase(object);
  if (!found) free_.insert(object);
  return found;
}

bool CircleSearch::is_stuck(Task* producer) {
  if (is_mine(producer)) return true;
  if (pin_waiting(producer)) {  // It has not begun: it waits for its arguments.
    pinned_.push_back(producer);
    std::vector<Object*> arguments;
    producer->ops->arguments(
        producer,
        [](void* all, Object* argument) {
          static_cast<std::vector<Object*>*>(all)->push_back(argument);
        },
        &arguments);
    return std::ranges::any_of(arguments, [this](Object* each) { return stuck(each); });
  }
  return waits_in_vain(producer) ||
         (producer->ops->kind == ObjectKind::actor_call && blocked_for_good(producer));
}

bool CircleSearch::waits_in_vain(const Task* begun) {
  if (is_mine(begun)) return true;
  for (const auto& [context, wait] : parts_.blocked) {
    if (!stands_on(*context, begun)) continue;
    if (std::ranges::any_of(wait.objects, [this](Object* each) { return stuck(each); })) {
      return true;
    }
  }
  bool suspended = false;
  return stuck(awaited_by(begun, suspended));
}

bool CircleSearch::blocked_for_good(Task* call) {
  const ActorBlockers blockers = actor_blockers(call);
  if (blockers.first != nullptr) {
    kept_.push_back(blockers.first);
    return is_stuck(blockers.first);
  }
  bool any = false;
  for (const Task* begun : blockers.begun) {
    bool suspended = false;
    if (!blockers.also_suspended) awaited_by(begun, suspended);
    if (suspended) continue;
    any = true;
    if (!waits_in_vain(begun)) return false;
  }
  return any;
}

bool CircleSearch::is_mine(const Task* task) const {
  return stack_ != nullptr ? stands_on(*stack_, task) : task == coroutine_;
}

Object* CircleSearch::awaited_by(const Task* task, bool& suspended) {
  const std::lock_guard lock(parts_.suspended_mutex);
  const auto asleep = parts_.suspended.find(const_cast<Task*>(task));
  suspended = asleep != parts_.suspended.end();
  if (!suspended) return nullptr;
  Object* awaited = asleep->second->awaited;
  if (awaited != nullptr) {
    retain(awaited);
    kept_.push_back(awaited);
  }
  return awaited;
}

void EngineParts::arm_circle_search() {
  if (circles_armed.load(std::memory_order_relaxed) ||
      circles_armed.exchange(true, std::memory_order_acq_rel)) {
    return;
  }
  timers.at(Clock::now() + kLookEvery, [this] { look_for_circles(); });
}

/// For circles that no wait has closed, but a call that came into line behind one; and for those of
/// co_await, which is too cheap to be looked after each time. A part of them at a time: timeouts
/// and the monitor wait for this thread.
void EngineParts::look_for_circles() {
  circles_armed.store(false, std::memory_order_seq_cst);  // Who waits from here on arms it again.
  const auto until = Clock::now() + kLookFor;
  std::vector<Task*> sleepers;  // Not kept: each is looked up again.
  {
    const std::lock_guard lock(suspended_mutex);
    for_some(suspended, circle_cursor, [&](Task* task) { sleepers.push_back(task); });
  }
  // One after the other: where one gives up, the others of its circle need not.
  for (std::size_t i = 0; i < sleepers.size() && Clock::now() < until; ++i) {
    CircleSearch search(*this, sleepers[i]);
    Object* awaited = nullptr;
    {
      const std::lock_guard lock(blocked_mutex);
      awaited = search.awaited();
      if (!search.stuck(awaited)) continue;
    }
    engine.end_circle(sleepers[i], awaited);
  }
  std::vector<ThreadContext*> threads;
  {
    const std::lock_guard lock(blocked_mutex);
    for_some(blocked, circle_cursor, [&](ThreadContext* context) { threads.push_back(context); });
  }
  for (std::size_t i = 0; i < threads.size() && Clock::now() < until + kLookFor; ++i) {
    CircleSearch search(*this, *threads[i]);
    const std::lock_guard lock(blocked_mutex);
    const auto wait = blocked.find(threads[i]);
    if (wait == blocked.end()) continue;
    for (Object* object : wait->second.objects) {
      if (!search.stuck(object)) continue;
      end_circle(wait->second, object);
      break;
    }
  }
  if (!sleepers.empty() || !threads.empty()) arm_circle_search();
}

std::string circle_message(Task* waits, Object* awaited) {
  const bool is_call = producer_of(awaited)->ops->kind == ObjectKind::actor_call;
  return "task '" + task_name(waits) + "' waits for '" + task_name(awaited) +
         "', which waits for it in turn; break the circle" +
         (is_call ? " (of an actor: by co_await, or a higher max_concurrency)" : "");
}

}  // namespace ray::detail
