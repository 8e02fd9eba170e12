#include "runtime/log_pipes.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <iterator>
#include <utility>

#include <ray/ids.hpp>

#include "task/text.hpp"

namespace ray::detail {

namespace {

constexpr std::size_t kReadOnce = std::size_t{64} << 10;
constexpr std::string_view kEraseLine = "\r\x1b[2K";
constexpr std::string_view kPlain = "\x1b[0m";
// Those that can be read on dark and on light: cyan, magenta, green, yellow, blue.
constexpr std::string_view kColours[] = {"\x1b[36m", "\x1b[35m", "\x1b[32m", "\x1b[33m",
                                         "\x1b[34m"};
constexpr std::size_t kBarBytesMax = 200;      // One that is wrapped could not be erased.
constexpr std::size_t kFoldedBytesMax = 1024;  // Longer lines are printed as often as they come.
constexpr std::string_view kMarkBegins = "\x1eray:";  // A control character that is seldom printed.
constexpr char kMarkEnds = '\x1e';
constexpr std::size_t kMarkBytesMax = 4096;
constexpr std::size_t kCharacterMax = 4;  // Bytes of one in UTF-8.

/// A line without its words that have digits, which tend to differ between workers.
std::string pattern_of(std::string_view line) {
  std::string pattern;
  for (std::size_t at = 0; at < line.size();) {
    const std::size_t start = line.find_first_not_of(" \t", at);
    if (start == std::string_view::npos) break;
    at = std::min(line.find_first_of(" \t", start), line.size());
    const std::string_view word = line.substr(start, at - start);
    if (word.find_first_of("0123456789") != std::string_view::npos) continue;
    if (!pattern.empty()) pattern += ' ';
    pattern += word;
  }
  return pattern;
}

}  // namespace

LogStyle log_style(int descriptor) noexcept {
  if (::isatty(descriptor) == 0) return {};
  const char* no_colour = std::getenv("NO_COLOR");
  return {true, no_colour == nullptr || *no_colour == 0};
}

void LogText::add(LogStream stream, std::string_view text) {
  if (text.empty()) return;
  if (parts.empty() || parts.back().stream != stream) parts.push_back({stream, {}});
  parts.back().text += text;
}

// --- from bytes to lines ---

void LogPrinter::name_worker(std::int64_t pid, LogStream stream, std::string_view name, Time now,
                             LogText& text) {
  Worker& worker = workers_[pid];
  Line& line = worker.lines[static_cast<std::size_t>(stream)];
  if (!line.newest().empty()) end_line(line, worker, {pid, stream}, now, text);
  worker.names[static_cast<std::size_t>(stream)] = printable(name);
}

void LogPrinter::receive(std::int64_t pid, LogStream stream, std::string_view bytes, Time now,
                         LogText& text) {
  end_windows(now, text);
  Worker& worker = workers_[pid];
  const Origin origin{pid, stream};
  Line& line = worker.lines[static_cast<std::size_t>(stream)];
  while (!bytes.empty()) {
    const std::size_t end = std::min(bytes.find_first_of("\n\r"), bytes.size());
    // A little more than a line may have, to see whether a character ends there.
    const std::size_t size = std::min(end, limits_.line_bytes + kCharacterMax - line.bytes.size());
    if (size > 0 && line.returning) line.go_back();
    line.bytes += bytes.substr(0, size);
    bytes.remove_prefix(size);
    if (line.bytes.size() > limits_.line_bytes) {
      const std::size_t whole =
          std::max<std::size_t>(cut(line.bytes, limits_.line_bytes).size(), 1);
      std::string rest = line.bytes.substr(whole);
      line.bytes.resize(whole);
      end_line(line, worker, origin, now, text);
      line.bytes = std::move(rest);
    } else if (!bytes.empty()) {
      if (bytes.front() == '\n') {
        end_line(line, worker, origin, now, text);
      } else {
        line.returning = true;
      }
      bytes.remove_prefix(1);
    }
  }
  if ((line.returned || line.returning) && !line.newest().empty()) {
    bar_ = origin;
    bar_changed_ = true;
  }
  show_bar(now, text);
}

void LogPrinter::end_line(Line& line, const Worker& worker, Origin origin, Time now,
                          LogText& text) {
  const Line ended = std::exchange(line, {});
  if (bar_ == origin) {
    hide_bar(text);
    bar_.reset();
  }
  if (ended.returned) {
    print(worker.name(origin.stream), origin, ended.newest(), text);
  } else {
    print_folded(worker, origin, ended.bytes, now, text);
  }
}

void LogPrinter::end_worker(std::int64_t pid, Time now, LogText& text) {
  const auto found = workers_.find(pid);
  if (found == workers_.end()) return;
  Worker& worker = found->second;
  for (const LogStream stream : {LogStream::out, LogStream::error}) {
    Line& line = worker.lines[static_cast<std::size_t>(stream)];
    if (!line.newest().empty()) end_line(line, worker, {pid, stream}, now, text);
  }
  workers_.erase(found);
}

// --- from lines to text ---

std::string LogPrinter::prefix(const std::string& name, Origin origin) const {
  std::string text = name.empty() ? "(" : "(" + name + " ";
  text += "pid=" + std::to_string(origin.pid) + ")";
  if (style(origin.stream).colour) {
    const auto number = static_cast<std::size_t>(mix64(static_cast<std::uint64_t>(origin.pid)));
    text = std::string(kColours[number % std::size(kColours)]) + text + std::string(kPlain);
  }
  return text + " ";
}

void LogPrinter::print(const std::string& name, Origin origin, std::string_view line,
                       LogText& text) {
  hide_bar(text);
  text.add(origin.stream, prefix(name, origin));
  text.add(origin.stream, line);
  // A colour that the line does not end itself is not for the next one.
  const bool coloured = line.find('\x1b') != std::string_view::npos;
  if (coloured && style(origin.stream).terminal) text.add(origin.stream, kPlain);
  text.add(origin.stream, "\n");
}

void LogPrinter::print_folded(const Worker& worker, Origin origin, const std::string& line,
                              Time now, LogText& text) {
  const bool may_fold = limits_.patterns != 0 && line.size() <= kFoldedBytesMax;
  std::string pattern = may_fold ? pattern_of(line) : "";
  const auto found = by_pattern_.find(pattern);
  if (found != by_pattern_.end()) {
    Repeated& repeated = *found->second;
    repeated.several |= repeated.origin.pid != origin.pid;
    // What one worker says again and again it means.
    if (!repeated.several) return print(worker.name(origin.stream), origin, line, text);
    ++repeated.count;
    repeated.line = line;
    repeated.name = worker.name(origin.stream);
    repeated.origin = origin;
    return;
  }
  const std::string& name = worker.name(origin.stream);
  print(name, origin, line, text);
  if (pattern.empty()) return;
  if (repeated_.size() >= limits_.patterns) {
    print_repeated(repeated_.front(), text);
    forget(repeated_.begin());
  }
  repeated_.push_back({std::move(pattern), now, 0, {}, name, origin, false});
  by_pattern_.emplace(repeated_.back().pattern, std::prev(repeated_.end()));
}

void LogPrinter::print_repeated(const Repeated& repeated, LogText& text) {
  if (repeated.count == 0) return;
  std::string line = repeated.line;
  if (repeated.count > 1) {
    line += " [repeated " + std::to_string(repeated.count) + "x across workers]";
  }
  print(repeated.name, repeated.origin, line, text);
}

void LogPrinter::forget(Repetitions::iterator repeated) {
  by_pattern_.erase(repeated->pattern);
  repeated_.erase(repeated);
}

void LogPrinter::end_windows(Time now, LogText& text) {
  while (!repeated_.empty() && now - repeated_.front().since >= limits_.window) {
    const auto first = repeated_.begin();
    print_repeated(*first, text);
    if (first->count <= 1) {
      forget(first);
      continue;
    }
    first->since = now;  // It goes on, most likely.
    first->count = 0;
    repeated_.splice(repeated_.end(), repeated_, first);
  }
}

// --- progress bars ---

void LogPrinter::hide_bar(LogText& text) {
  if (!bar_on_screen_) return;
  text.add(*bar_on_screen_, kEraseLine);
  bar_on_screen_.reset();
  bar_changed_ = true;
}

void LogPrinter::show_bar(Time now, LogText& text) {
  if (!bar_ || !bar_changed_ || !style(bar_->stream).terminal) return;
  if (bar_shown_ && now - *bar_shown_ < limits_.refresh) return;
  const auto worker = workers_.find(bar_->pid);
  if (worker == workers_.end()) return;
  const Line& line = worker->second.lines[static_cast<std::size_t>(bar_->stream)];
  hide_bar(text);
  text.add(bar_->stream, prefix(worker->second.name(bar_->stream), *bar_));
  text.add(bar_->stream, cut(line.newest(), kBarBytesMax));
  bar_on_screen_ = bar_->stream;
  bar_shown_ = now;
  bar_changed_ = false;
}

// --- time ---

void LogPrinter::tick(Time now, LogText& text) {
  end_windows(now, text);
  show_bar(now, text);
}

std::optional<LogPrinter::Time> LogPrinter::deadline() const {
  std::optional<Time> next;
  const auto waiting = std::find_if(repeated_.begin(), repeated_.end(),
                                    [](const Repeated& repeated) { return repeated.count > 0; });
  if (waiting != repeated_.end()) next = waiting->since + limits_.window;
  if (bar_ && bar_changed_ && style(bar_->stream).terminal) {
    const Time refresh = bar_shown_ ? *bar_shown_ + limits_.refresh : Time(0);
    next = next ? std::min(*next, refresh) : refresh;
  }
  return next;
}

void LogPrinter::finish(Time now, LogText& text) {
  while (!workers_.empty()) end_worker(workers_.begin()->first, now, text);
  for (const Repeated& repeated : repeated_) print_repeated(repeated, text);
  by_pattern_.clear();
  repeated_.clear();
}

// --- marks ---

std::string log_mark(std::string_view name) {
  return std::string(kMarkBegins) + printable(name) + kMarkEnds;
}

std::vector<LogMarks::Piece> LogMarks::read(std::string_view bytes) {
  std::vector<Piece> pieces;
  std::string joined;
  if (!held_.empty()) {
    joined = std::exchange(held_, {}) + std::string(bytes);
    bytes = joined;
  }
  const auto add_text = [&](std::size_t size) {
    if (size == 0) return;
    if (pieces.empty() || pieces.back().is_mark) pieces.emplace_back();
    pieces.back().text += bytes.substr(0, size);
    bytes.remove_prefix(size);
  };
  while (!bytes.empty()) {
    add_text(std::min(bytes.find(kMarkBegins.front()), bytes.size()));
    const std::string_view head = bytes.substr(0, kMarkBegins.size());
    const std::size_t end =
        bytes.substr(0, kMarkBytesMax).find(kMarkEnds, std::min(bytes.size(), kMarkBegins.size()));
    if (!kMarkBegins.starts_with(head) || (end == bytes.npos && bytes.size() >= kMarkBytesMax)) {
      add_text(1);
    } else if (end == bytes.npos) {
      held_ = bytes;
      break;
    } else {
      pieces.push_back({true, std::string(bytes.substr(head.size(), end - head.size()))});
      bytes.remove_prefix(end + 1);
    }
  }
  return pieces;
}

// --- pipes ---

std::optional<LogPipe> LogPipe::make(SystemFault& fault) {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) {
    fault = SystemFault::of("pipe2");
    return std::nullopt;
  }
  LogPipe pipe{Descriptor(ends[0]), Descriptor(ends[1])};
  // Only our end: the worker's waits when it prints faster than we read.
  if (::fcntl(ends[0], F_SETFL, O_NONBLOCK) != 0) {
    fault = SystemFault::of("fcntl(O_NONBLOCK)");
    return std::nullopt;
  }
  return pipe;
}

LogPipe::Read LogPipe::read(std::string& into) {
  into.resize(kReadOnce);
  ssize_t got = -1;
  do {
    got = ::read(reading.number(), into.data(), into.size());
  } while (got < 0 && errno == EINTR);
  into.resize(got > 0 ? static_cast<std::size_t>(got) : 0);
  if (got > 0) return Read::bytes;
  return got < 0 && errno == EAGAIN ? Read::nothing : Read::closed;
}

}  // namespace ray::detail
