// A process as the node sees it: it submits tasks and holds references, whether it is the driver or
// a worker (docs/processes.md). Stands between an Engine and the messages.
//
// A record whose task was sent off stays as the placeholder of its result. The node says when the
// result is there, and the placeholder is sealed with the bytes; the first who asks for the value
// makes it.
#pragma once

#include <atomic>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <unordered_map>
#include <utility>
#include <vector>

#include <ray/options.hpp>
#include <ray/state.hpp>
#include <ray/task/archive.hpp>

#include "runtime/array_rooms.hpp"
#include "runtime/channel.hpp"

namespace ray::detail {

struct EngineParts;
struct ActorCall;
struct Creation;

/// The node's order to run a task here. In the task's extra.
struct Order {
  std::int32_t attempt = 0;
  std::string circle;  // Why its coroutine waits in vain; set before it is told.
};

/// Bytes in the store that this process may read until this ends.
class Pin {
public:
  Pin(std::uint16_t engine, std::uint64_t object) : engine_(engine), object_(object) {}
  ~Pin();
  Pin(const Pin&) = delete;
  Pin& operator=(const Pin&) = delete;

  std::shared_ptr<void> memory;  // In which they lie.

private:
  std::uint16_t engine_;
  std::uint64_t object_;
};

/// The value of an object sealed with kEncoded. Lies where the value will.
struct Encoded {
  WireValue value;
  std::uint16_t engine = 0;  // Whose client can fetch it.
  std::shared_ptr<Pin> pin;  // When stored.
};

class References;

/// Threads: any, unless said. Owns: its channel, and a thread that polls it while nobody waits.
class Client final : public Channel::Receiver {
public:
  /// Objects that were sent only for one value: given back at the end of this, when that is on its
  /// way or will never be.
  class Aliases {
  public:
    explicit Aliases(Client& client) : client_(client) {}
    ~Aliases() {
      for (const std::uint64_t id : ids_) client_.count_reference(id, -1);
    }
    Aliases(const Aliases&) = delete;
    Aliases& operator=(const Aliases&) = delete;
    void add(std::uint64_t id) { ids_.push_back(id); }

  private:
    Client& client_;
    std::vector<std::uint64_t> ids_;
  };
  /// A wait that the node knows of.
  struct Wait {
    Parker* parker = nullptr;
    std::uint64_t task = 0;
    std::atomic<bool> hopeless{false};  // Then `why` says why.
    std::string why;
  };

  explicit Client(EngineParts& parts);
  ~Client() override;

  /// Before anything else.
  void open(std::unique_ptr<Channel> channel, const message::Welcome& welcome, bool traced);
  /// Nothing comes any more.
  void close();
  Channel& channel() { return *channel_; }
  std::uint16_t engine_index() const;
  NodeId node_id() const noexcept { return NodeId{node_}; }
  /// This process's; none for the driver.
  WorkerId worker_id() const noexcept { return WorkerId{number_}; }
  /// What the node knows: `what` is kAskState or kAskNode. Throws Error.
  State ask_state(const char* what);
  std::string ask_text(const char* what);

  // --- what this process asks for (client.cpp, values: client_values.cpp) ---

  /// Takes over the runtime's reference. A task that cannot be sent fails with SerializationError.
  void submit(Task* task);
  void cancel(std::uint64_t task, CancelOptions options);
  /// References taken or given back: told before the next message, or soon.
  void count_reference(std::uint64_t id, std::int32_t change);
  /// A reference to an object that another process made; its seal is to be told.
  void want(std::uint64_t id);
  void unpin(std::uint64_t object);
  void flush();
  /// Brings an absent value into memory. Throws Error.
  void fetch(Encoded& encoded, std::uint64_t object);
  /// A value that was put, as `write` makes it of `value`: a large one goes to the store at once.
  /// False for a small one, which stays until it crosses, and for one that cannot cross.
  bool put(Object* object, const void* value, void (*write)(OutputArchive&, const void*));
  /// The reader of a stream took so many items in all.
  void consumed(Task* task, std::uint32_t items);
  /// Room for an array in the store, its first byte; `memory` keeps it mapped. Throws Error.
  std::byte* make_room(std::uint64_t bytes, std::shared_ptr<void>& memory);
  /// Its array goes; the room too, unless it became part of an object.
  void leave_room(const void* data);
  std::uint64_t inline_bytes() const noexcept { return inline_bytes_; }
  /// The id under which the node knows the object; it is sent there if it is not.
  std::uint64_t identify(Object* object, Aliases& aliases);

  // --- what comes from another runtime (client_promises.cpp) ---

  /// The name under which the node knows what is not there yet. The client holds a reference.
  std::uint64_t promise(Object* object);
  void keep_promise(Object* object, std::uint64_t name);

  // --- waiting (client_wait.cpp) ---

  /// Until `over`, or the deadline. Handles messages meanwhile, and runs nested tasks.
  template <class Over>
  void wait(Parker& parker, const Clock::time_point* deadline, const Over& over) {
    wait_until(parker, deadline, &over,
               [](const void* context) { return (*static_cast<const Over*>(context))(); });
  }
  /// Tells the node that the task that runs here waits for `count` of them; false if it is none of
  /// the node's.
  bool blocked(Wait& wait, Object* const* objects, std::size_t size, std::size_t count);
  void unblocked(Wait& wait);

  // --- actors (client_actors.cpp) ---

  /// See make_actor(): the creation is sent, and stays with its arguments unless that worked.
  ActorCore* make_actor(std::unique_ptr<ActorCore> core, Creation* creation, bool* existed);
  /// With a handle. `counted`: the node holds a reference of this client's for it already.
  ActorCore* adopt_actor(std::uint64_t id, const ActorClass* cls, const ActorOptions& options,
                         bool counted);
  ActorCore* find_actor(std::string_view name, const ActorClass* cls);
  void forget_actor(ActorCore* core);
  void kill_actor(ActorCore& core, bool no_restart);
  /// The end of a creation that has an order.
  void constructed(Creation* creation, const std::exception_ptr& error);

  // --- worker processes (client_work.cpp) ---

  /// An item of a generator that has an order; its value lies in its place. Throws
  /// SerializationError.
  void yielded(Task* task, Object* item, std::uint32_t number);
  /// The coroutine of a task with an order waits and holds no worker; `awaited`: for what, null
  /// for its reader.
  void suspended(Task* task, const Object* awaited);
  /// It need not wait any more: it goes on, or stands in line for that.
  void resumed(Task* task, bool goes_on);
  /// The end of a task that has an order. `seal`: how it ended; its value is in its place.
  void finished(Task* task, std::uintptr_t seal);
  void began(Task* task);
  /// Runs what the node sends until it says Exit.
  void work();
  /// There is something for the thread that is in work(); none if there is no such thread.
  void wake_worker();

  void receive(Message message) override;

private:
  struct Pending;
  enum class Rest : std::uint8_t { no, while_others_wait, until_rung };

  void wait_until(Parker& parker, const Clock::time_point* deadline, const void* over,
                  bool (*is_over)(const void*));
  void attend();
  void leave();
  void send(Message message);
  void background();
  void stir();
  void flush_changes();

  Message ask(std::uint64_t request, Message message);
  void answer(std::uint64_t request, Message message);
  std::uint64_t next_request() { return requests_.fetch_add(1) + 1; }
  /// Answers to Fetch name the object, not a request.
  static std::uint64_t fetch_key(std::uint64_t object) { return object | std::uint64_t{1} << 63; }
  Place reserve(std::uint64_t size);

  std::optional<Place> stored_in_place(const OutputArchive& archive);
  WireValue pack(const OutputArchive& archive, std::vector<std::uint64_t> contains,
                 bool borrowed = false);
  void unreserve(const WireValue& value);
  WireValue encode_value(Object* object, std::uint32_t part, Aliases& aliases);
  WireValue encode_sealed(Object* object, Aliases& aliases);
  void fill(TaskSpec& spec, Task* task, Aliases& aliases);

  void seal(std::uint64_t id, WireValue&& value);
  bool runs_tasks_here() const;
  bool nests_here() const;
  bool left_waits();
  std::uint64_t name_of_wait(const Object& object);
  bool has_nested();
  bool has_errand();
  void run_nested();
  void run(message::Run&& run);
  void refuse(const message::Run& run, const std::exception_ptr& error);
  void give_back_queue(bool asked);
  Task* make_task(message::Run& run);
  /// A task that runs here, counted for the caller; null if it does not.
  Task* find_running(std::uint64_t id);
  static void fill_call(TaskSpec& spec, const ActorCall& call);
  void host(message::Run&& run);
  void take_call(message::Run&& run);
  void start_call(message::Run&& run);
  void end_actors();
  std::shared_ptr<void> fetch_checkpoint(std::uint64_t id, const ActorClass& cls);
  std::uint64_t pack_checkpoint(Task* call, Boxed<WireValue>& into, Aliases& aliases);
  void send_done(message::Done&& done, std::uint64_t checkpoint);

  void on(message::ActorEnded&& ended);
  void on(message::Sealed&& sealed);
  void on(message::Reserved&& reserved);
  void on(message::Fetched&& fetched);
  void on(message::Answer&& text);
  void on(message::ActorFound&& found);
  void on(message::Item&& item);
  void on(message::Credit&& credit);
  void on(message::Deadlock&& deadlock);
  void on(message::Run&& run);
  void on(message::Recall&& recall);
  void on(message::CancelTask&& cancel);
  void on(message::Exit&& exit);
  /// What only a node is told.
  template <class Other>
  void on(Other&&) {}

  EngineParts& parts_;
  std::unique_ptr<Channel> channel_;
  std::uint64_t inline_bytes_ = 0;  // From it on a value goes to the store.
  ClientId number_ = kDriverClient;
  std::uint64_t node_ = 0;
  bool tells_sites_ = false;  // Where tasks are submitted, since tasks are recorded.

  std::mutex send_mutex_;  // Keeps messages in order. Guards the three lists.
  std::vector<std::pair<std::uint64_t, std::int32_t>> changes_;
  std::vector<std::uint64_t> wants_;
  std::vector<std::uint64_t> unpins_;
  std::atomic<bool> has_changes_{false};

  std::mutex introductions_mutex_;  // Of objects to the node: each once.

  std::mutex answers_mutex_;
  std::unordered_map<std::uint64_t, Pending*> pending_;  // Guarded by answers_mutex_.
  std::atomic<std::uint64_t> requests_{0};
  std::mutex fetch_mutex_;

  // Tasks of several results: how many are not sealed yet. Guarded by results_mutex_.
  std::mutex results_mutex_;
  std::unordered_map<std::uint64_t, std::pair<Task*, std::uint32_t>> several_;
  std::unordered_map<std::uint64_t, Task*> streams_;  // Generators that run elsewhere.

  // What a worker has to do. Guarded by work_mutex_.
  std::mutex work_mutex_;
  std::deque<message::Run> queue_;
  std::deque<message::Run> nested_;  // On top of the task that is blocked.
  std::unordered_map<std::uint64_t, Task*> running_;
  std::unordered_map<std::uint64_t, Wait*> waits_;  // By the task that waits.
  /// Of streams that were sent and have not begun.
  std::unordered_map<std::uint64_t, std::uint32_t> early_credits_;
  int away_ = 0;  // What tasks left behind waits, so often.
  bool exit_ = false;

  ArrayRooms rooms_;

  std::mutex actors_mutex_;
  std::unordered_map<std::uint64_t, ActorCore*> actors_;  // Guarded by actors_mutex_.

  std::mutex calls_mutex_;  // Keeps calls in order. Guards the two.
  ActorCore* hosted_ = nullptr;
  std::vector<message::Run> early_calls_;  // Came before their actor was made.

  std::mutex checkpoint_mutex_;        // An older checkpoint must not follow a newer one.
  std::uint64_t sent_checkpoint_ = 0;  // The newest's number.

  std::atomic<int> waiting_{0};
  std::atomic<std::uint64_t> waits_begun_{0};
  std::atomic<bool> stopping_{false};
  std::atomic<Rest> resting_{Rest::no};
  std::atomic<Parker*> background_parker_{nullptr};
  std::atomic<Parker*> worker_parker_{nullptr};  // Of the thread that is in work().
  std::thread background_;
};

/// Reads a value that lies in the message or in the store. `pin` keeps it there.
void read_wire_value(Client& client, const WireValue& value, std::shared_ptr<Pin> pin,
                     const std::function<void(InputArchive&)>& read);
/// Whether another task may run on top of this thread's stack.
bool room_on_stack(ThreadContext& context);

}  // namespace ray::detail
