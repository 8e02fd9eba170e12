// What workers print, on its way to the driver's own output: lines with the task's name in front,
// as Ray shows them. A plain value: takes bytes and the time, and gives text to be written.
//
// Lines that several workers print, apart from words with digits in them, are printed once; how
// often they came again is said when the window ends ("[repeated 15x across workers]").
//
// A line that returns to its start (a progress bar) counts as what it says last. On a terminal the
// newest of them is shown below the other lines, at most ten times a second; where it is no
// terminal, only how it ends.
#pragma once

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <list>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "task/descriptor.hpp"

namespace ray::detail {

/// How text may look where it goes.
struct LogStyle {
  bool terminal = false;  // Lines can be overwritten.
  bool colour = false;
};
/// For a descriptor of this process. Without colours where NO_COLOR is set and not empty.
LogStyle log_style(int descriptor) noexcept;

struct LogLimits {
  std::size_t line_bytes = std::size_t{64} << 10;             // A longer line is printed in parts.
  std::chrono::nanoseconds window = std::chrono::seconds(5);  // In which lines count as repeated.
  std::chrono::nanoseconds refresh = std::chrono::milliseconds(100);  // Of a progress bar.
  std::size_t patterns = 1000;  // Different lines that are remembered for that; 0: all are shown.
};

enum class LogStream : std::uint8_t { out, error };

/// Text to write, in this order: both may be the same terminal.
struct LogText {
  struct Part {
    LogStream stream;
    std::string text;
  };
  std::vector<Part> parts;
  void add(LogStream stream, std::string_view text);
};

/// Threads: one at a time.
class LogPrinter {
public:
  using Time = std::chrono::nanoseconds;  // Since any fixed moment.

  LogPrinter(LogStyle out, LogStyle error, LogLimits limits = {})
      : styles_{out, error}, limits_(limits) {}

  /// `name`: of the task or actor whose lines follow in this stream; empty for none. What another
  /// one had begun to print is a line.
  void name_worker(std::int64_t pid, LogStream stream, std::string_view name, Time now,
                   LogText& text);
  void receive(std::int64_t pid, LogStream stream, std::string_view bytes, Time now, LogText& text);
  /// The worker ended: what it had begun to print is a line.
  void end_worker(std::int64_t pid, Time now, LogText& text);
  /// Time has passed; at least at each deadline().
  void tick(Time now, LogText& text);
  std::optional<Time> deadline() const;
  /// All that is held back, at the end.
  void finish(Time now, LogText& text);

private:
  struct Origin {
    std::int64_t pid = 0;
    LogStream stream = LogStream::out;
    friend bool operator==(const Origin&, const Origin&) = default;
  };
  /// What has no end yet.
  struct Line {
    std::string bytes;       // Since its start, or since it returned to it.
    std::string shown;       // What it said before it returned last.
    bool returned = false;   // So it is a progress bar.
    bool returning = false;  // The last byte was '\r'; "\r\n" is an end and no return.
    const std::string& newest() const { return bytes.empty() ? shown : bytes; }
    void go_back() {
      if (!bytes.empty()) shown = std::exchange(bytes, {});
      returned = true;
      returning = false;
    }
  };
  struct Worker {
    std::array<std::string, 2> names;
    std::array<Line, 2> lines;
    const std::string& name(LogStream stream) const {
      return names[static_cast<std::size_t>(stream)];
    }
  };
  struct Repeated {
    std::string pattern;
    Time since{};
    std::uint64_t count = 0;  // Not printed.
    std::string line;         // The last of those.
    std::string name;
    Origin origin;
    bool several = false;  // Workers.
  };
  using Repetitions = std::list<Repeated>;

  const LogStyle& style(LogStream stream) const {
    return styles_[static_cast<std::size_t>(stream)];
  }
  void end_line(Line& line, const Worker& worker, Origin origin, Time now, LogText& text);
  void print_folded(const Worker& worker, Origin origin, const std::string& line, Time now,
                    LogText& text);
  void print(const std::string& name, Origin origin, std::string_view line, LogText& text);
  std::string prefix(const std::string& name, Origin origin) const;
  void print_repeated(const Repeated& repeated, LogText& text);
  void forget(Repetitions::iterator repeated);
  void end_windows(Time now, LogText& text);
  void show_bar(Time now, LogText& text);
  void hide_bar(LogText& text);

  std::array<LogStyle, 2> styles_;
  LogLimits limits_;
  std::map<std::int64_t, Worker> workers_;
  Repetitions repeated_;  // The oldest window first.
  std::unordered_map<std::string_view, Repetitions::iterator> by_pattern_;
  std::optional<Origin> bar_;  // The line that changed last of those that are progress bars.
  bool bar_changed_ = false;   // Not as it is on the screen.
  std::optional<LogStream> bar_on_screen_;
  std::optional<Time> bar_shown_;
};

/// What a worker writes into its pipes before the lines of another task or actor, so that the name
/// cannot come before or after them. With its first one it becomes a worker: what the program
/// printed until then is not shown.
std::string log_mark(std::string_view name);

/// Takes the marks out of what comes through one pipe, in pieces of any size.
class LogMarks {
public:
  struct Piece {
    bool is_mark = false;
    std::string text;  // The mark's name.
  };
  std::vector<Piece> read(std::string_view bytes);
  /// What looked like the beginning of a mark, at the end.
  std::string rest() { return std::exchange(held_, {}); }

private:
  std::string held_;
};

/// The driver's end of a pipe into which a worker prints.
struct LogPipe {
  Descriptor reading;
  Descriptor writing;  // To be handed to the worker, and closed here.

  static std::optional<LogPipe> make(SystemFault& fault);
  enum class Read : std::uint8_t { bytes, nothing, closed };
  /// Once, so that a worker that prints without end leaves time for the others. Never waits.
  Read read(std::string& into);
};

}  // namespace ray::detail
