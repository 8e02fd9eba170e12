#include "runtime/circles.hpp"

#include <algorithm>

namespace ray::detail {

namespace {

constexpr std::size_t kCycleHopsMax = 256;
constexpr auto kLookEvery = std::chrono::milliseconds(250);
constexpr std::size_t kSleepersPerLook = 1024;
constexpr std::size_t kThreadsPerLook = 64;

/// Calls `visit` for about `most` entries of a hash map, from a bucket on that goes round.
template <class Map, class F>
void for_some(const Map& map, std::size_t& cursor, std::size_t most, F visit) {
  const std::size_t buckets = map.bucket_count();
  for (std::size_t seen = 0, n = 0; n < buckets && seen < most; ++n) {
    const std::size_t bucket = ++cursor % buckets;
    for (auto it = map.begin(bucket); it != map.end(bucket); ++it, ++seen) {
      visit(it->first, it->second);
    }
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

bool CircleSearch::stuck(Object* object) {
  if (object == nullptr || object->sealed() || free_.contains(object)) return false;
  Task* producer = producer_of(object);
  if (producer == nullptr || ++looked_ > kCycleHopsMax) return false;
  if (!path_.insert(object).second) return true;
  const bool found = is_stuck(producer);
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
  if (blockers.creation != nullptr) {
    kept_.push_back(blockers.creation);
    return is_stuck(blockers.creation);
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
/// co_await, which is too cheap to be looked after each time.
void EngineParts::look_for_circles() {
  std::vector<std::pair<Task*, Object*>> sleepers;
  {
    const std::lock_guard lock(suspended_mutex);
    for_some(suspended, circle_cursor, kSleepersPerLook, [&](Task* task, CoroutineWaiter* waiter) {
      if (waiter->awaited == nullptr) return;
      retain(task);
      retain(waiter->awaited);
      sleepers.emplace_back(task, waiter->awaited);
    });
  }
  // One after the other: where one gives up, the others of its circle need not.
  for (const auto& [task, awaited] : sleepers) {
    bool circle = false;
    {
      CircleSearch search(*this, task);
      const std::lock_guard lock(blocked_mutex);
      circle = search.stuck(awaited);
    }
    if (circle) engine.end_circle(task, awaited);
    release(awaited);
    release(task);
  }
  std::vector<ThreadContext*> threads;
  {
    const std::lock_guard lock(blocked_mutex);
    for_some(blocked, circle_cursor, kThreadsPerLook,
             [&](ThreadContext* context, const Wait&) { threads.push_back(context); });
  }
  for (ThreadContext* context : threads) {
    CircleSearch search(*this, *context);
    const std::lock_guard lock(blocked_mutex);
    const auto wait = blocked.find(context);
    if (wait == blocked.end()) continue;
    for (Object* object : wait->second.objects) {
      if (!search.stuck(object)) continue;
      end_circle(wait->second, object);
      break;
    }
  }
  circles_armed.store(false, std::memory_order_release);
  if (!sleepers.empty() || !threads.empty()) arm_circle_search();
}

std::string circle_message(Task* waits, Object* awaited) {
  const bool is_call = producer_of(awaited)->ops->kind == ObjectKind::actor_call;
  return "task '" + task_name(waits) + "' waits for '" + task_name(awaited) +
         "', which waits for it in turn; break the circle" +
         (is_call ? " (of an actor: by co_await, or a higher max_concurrency)" : "");
}

}  // namespace ray::detail
