// Reads what workers print and writes it to the driver's own output, in a thread of its own: when
// that output stands still, the pipes fill up and those wait who print, not those who call.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <mutex>
#include <string>
#include <thread>

#include "runtime/log_pipes.hpp"
#include "task/messages.hpp"

namespace ray::detail {

/// Threads: any. Lifetime: the destructor waits until all that was read is written.
class LogReader {
public:
  /// Throws Error when the system gives not what is needed.
  LogReader();
  ~LogReader();
  LogReader(const LogReader&) = delete;
  LogReader& operator=(const LogReader&) = delete;

  void add(ClientId client, std::int64_t pid, LogPipe out, LogPipe error);
  /// The process has ended: what it printed last is read here. If it never became a worker, the end
  /// of what it said, for the message that tells of that; else nothing.
  std::string ended(ClientId client);

private:
  static constexpr std::size_t kTailBytes = 1000;

  struct Source {
    Descriptor reading;
    LogMarks marks;
    bool speaks = false;  // A worker is there.
    std::string tail;     // Of what came before.
  };
  struct Printing {
    std::int64_t pid = 0;
    std::array<Source, 2> sources;
  };

  static LogPrinter::Time now();
  void run();
  int rest();
  // Require mutex_.
  bool read(Printing& printing, LogStream stream);
  void close(Source& source);
  void take(Printing& printing, LogStream stream, std::string_view bytes);
  // Without.
  void write(const LogText& text);

  std::mutex mutex_;
  LogPrinter printer_;  // Guarded by mutex_, as are those up to end_.
  std::map<ClientId, Printing> workers_;
  LogText pending_;  // To be written, by the thread.
  std::string buffer_;
  bool end_ = false;
  Descriptor watch_;  // epoll: pipes and the bell.
  Descriptor bell_;
  std::thread thread_;
};

}  // namespace ray::detail
