// The search for tasks that wait for one another in a circle (docs/concurrency.md, D3).
#pragma once

#include <unordered_set>
#include <vector>

#include "runtime/parts.hpp"

namespace ray::detail {

/// Whether an object can never come, because all that could bring it waits for it in turn.
///
/// A task that has begun is stuck if something is that its thread or its coroutine waits for; one
/// that has not, if one of its arguments is; an actor's call in line, if all the calls are that
/// keep it from going on. Stuck is also what the search comes back to, and the task that is about
/// to wait. No common snapshot is needed: who was seen to wait goes on waiting until what it waits
/// for comes, and that is stuck itself.
///
/// Gives up after 256 objects, and then calls nothing stuck.
class CircleSearch {
public:
  /// For a thread that is about to wait: all tasks on its stack wait.
  CircleSearch(EngineParts& parts, const ThreadContext& stack) : parts_(parts), stack_(&stack) {}
  /// For a coroutine that waits.
  CircleSearch(EngineParts& parts, const Task* coroutine) : parts_(parts), coroutine_(coroutine) {}
  /// Requires: blocked_mutex is not held, for what was kept may run now.
  ~CircleSearch();
  CircleSearch(const CircleSearch&) = delete;
  CircleSearch& operator=(const CircleSearch&) = delete;

  /// What the coroutine waits for, kept while the search lives; null if it does not any more.
  Object* awaited();
  /// Requires: blocked_mutex is held, so that threads that wait stay so.
  bool stuck(Object* object);

private:
  bool is_stuck(Task* producer);
  bool waits_in_vain(const Task* begun);
  bool blocked_for_good(Task* call);
  bool is_mine(const Task* task) const;
  /// What a suspended coroutine waits for; null if it is not suspended, or waits for its reader.
  Object* awaited_by(const Task* task, bool& suspended);

  EngineParts& parts_;
  const ThreadContext* stack_ = nullptr;
  const Task* coroutine_ = nullptr;
  std::unordered_set<const Object*> path_;
  std::unordered_set<const Object*> free_;  // Found not to be stuck.
  std::size_t looked_ = 0;
  std::vector<Task*> pinned_;
  std::vector<Object*> kept_;
};

/// What get and co_await throw then.
std::string circle_message(Task* waits, Object* awaited);

}  // namespace ray::detail
