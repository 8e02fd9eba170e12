#include "runtime/log_reader.hpp"

#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <string_view>

#include <ray/error.hpp>

#include "runtime/parker.hpp"
#include "task/text.hpp"

namespace ray::detail {

namespace {

constexpr std::uint64_t kBell = UINT64_MAX;
constexpr int kPipesAtOnce = 16;  // So many pipes are read before what they said is written.

std::uint64_t watched_as(ClientId client, LogStream stream) {
  return std::uint64_t{client} << 1 | static_cast<std::uint64_t>(stream);
}

bool watch(const Descriptor& epoll, const Descriptor& descriptor, std::uint64_t as) {
  epoll_event event{};
  event.events = EPOLLIN;
  event.data.u64 = as;
  return ::epoll_ctl(epoll.number(), EPOLL_CTL_ADD, descriptor.number(), &event) == 0;
}

/// The last lines, in one.
std::string in_one_line(std::string text) {
  while (!text.empty() && text.back() == '\n') text.pop_back();
  std::string line;
  for (const char character : text) {
    if (character == '\n') {
      line += " | ";
    } else {
      line += character;
    }
  }
  return line;
}

/// Ray's variable: lines that several workers print are not folded.
LogLimits limits_from_environment() {
  LogLimits limits;
  const char* fold = std::getenv("RAY_DEDUP_LOGS");
  if (fold != nullptr && std::string_view(fold) == "0") limits.patterns = 0;
  return limits;
}

}  // namespace

LogReader::LogReader()
    : printer_(log_style(STDOUT_FILENO), log_style(STDERR_FILENO), limits_from_environment()),
      watch_(::epoll_create1(EPOLL_CLOEXEC)),
      bell_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
  if (!watch_ || !bell_ || !watch(watch_, bell_, kBell)) {
    throw Error("ray: " + SystemFault::of("epoll_create1, eventfd").text());
  }
  thread_ = std::thread([this] { run(); });
}

LogReader::~LogReader() {
  {
    const std::lock_guard lock(mutex_);
    end_ = true;
  }
  ::eventfd_write(bell_.number(), 1);
  thread_.join();
}

LogPrinter::Time LogReader::now() { return Clock::now().time_since_epoch(); }

void LogReader::add(ClientId client, std::int64_t pid, LogPipe out, LogPipe error) {
  const std::lock_guard lock(mutex_);
  Printing& printing = workers_[client];
  printing.pid = pid;
  printing.sources[0].reading = std::move(out.reading);
  printing.sources[1].reading = std::move(error.reading);
  for (const LogStream stream : {LogStream::out, LogStream::error}) {
    const Source& source = printing.sources[static_cast<std::size_t>(stream)];
    watch(watch_, source.reading, watched_as(client, stream));
  }
}

std::string LogReader::ended(ClientId client) {
  std::string tail;
  {
    const std::lock_guard lock(mutex_);
    const auto found = workers_.find(client);
    if (found == workers_.end()) return "";
    Printing& printing = found->second;
    for (const LogStream stream : {LogStream::out, LogStream::error}) {
      // No more than a pipe holds: a process that it left behind may go on printing.
      for (int i = 0; i < 32 && read(printing, stream); ++i) {
      }
      Source& source = printing.sources[static_cast<std::size_t>(stream)];
      take(printing, stream, source.marks.rest());
      close(source);
      if (!source.speaks && !source.tail.empty()) tail = in_one_line(std::move(source.tail));
    }
    printer_.end_worker(printing.pid, now(), pending_);
    workers_.erase(found);
  }
  ::eventfd_write(bell_.number(), 1);
  return printable(tail, 2 * kTailBytes);
}

/// Requires: mutex_. Once. False if there was nothing.
bool LogReader::read(Printing& printing, LogStream stream) {
  Source& source = printing.sources[static_cast<std::size_t>(stream)];
  if (!source.reading) return false;
  LogPipe pipe{std::move(source.reading), {}};
  const LogPipe::Read got = pipe.read(buffer_);
  source.reading = std::move(pipe.reading);
  if (got == LogPipe::Read::closed) close(source);
  take(printing, stream, buffer_);
  return got == LogPipe::Read::bytes;
}

/// A forked process may have the pipe open, and then epoll would not forget it by itself.
void LogReader::close(Source& source) {
  if (!source.reading) return;
  ::epoll_ctl(watch_.number(), EPOLL_CTL_DEL, source.reading.number(), nullptr);
  source.reading.close();
}

/// Requires: mutex_.
void LogReader::take(Printing& printing, LogStream stream, std::string_view bytes) {
  Source& source = printing.sources[static_cast<std::size_t>(stream)];
  for (const LogMarks::Piece& piece : source.marks.read(bytes)) {
    if (piece.is_mark) {
      source.speaks = true;
      printer_.name_worker(printing.pid, stream, piece.text, now(), pending_);
    } else if (source.speaks) {
      printer_.receive(printing.pid, stream, piece.text, now(), pending_);
    } else {
      source.tail += piece.text;
      if (source.tail.size() > 2 * kTailBytes) {
        source.tail.erase(0, source.tail.size() - kTailBytes);
      }
    }
  }
}

/// Milliseconds until something is to be printed; -1: for ever.
int LogReader::rest() {
  const std::lock_guard lock(mutex_);
  const auto deadline = printer_.deadline();
  if (!deadline) return -1;
  const auto left = std::chrono::ceil<std::chrono::milliseconds>(*deadline - now()).count();
  return static_cast<int>(std::clamp<std::int64_t>(left, 0, 60'000));
}

void LogReader::run() {
  std::array<epoll_event, kPipesAtOnce> events;
  for (bool over = false; !over;) {
    const int count = ::epoll_wait(watch_.number(), events.data(), kPipesAtOnce, rest());
    LogText text;
    {
      const std::lock_guard lock(mutex_);
      for (int i = 0; i < count; ++i) {
        const std::uint64_t which = events[static_cast<std::size_t>(i)].data.u64;
        if (which == kBell) {
          eventfd_t rings = 0;
          ::eventfd_read(bell_.number(), &rings);
          continue;
        }
        const auto found = workers_.find(static_cast<ClientId>(which >> 1));
        if (found != workers_.end()) read(found->second, static_cast<LogStream>(which & 1));
      }
      printer_.tick(now(), pending_);
      over = end_;
      if (over) printer_.finish(now(), pending_);
      text = std::exchange(pending_, {});
    }
    write(text);
  }
}

/// By the program's own streams, so that lines of either stay whole. What cannot be written is
/// lost, as it is for the program.
void LogReader::write(const LogText& text) {
  for (const LogText::Part& part : text.parts) {
    std::FILE* const file = part.stream == LogStream::out ? stdout : stderr;
    std::fwrite(part.text.data(), 1, part.text.size(), file);
    std::fflush(file);
  }
}

}  // namespace ray::detail
