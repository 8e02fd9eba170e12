// The driver's side of worker processes: carries out what the node decides. Whoever waits for
// something drives it (client_wait.cpp); a thread of its own does what takes long or must be done
// by one that lives as long: starting processes, writing objects to disk and reading them back.
#pragma once

#include <atomic>
#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <thread>
#include <unordered_map>
#include <vector>

#include "runtime/channel.hpp"
#include "runtime/log_reader.hpp"
#include "runtime/memory_monitor.hpp"
#include "runtime/node.hpp"
#include "runtime/reader_role.hpp"
#include "runtime/spawner.hpp"
#include "store/segment.hpp"
#include "store/spill_file.hpp"
#include "transport/link.hpp"

namespace ray::detail {

/// What stands beside a segment's descriptor on a worker's socket; without one, that it is gone.
struct SegmentRecord {
  std::uint32_t segment = 0;
  std::uint32_t writes = 0;  // 1: the worker is its only writer.
  std::uint64_t size = 0;    // 0: the segment is gone.

  static SegmentRecord read(std::span<const std::byte> bytes);
};

/// Threads: any.
class Host final : public Channel {
public:
  /// Throws Error when the system gives not what is needed.
  /// `welcome`: what workers are told, but for their number.
  Host(const RuntimeOptions& options, NodeLimits limits, const message::Welcome& welcome,
       Receiver& driver);
  ~Host() override;

  void send(Message message) override;
  bool poll() override;
  void sleep(Parker& parker, const Clock::time_point* deadline) override;
  void attend(bool begins) override;
  std::span<const std::byte> view(const Place& place, std::shared_ptr<void>& memory) override;
  std::span<std::byte> writable(const Place& place) override;

  /// All that is pending fails; workers end, or are killed after a while. Then nothing is left.
  void shut_down() override;
  std::vector<Node::WorkerState> workers();
  Demand available();
  Node::Counts counts();
  MemoryMonitor& memory() { return memory_; }

private:
  static constexpr std::size_t kMessagesPerLook = 256;  // Of one worker, before the others' turn.

  struct WorkerEnd {
    WorkerEnd(Link made, Child started) : link(std::move(made)), child(std::move(started)) {}
    Link link;
    Child child;
    std::set<std::uint32_t> segments;  // Shown to it.
  };

  static NodeTime now() { return Clock::now().time_since_epoch(); }

  // All below require mutex_, unless said.
  void carry_out();
  void perform(decision::Send&& send);
  void cannot_send(ClientId client, const Message& message);
  void perform(decision::StartWorker&& start);
  void perform(decision::KillWorker&& kill);
  void perform(decision::MakeSegment&& make);
  void perform(decision::DropSegment&& drop);
  void perform(decision::Spill&& spill);
  void perform(decision::Restore&& restore);
  void perform(decision::DropSpill&& drop);
  void look_at_clock();
  bool read_links();
  bool read_link(ClientId client, WorkerEnd& worker, std::size_t most);
  void look_for_deaths();
  void show_segment(WorkerEnd& worker, std::uint32_t segment, bool writes);
  void seal_segment(WorkerEnd& writer, std::uint32_t segment);
  void show_places(WorkerEnd& worker, const Message& message);
  bool settle();
  bool settle(Link& link);
  void wake_for_deadline();
  std::span<std::byte> room(const Place& place);

  // Without mutex_.
  bool deliver();
  void chores();
  void later(std::function<void()> chore);
  void ring();
  void start_worker(ClientId client);
  void populate_later(const std::weak_ptr<Segment>& segment, std::uint64_t from);
  bool is_busy();
  bool relieve_memory();

  RuntimeOptions options_;
  message::Welcome welcome_;
  Receiver& driver_;
  std::mutex mutex_;
  const std::uint64_t ordinary_segment_;  // Bytes; a larger one is a single object's.
  Node node_;
  Decisions decisions_;
  bool carrying_out_ = false;
  Bytes scratch_;
  std::unordered_map<ClientId, std::unique_ptr<WorkerEnd>> workers_;
  std::unordered_map<std::uint32_t, std::shared_ptr<Segment>> segments_;
  int starting_ = 0;
  std::set<ClientId> killed_early_;  // Before they were started.
  std::deque<Message> inbox_;        // For the driver.
  bool news_ = false;                // In it, which nobody has asked for.
  std::uint32_t sent_ = 0;
  std::uint32_t looks_ = 0;
  int attending_ = 0;
  std::multiset<NodeTime> rests_;  // Of those who sleep: until when, for the node. By mutex_.
  Clock::time_point looked_for_deaths_{};
  Descriptor watch_;  // epoll: bells, pidfds.
  Descriptor bell_;   // Rung by threads of this process.
  Spawner spawner_;
  LogReader logs_;

  ReaderRole reader_;
  std::deque<Message> delivering_;  // The reader's: what was in the inbox.

  std::optional<SpillFile> spill_;
  std::mutex chores_mutex_;
  std::condition_variable chores_wanted_;
  std::deque<std::function<void()>> chores_queue_;  // Guarded by chores_mutex_.
  bool chores_end_ = false;                         // Guarded by chores_mutex_.
  std::thread chores_thread_;

  MemoryMonitor memory_;
};

}  // namespace ray::detail
