// The parts of a simulated world: its time and links, and the processes in it.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <queue>
#include <set>
#include <string>
#include <tuple>
#include <vector>

#include "runtime/node.hpp"
#include "sim/program.hpp"
#include "task/failure_codec.hpp"
#include "task/id_map.hpp"

namespace ray::sim {

using detail::Bytes;
using detail::ClientId;
using detail::Message;
using detail::NodeTime;
using detail::Place;
using detail::TaskSpec;
using detail::WireValue;

class World;

/// Values are numbers.
std::uint64_t number_in(const Bytes& bytes);
WireValue number_value(std::uint64_t number);
Bytes simple_failure(ErrorCode code, const std::string& text);

/// What a process knows of an object that it refers to.
struct Known {
  std::int32_t references = 0;
  bool sealed = false;
  bool fetching = false;
  bool fetched = false;  // `value` has a place, which is pinned.
  WireValue value;
};

/// A task on its way through its plan.
struct Frame : std::enable_shared_from_this<Frame> {
  enum class At : std::uint8_t { begin, items, steps, result, gather, compute, finish, save, end };
  TaskSpec spec;
  std::int32_t attempt = 0;
  std::vector<WireValue> inputs;
  std::uint64_t program = 0;
  Plan plan;
  At at = At::begin;
  std::size_t step = 0;
  std::uint32_t item = 0;  // Yielded so far, or read of the stream of this step.
  std::uint64_t value = 0;
  std::uint64_t items_value = 0;
  std::vector<std::uint64_t> ids;  // What each step made.
  std::size_t gathered = 0;
  std::uint32_t part = 0;     // Of the step whose results are being opened.
  std::uint64_t inner = 0;    // The object in the box that is being opened.
  std::uint64_t request = 0;  // For room; 0: none is open.
  Place place;                // The room that came.
  Bytes refused;              // Why it did not.
  Place result_place;         // That of the result, while room for the actor's state is asked for.
  Place state_place;
  std::uint64_t checkpoint = 0;  // From which a creation goes on.
  bool granted = false;
  bool blocked = false;
  bool stream_ended = false;           // The stream of this step.
  bool busy = false;                   // A timer will go on with it.
  bool asked = false;                  // For the actor of this step.
  std::optional<std::uint64_t> found;  // The answer; 0: there is none.
  std::uint64_t awaited = 0;           // Suspended: an object, or a stream. 0: it goes on.
  bool suspended = false;
  bool cancelled = false;
  std::string deadlock;
  Bytes failure;              // It has failed.
  bool throws_again = false;  // The failure asks for another attempt.
  Outcome opened;             // Of the result that is being opened.
};

/// A process: the driver or a worker.
class Process {
public:
  Process(World& world, ClientId id) : world_(world), id_(id) {}

  void receive(Message& message);
  void start_driver(Plan plan, std::uint64_t seed);
  void cancel_some(Random& random);
  void cancel_one(Random& random);

  ClientId id() const { return id_; }
  bool dead = false;   // It sends nothing more.
  bool exits = false;  // It was told to end in order.
  bool is_actor = false;
  std::uint64_t actor = 0;
  /// The driver has done all its steps and seen all results.
  bool finished() const { return stack_.empty(); }
  std::size_t held() const;  // References, by its own count.
  const Frame* top() const { return stack_.empty() ? nullptr : stack_.back().get(); }
  bool waits_for(std::uint64_t id) const {
    const auto known = known_.find(id);
    return known != known_.end() && !known->second.sealed;
  }

private:
  void on(detail::message::Run& run);
  void on(detail::message::Item& item);
  void on(detail::message::CancelTask& cancel);
  void on(const detail::message::Credit& credit);
  std::shared_ptr<Frame> begin(std::deque<detail::message::Run>& from);
  /// As far as it goes without waiting.
  void go_on();
  void go_on_beside();
  bool next_on_stack();
  /// False: it is dead now.
  bool survives(const Frame& frame);
  void later(Frame& frame, NodeTime time);
  std::vector<std::shared_ptr<Frame>> frames() const;
  /// It is an actor that runs several calls at a time, and has been made.
  bool runs_beside() const { return is_actor && together_ > 1 && stack_.empty(); }
  void suspend(Frame& frame, std::uint64_t awaited);
  void resume_suspended();
  bool advance(Frame& frame);
  bool advance_begin(Frame& frame);
  bool advance_items(Frame& frame);
  bool advance_step(Frame& frame);
  bool advance_gather(Frame& frame);
  bool advance_compute(Frame& frame);
  bool advance_save(Frame& frame);
  /// False: it waits for the checkpoint, or it has failed.
  bool restore(Frame& frame);
  /// Whether the actor's state is to be saved with the end of this call.
  bool saves(const Frame& frame) const;
  void save(Frame& frame, detail::message::Done& done);
  bool read_stream(Frame& frame);
  bool ask_for_actor(Frame& frame, const Step& step);
  bool open_parts(Frame& frame, std::size_t step);
  static std::uint64_t object_of(const Frame& frame, std::size_t step, std::uint32_t part);
  void submit(Frame& frame, const Step& step);
  void end(Frame& frame);
  void fail(Frame& frame, Bytes failure) {
    frame.failure = std::move(failure);
    frame.at = Frame::At::end;
  }
  /// The value of an object, if it is here; else it is asked for.
  const WireValue* obtain(std::uint64_t id);
  /// Blocks the frame unless all are sealed.
  bool all_sealed(Frame& frame, const std::vector<std::uint64_t>& ids);
  void unblock(Frame& frame);
  void give_back_queue();
  /// Opens a result: its value and what is in its box. False: it waits, or it has failed.
  bool open(Frame& frame, std::uint64_t id, Outcome& outcome);
  /// Reads a value that obtain() gave, and unpins it.
  std::uint64_t read(std::uint64_t id);
  /// False: there is no room yet, or none at all; then the frame has failed.
  bool reserve(Frame& frame);
  void take(std::uint64_t id);
  void drop(std::uint64_t id);
  void known_new(std::uint64_t id);
  bool is_driver() const { return id_ == detail::kDriverClient; }
  void send(Message message);
  /// The driver's: whether a result is what it must be.
  void check(std::size_t step, std::uint32_t part, const Outcome& outcome, const Bytes& failure);

  World& world_;
  ClientId id_;
  std::deque<detail::message::Run> queue_;
  std::deque<detail::message::Run> nested_;
  std::vector<std::shared_ptr<Frame>> stack_;
  std::vector<std::shared_ptr<Frame>> beside_;  // Suspended ones; an actor's calls.
  std::deque<std::shared_ptr<Frame>> resumed_;  // They go on when there is nothing else to do.
  std::size_t together_ = 1;                    // An actor's: calls at a time.
  std::map<std::uint64_t, Known> known_;
  std::map<std::uint64_t, std::deque<detail::message::Item>> items_;
  std::map<std::uint64_t, std::uint32_t> credits_;  // Items that the readers of its streams took.
  std::map<std::uint64_t, int> left_streams_;       // Whose reader has ended; ends to come.
  std::map<std::uint64_t, std::pair<std::uint32_t, std::int32_t>> last_call_;  // By caller.
  std::set<std::uint64_t> dropped_;  // Results that the driver does not look at.
  std::uint64_t requests_ = 0;
  std::uint64_t calls_ = 0;  // An actor's state: the calls that it has answered.
  std::uint64_t unsaved_ = 0;
  std::uint64_t checkpoint_every_ = 0;
  Evaluation expected_;  // The driver's.
};

class World {
public:
  explicit World(const SimOptions& given);

  SimReport run();

  // --- for processes ---
  void send(ClientId from, Message message);
  void after(NodeTime time, std::function<void()> what);
  void crash(ClientId client, const std::string& how);
  void wrong(const std::string& what);
  void write(const Place& place, std::uint64_t value);
  std::uint64_t read(const Place& place);
  void began(const TaskSpec& spec, std::int32_t attempt);
  void restored(std::uint64_t actor, std::uint64_t calls, bool anew);
  void sealed(std::uint64_t object, const WireValue& value);
  /// It comes to the node once more, later.
  void echo(ClientId from, const detail::message::Done& done);
  bool allowed(const Bytes& failure) const;
  /// Whether actors may end before their last handle.
  bool actors_die() const;
  void cancelled(const Process& driver, std::vector<std::uint64_t> objects);
  void count(const std::string& what) { ++report.counts[what]; }

  SimOptions options;
  Random random;
  NodeTime now{0};
  SimReport report;
  bool cancelled_any = false;
  bool killed_any = false;
  bool memory_any = false;
  bool forced_any = false;
  bool deadlocks = false;

private:
  struct Event {
    NodeTime time;
    std::uint64_t number;
    std::function<void()> what;
    bool operator<(const Event& other) const {
      return std::tie(other.time, other.number) < std::tie(time, number);
    }
  };
  void decide(detail::Decisions& decisions);
  void carry_out(detail::Decision& decision);
  void deliver(ClientId from, const std::shared_ptr<Message>& message);
  void note(std::uint64_t what, std::uint64_t who);
  void trace(ClientId client, const char* direction, const std::string& words) const;
  void arm_tick();
  void arm_storm();
  void check_end();
  std::string workers_in_words() const;
  NodeTime latency();

  detail::NodeLimits limits_;
  detail::Node node_;
  std::priority_queue<Event> events_;
  std::uint64_t event_number_ = 0;
  std::map<ClientId, std::unique_ptr<Process>> processes_;
  std::map<ClientId, NodeTime> last_to_;  // Links keep their order.
  std::map<ClientId, NodeTime> last_from_;
  std::map<std::pair<std::uint32_t, std::uint64_t>, std::uint64_t> memory_;
  std::set<std::uint32_t> segments_;
  std::map<std::uint64_t, std::uint64_t> disk_;  // By handle.
  std::uint64_t handles_ = 0;
  std::map<std::uint64_t, std::uint64_t> begun_;  // How often, by task.
  std::set<std::pair<std::uint64_t, std::int32_t>> attempts_;
  std::map<std::uint64_t, std::uint64_t> sent_;   // Runs of a task.
  std::map<std::uint64_t, std::uint64_t> saved_;  // The state that came to the node, by actor.
  std::map<std::uint64_t, Bytes> told_;           // What was told of an object first.
  std::optional<NodeTime> tick_at_;
};

}  // namespace ray::sim
