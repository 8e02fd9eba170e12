// Who reads what the node sends: whoever waits for something does it himself, so that a call there
// and back costs no thread switch. While nobody waits, a thread of the client's own looks: often
// while messages come, seldom after, and once all is quiet the node rings a bell for it.
#include <algorithm>

#include "runtime/client.hpp"
#include "runtime/parts.hpp"
#include "task/wire.hpp"

namespace ray::detail {

namespace {

constexpr auto kBetweenLooks = std::chrono::microseconds(200);
constexpr auto kBetweenWaits = std::chrono::milliseconds(1);  // Somebody waits, and then reads.
constexpr auto kLooksFor = std::chrono::milliseconds(20);
constexpr auto kWhileOthersWait = std::chrono::milliseconds(100);

}  // namespace

namespace {

/// Waits of this thread on one client that stand on top of one another (a message was handed on to
/// code that waits in turn): only one of them counts.
struct Attendance {
  const Client* client = nullptr;
  int depth = 0;
};
constinit thread_local Attendance attendance;

}  // namespace

void Client::attend() {
  waits_begun_.fetch_add(1, std::memory_order_relaxed);
  waiting_.fetch_add(1, std::memory_order_seq_cst);
  channel_->attend(true);
}

void Client::leave() {
  channel_->attend(false);
  // The other thread may have gone to sleep because this one read.
  if (waiting_.fetch_sub(1, std::memory_order_seq_cst) == 1 &&
      resting_.load(std::memory_order_seq_cst) == Rest::while_others_wait) {
    background_parker_.load(std::memory_order_acquire)->unpark();
  }
}

void Client::wait_until(Parker& parker, const Clock::time_point* deadline, const void* over,
                        bool (*is_over)(const void*)) {
  const Attendance outer = attendance;
  if (attendance.client != this) attendance = {this, 0};
  if (attendance.depth++ == 0) attend();
  flush();
  const auto spin = parts_.options.spin_us;
  auto spin_until = Clock::time_point::min();
  while (!is_over(over)) {
    if (has_nested()) {
      // It may run for long, and then somebody else has to read.
      const Attendance here = std::exchange(attendance, {});
      leave();
      run_nested();
      attend();
      attendance = here;
      continue;
    }
    if (channel_->poll()) {
      spin_until = Clock::time_point::min();
      continue;
    }
    const auto now = Clock::now();
    if (deadline != nullptr && now >= *deadline) break;
    if (spin_until == Clock::time_point::min()) spin_until = now + spin;
    if (now < spin_until) {
      __builtin_ia32_pause();
      continue;
    }
    flush();  // What has been read may have ended references.
    channel_->attend(false);
    channel_->sleep(parker, deadline);
    channel_->attend(true);
    spin_until = Clock::time_point::min();
  }
  if (--attendance.depth == 0) leave();
  attendance = outer;
}

void Client::stir() {
  if (resting_.load(std::memory_order_seq_cst) == Rest::until_rung) {
    background_parker_.load(std::memory_order_acquire)->unpark();
  }
}

void Client::background() {
  Parker& parker = Parker::mine();
  background_parker_.store(&parker, std::memory_order_release);
  thread_context.engine = &parts_.engine;
  auto busy = Clock::now();
  std::uint64_t begun = 0;
  while (!stopping_.load(std::memory_order_acquire)) {
    if (waiting_.load(std::memory_order_seq_cst) != 0) {
      // Of short waits, one after the other, none has to wake this thread at its end.
      if (std::exchange(begun, waits_begun_.load(std::memory_order_relaxed)) != begun) {
        busy = Clock::now();
      }
      if (const auto now = Clock::now(); now - busy < kLooksFor) {
        const auto until = now + kBetweenWaits;
        parker.park_until(&until);
        continue;
      }
      resting_.store(Rest::while_others_wait, std::memory_order_seq_cst);
      const auto until = Clock::now() + kWhileOthersWait;
      if (waiting_.load(std::memory_order_seq_cst) != 0) parker.park_until(&until);
      resting_.store(Rest::no, std::memory_order_seq_cst);
      if (waiting_.load(std::memory_order_seq_cst) == 0) busy = Clock::now();
      continue;
    }
    flush();
    if (channel_->poll()) {
      busy = Clock::now();
      continue;
    }
    const auto now = Clock::now();
    if (now - busy < kLooksFor) {
      const auto until = now + kBetweenLooks;
      parker.park_until(&until);
      continue;
    }
    resting_.store(Rest::until_rung, std::memory_order_seq_cst);
    if (!has_changes_.load(std::memory_order_seq_cst) &&
        !stopping_.load(std::memory_order_seq_cst)) {
      channel_->sleep(parker, nullptr);
      // The bell may have rung for somebody who began to wait meanwhile, and is silent now: what it
      // rang for is this thread's to read.
      while (channel_->poll()) {
      }
    }
    resting_.store(Rest::no, std::memory_order_seq_cst);
    busy = Clock::now();
  }
}

void Client::close() {
  if (channel_ == nullptr || !background_.joinable()) return;
  flush();
  channel_->shut_down();
  end_actors();
  stopping_.store(true, std::memory_order_seq_cst);
  while (background_parker_.load(std::memory_order_acquire) == nullptr) std::this_thread::yield();
  background_parker_.load()->unpark();
  background_.join();
}

Client::~Client() { close(); }

// --- tasks that wait ---

bool Client::blocked(Wait& wait, Object* const* objects, std::size_t size, std::size_t count) {
  const Task* task = thread_context.task();
  const TaskExtra* extra = task == nullptr ? nullptr : task->extra.load(std::memory_order_acquire);
  if (extra == nullptr || extra->order == nullptr) return left_waits();
  message::Blocked blocked;
  blocked.task = task->task_id();
  // Of more than a message holds some are named, if it needs all.
  const std::size_t named = size <= kIdsMax ? size : count == size ? kIdsMax : 0;
  blocked.count = static_cast<std::uint32_t>(std::min(count, named));
  blocked.may_nest = nests_here();
  for (std::size_t i = 0; i < named; ++i) blocked.objects.push_back(name_of_wait(*objects[i]));
  wait.task = blocked.task;
  {
    const std::lock_guard lock(work_mutex_);
    waits_[wait.task] = &wait;
  }
  give_back_queue(false);
  send(std::move(blocked));
  return true;
}

/// An item that has not come is not known to the node: its stream stands for it.
std::uint64_t Client::name_of_wait(const Object& object) {
  if (object.ops->kind == ObjectKind::cell) {
    const std::lock_guard lock(results_mutex_);
    if (streams_.contains(~object.parent)) return ~object.parent;
  }
  return object.task_id();
}

/// What the last task of a worker left behind (a destructor) waits on the thread that runs tasks:
/// meanwhile it is sent none.
bool Client::left_waits() {
  if (!runs_tasks_here() || hosted_ != nullptr) return false;
  {
    const std::lock_guard lock(work_mutex_);
    if (away_++ != 0) return true;
  }
  give_back_queue(false);
  send(message::Blocked{});
  return true;
}

void Client::unblocked(Wait& wait) {
  {
    const std::lock_guard lock(work_mutex_);
    waits_.erase(wait.task);
    if (wait.task == 0 && --away_ != 0) return;
  }
  send(message::Unblocked{wait.task});
}

void Client::on(message::Deadlock&& deadlock) {
  {
    const std::lock_guard lock(work_mutex_);
    if (const auto found = waits_.find(deadlock.task); found != waits_.end()) {
      found->second->why = std::move(deadlock.why);
      found->second->hopeless.store(true, std::memory_order_release);
      found->second->parker->unpark();
      return;
    }
  }
  Task* coroutine = find_running(deadlock.task);
  if (coroutine == nullptr) return;
  extra_of(coroutine).order->circle = std::move(deadlock.why);
  parts_.engine.end_circle(coroutine, nullptr);
  release(coroutine);
}

}  // namespace ray::detail
