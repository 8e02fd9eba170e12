// What the driver shows of what workers print: bytes and times in, text out, without processes.
#include "support/catch.hpp"

#include "runtime/log_pipes.hpp"

#include "api/probes.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <cstdlib>
#include <random>
#include <string>
#include <thread>

namespace {

using namespace std::chrono_literals;
using ray::detail::Descriptor;
using ray::detail::LogLimits;
using ray::detail::LogPipe;
using ray::detail::LogPrinter;
using ray::detail::LogStream;
using ray::detail::LogStyle;
using ray::detail::LogText;
using ray::detail::SystemFault;
using Time = LogPrinter::Time;

constexpr LogStyle kFile{false, false};
constexpr LogStyle kTerminal{true, false};

/// A printer with all the text it gave; "out: …" and "error: …" where the stream changes.
struct Screen {
  explicit Screen(LogStyle style = kFile, LogLimits limits = {}) : printer(style, style, limits) {}
  LogPrinter printer;
  Time now{1s};

  std::string take(LogText& text) {
    std::string all;
    for (const auto& part : text.parts) {
      if (part.stream == LogStream::error) all += "error: ";
      all += part.text;
    }
    text = {};
    return all;
  }
  std::string say(std::int64_t pid, std::string_view bytes, LogStream stream = LogStream::out) {
    LogText text;
    printer.receive(pid, stream, bytes, now, text);
    return take(text);
  }
  std::string later(Time time) {
    now += time;
    LogText text;
    printer.tick(now, text);
    return take(text);
  }
  std::string end(std::int64_t pid) {
    LogText text;
    printer.end_worker(pid, now, text);
    return take(text);
  }
  std::string name(int pid, std::string_view name) {
    LogText text;
    printer.name_worker(pid, LogStream::out, name, now, text);
    return take(text);
  }
  std::string finish() {
    LogText text;
    printer.finish(now, text);
    return take(text);
  }
};

}  // namespace

TEST_CASE("lines of workers have the task's name and the process in front") {
  Screen screen;
  CHECK(screen.say(12, "hello\n") == "(pid=12) hello\n");
  CHECK(screen.name(12, "f") == "");
  CHECK(screen.say(12, "two\nlines\n") == "(f pid=12) two\n(f pid=12) lines\n");
  CHECK(screen.say(12, "in") == "");
  CHECK(screen.say(12, " parts\r") == "");
  CHECK(screen.say(12, "\nand ") == "(f pid=12) in parts\n");
  CHECK(screen.say(12, "other\n", LogStream::error) == "error: (pid=12) other\n");
  CHECK(screen.say(12, "more\n") == "(f pid=12) and more\n");
  CHECK(screen.say(12, "\n\n") == "(f pid=12) \n(f pid=12) \n");
  CHECK(screen.say(12, std::string_view("a\0b\n", 4)) == std::string("(f pid=12) a\0b\n", 15));
  CHECK(screen.say(12, "begun") == "");
  CHECK(screen.name(12, "bad\n\x1b[2J") == "(f pid=12) begun\n");
  CHECK(screen.say(12, "x\n") == "(bad\\n\\x1b[2J pid=12) x\n");
  CHECK(screen.say(12, "the end") == "");
  CHECK(screen.end(12) == "(bad\\n\\x1b[2J pid=12) the end\n");
  CHECK(screen.end(12) == "");
  CHECK(screen.say(13, "last words") == "");
  CHECK(screen.finish() == "(pid=13) last words\n");
}

TEST_CASE("a terminal gets colours, which a line cannot leave on") {
  Screen screen({true, true});
  const std::string line = screen.say(7, "hi\n");
  CHECK(line.find("\x1b[3") == 0);
  CHECK(line.find("(pid=7)\x1b[0m hi\n") != std::string::npos);
  CHECK(screen.say(7, "\x1b[31mred\n").ends_with("\x1b[31mred\x1b[0m\n"));
  // The same worker in the same colour, others mostly in another.
  CHECK(screen.say(7, "ho\n").substr(0, 5) == line.substr(0, 5));
  int other = 0;
  for (int pid = 100; pid < 120; ++pid) {
    other += screen.say(pid, "ho\n").substr(0, 5) != line.substr(0, 5);
  }
  CHECK(other > 10);
  // No terminal: NO_COLOR has no say then.
  const Descriptor file(::open("/dev/null", O_RDWR | O_CLOEXEC));
  CHECK_FALSE(ray::detail::log_style(file.number()).terminal);
  CHECK_FALSE(ray::detail::log_style(-1).colour);
  const Descriptor terminal(::open("/dev/ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC));
  if (!terminal || ::isatty(terminal.number()) == 0) return;
  ::unsetenv("NO_COLOR");
  CHECK(ray::detail::log_style(terminal.number()).colour);
  ::setenv("NO_COLOR", "", 1);
  CHECK(ray::detail::log_style(terminal.number()).colour);
  ::setenv("NO_COLOR", "1", 1);
  CHECK(ray::detail::log_style(terminal.number()).terminal);
  CHECK_FALSE(ray::detail::log_style(terminal.number()).colour);
  ::unsetenv("NO_COLOR");
}

TEST_CASE("a line that several workers print is printed once, and counted for the window") {
  Screen screen;
  CHECK(screen.say(1, "loading model 1 of 16\n") == "(pid=1) loading model 1 of 16\n");
  CHECK_FALSE(screen.printer.deadline());
  for (int pid = 2; pid <= 16; ++pid) {
    CHECK(screen.say(pid, "loading model " + std::to_string(pid) + " of 16\n") == "");
  }
  CHECK(screen.say(3, "another line\n") == "(pid=3) another line\n");
  CHECK(screen.printer.deadline() == Time(6s));
  CHECK(screen.later(4900ms) == "");
  CHECK(screen.later(100ms) == "(pid=16) loading model 16 of 16 [repeated 15x across workers]\n");
  CHECK_FALSE(screen.printer.deadline());
  // It is remembered for one more window; one alone is printed as it is.
  CHECK(screen.say(5, "loading model 5 of 16\n") == "");
  CHECK(screen.later(5s) == "(pid=5) loading model 5 of 16\n");
  CHECK(screen.later(5s) == "");
  CHECK(screen.say(5, "loading model 5 of 16\n") == "(pid=5) loading model 5 of 16\n");
}

TEST_CASE("what one worker repeats, has no words, or is long is printed every time") {
  Screen screen;
  for (int i = 0; i < 3; ++i) CHECK(screen.say(1, "tick\n") == "(pid=1) tick\n");
  for (int pid = 1; pid < 4; ++pid) {
    CHECK(screen.say(pid, "1.5 0x3f\n") == "(pid=" + std::to_string(pid) + ") 1.5 0x3f\n");
    CHECK(screen.say(pid, std::string(2000, 'x') + "\n").size() > 2000);
  }
  // What is held back is not lost with its worker, nor at the end.
  CHECK(screen.say(2, "tick\n") == "");
  CHECK(screen.say(3, "tick\n") == "");
  CHECK(screen.end(3) == "");
  CHECK(screen.finish() == "(pid=3) tick [repeated 2x across workers]\n");
}

TEST_CASE("the number of lines that are remembered is bounded, and none is lost by that") {
  Screen screen(kFile, {.patterns = 2});
  CHECK(screen.say(1, "a\n") == "(pid=1) a\n");
  CHECK(screen.say(2, "a\n") == "");
  CHECK(screen.say(1, "b\n") == "(pid=1) b\n");
  CHECK(screen.say(1, "c\n") == "(pid=1) c\n(pid=2) a\n");
  CHECK(screen.say(2, "a\n") == "(pid=2) a\n");
}

TEST_CASE("where nothing is folded each line of each worker is printed") {
  Screen screen(kFile, {.patterns = 0});
  CHECK(screen.say(1, "a\n") == "(pid=1) a\n");
  CHECK(screen.say(2, "a\n") == "(pid=2) a\n");
  CHECK(screen.say(3, "a\n") == "(pid=3) a\n");
  CHECK(screen.finish() == "");
}

TEST_CASE("a line without end is printed in parts, in whole characters") {
  Screen screen(kFile, {.line_bytes = 10});
  CHECK(screen.say(1, "0123456789\n") == "(pid=1) 0123456789\n");
  CHECK(screen.say(1, "0123456789a\n") == "(pid=1) 0123456789\n(pid=1) a\n");
  CHECK(screen.say(1, "12345678\xc3\xa4\xc3\xb6-\n") ==
        "(pid=1) 12345678\xc3\xa4\n(pid=1) \xc3\xb6-\n");
  CHECK(screen.say(1, "123456789\xc3\xa4-\n") == "(pid=1) 123456789\n(pid=1) \xc3\xa4-\n");
  // Bytes that are no characters, in any pieces: all of them come out, a line at a time.
  Screen large;
  std::mt19937 random(1);
  std::string given;
  std::string got;
  std::size_t longest = 0;
  for (int i = 0; i < probes::scaled(2000); ++i) {
    std::string piece(random() % 500, 'x');
    for (char& c : piece) c = static_cast<char>(random() % 200 + 56);
    given += piece;
    got += large.say(1, piece);
  }
  got += large.finish();
  std::string lines;
  for (std::size_t at = 0; at < got.size();) {
    const std::size_t end = got.find('\n', at);
    REQUIRE(got.substr(at, 8) == "(pid=1) ");
    longest = std::max(longest, end - at - 8);
    lines += got.substr(at + 8, end - at - 8);
    at = end + 1;
  }
  CHECK(lines == given);
  CHECK(longest <= std::size_t{64} << 10);
}

TEST_CASE("where it is no terminal, of a progress bar only the end is printed") {
  Screen screen;
  for (int percent = 0; percent < 100; ++percent) {
    const std::string shown = std::string("\r").append(std::to_string(percent)).append("%");
    CHECK(screen.say(1, shown, LogStream::error) == "");
  }
  CHECK_FALSE(screen.printer.deadline());
  CHECK(screen.say(1, "\r100%\n", LogStream::error) == "error: (pid=1) 100%\n");
  CHECK(screen.say(1, "1%\r2%\r3%\r") == "");
  CHECK(screen.say(1, "\n") == "(pid=1) 3%\n");
  CHECK(screen.say(1, "50%\r60%\r") == "");
  CHECK(screen.end(1) == "(pid=1) 60%\n");
}

TEST_CASE("on a terminal a progress bar is redrawn ten times a second, below the other lines") {
  const std::string erase = "\r\x1b[2K";
  Screen screen(kTerminal);
  CHECK(screen.say(1, "\r10%", LogStream::error) == "error: (pid=1) 10%");
  CHECK(screen.say(1, "\r20%", LogStream::error) == "");
  CHECK(screen.printer.deadline() == Time(1100ms));
  CHECK(screen.later(50ms) == "");
  CHECK(screen.say(1, "\r30%", LogStream::error) == "");
  CHECK(screen.later(50ms) == "error: " + erase + "(pid=1) 30%");
  CHECK_FALSE(screen.printer.deadline());
  CHECK(screen.later(1s) == "");  // Nothing new.
  // A line comes in between: the bar goes and is drawn again, here at once.
  CHECK(screen.say(2, "line\n") == "error: " + erase + "(pid=2) line\nerror: (pid=1) 30%");
  CHECK(screen.say(2, "next\n") == "error: " + erase + "(pid=2) next\n");
  CHECK(screen.printer.deadline() == screen.now + 100ms);
  CHECK(screen.later(100ms) == "error: (pid=1) 30%");
  // Another worker's is newer.
  screen.now += 1s;
  CHECK(screen.say(3, "\r77%", LogStream::error) == "error: " + erase + "(pid=3) 77%");
  // Each keeps its last state and ends with it.
  screen.now += 1s;
  CHECK(screen.say(1, "\r\n", LogStream::error).find("(pid=1) 30%\n") != std::string::npos);
  CHECK(screen.say(3, "\r100%\n", LogStream::error).find("(pid=3) 100%\n") != std::string::npos);
  CHECK(screen.later(1s) == "");
  CHECK(screen.say(1, "plain\n") == "(pid=1) plain\n");
  int drawn = 0;
  for (int i = 0; i < 1000; ++i) {
    screen.now += 1ms;
    drawn += !screen.say(4, std::string("\r").append(std::to_string(i))).empty();
  }
  CHECK(drawn >= 9);
  CHECK(drawn <= 11);
}

TEST_CASE("a log pipe is read without waiting, and tells its end") {
  SystemFault fault;
  auto pipe = LogPipe::make(fault);
  REQUIRE(pipe);
  std::string bytes;
  CHECK(pipe->read(bytes) == LogPipe::Read::nothing);
  CHECK(bytes.empty());
  REQUIRE(::write(pipe->writing.number(), "hello", 5) == 5);
  CHECK(pipe->read(bytes) == LogPipe::Read::bytes);
  CHECK(bytes == "hello");
  CHECK((::fcntl(pipe->writing.number(), F_GETFL) & O_NONBLOCK) == 0);
  // A worker that prints much waits for us; nothing is lost.
  std::thread worker([&] {
    const std::string much(300'000, 'x');
    if (::write(pipe->writing.number(), much.data(), much.size()) != 300'000) std::abort();
    pipe->writing.close();
  });
  std::size_t got = 0;
  CHECK(probes::eventually([&] {
    const auto read = pipe->read(bytes);
    CHECK(bytes.size() <= std::size_t{64} << 10);
    got += bytes.size();
    return read == LogPipe::Read::closed;
  }));
  CHECK(got == 300'000);
  worker.join();
}

TEST_CASE("marks say whose lines follow, wherever the bytes are cut") {
  using ray::detail::log_mark;
  using ray::detail::LogMarks;
  const std::string all = "early" + log_mark("f") + "one\n" + log_mark("") + "\x1e" + "two" +
                          log_mark("a\nb") + "\x1eray" + log_mark("g");
  for (std::size_t step = 1; step <= all.size(); ++step) {
    LogMarks marks;
    std::string seen;
    for (std::size_t at = 0; at < all.size(); at += step) {
      for (const LogMarks::Piece& piece : marks.read(std::string_view(all).substr(at, step))) {
        seen += piece.is_mark ? "[" + piece.text + "]" : piece.text;
      }
    }
    CHECK(seen == "early[f]one\n[]\x1etwo[a\\nb]\x1eray[g]");
    CHECK(marks.rest() == "");
  }
  LogMarks marks;
  CHECK(marks.read("x\x1era").size() == 1);
  CHECK(marks.rest() == "\x1era");
  const std::string endless = "\x1eray:" + std::string(5000, 'y');
  CHECK(marks.read(endless).at(0).text == endless);
}
