// The ring: frames come out as they went in, at any fill; a peer that lies is a fault, no crash; no
// wake-up is lost between threads (the other processes are in link_test.cpp).
#include "support/catch.hpp"

#include "transport/ring.hpp"

#include "api/probes.hpp"

#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstring>
#include <deque>
#include <memory>
#include <random>
#include <thread>
#include <vector>

namespace {

using ray::detail::ReaderState;
using ray::detail::RingFault;
using ray::detail::RingReader;
using ray::detail::RingState;
using ray::detail::RingWriter;
using Wrote = RingWriter::Wrote;
using Read = RingReader::Read;
using Bytes = std::vector<std::byte>;

constexpr std::uint64_t kCapacity = 4096;

/// Exactly as many bytes as a ring takes, so that the address sanitizer sees one too many.
class Memory {
public:
  explicit Memory(std::uint64_t capacity = kCapacity)
      : size_(ray::detail::ring_memory_bytes(capacity)),
        bytes_(static_cast<std::byte*>(::operator new(size_, std::align_val_t(64)))) {
    std::memset(bytes_, 0, size_);
  }
  ~Memory() { ::operator delete(bytes_, std::align_val_t(64)); }
  Memory(const Memory&) = delete;
  Memory& operator=(const Memory&) = delete;

  std::span<std::byte> all() { return {bytes_, size_}; }
  RingState& state() { return *reinterpret_cast<RingState*>(bytes_); }
  /// The word at `at` of the ring's bytes.
  void put(std::uint64_t at, std::uint32_t word) {
    std::memcpy(bytes_ + sizeof(RingState) + at, &word, sizeof word);
  }

private:
  std::size_t size_;
  std::byte* bytes_;
};

struct Ring {
  explicit Ring(std::uint64_t capacity = kCapacity)
      : memory(capacity), writer(memory.all(), capacity), reader(memory.all(), capacity) {}
  Memory memory;
  RingWriter writer;
  RingReader reader;
};

Bytes pattern(std::size_t size, std::uint64_t seed) {
  Bytes bytes(size);
  for (std::size_t i = 0; i < size; ++i) bytes[i] = static_cast<std::byte>(seed + i * 7);
  return bytes;
}

bool same(std::span<const std::byte> a, std::span<const std::byte> b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end());
}

}  // namespace

TEST_CASE("a ring gives frames of all sizes in order, at every fill") {
  Ring ring;
  std::mt19937 random(1);
  std::deque<Bytes> inside;
  std::uint64_t made = 0;
  std::size_t full = 0;
  std::size_t empty = 0;
  for (int step = 0; step < probes::scaled(200'000); ++step) {
    if (random() % 2 == 0) {
      const std::size_t most = random() % 4 == 0 ? ring.writer.frame_max() : 40;
      const Bytes body = pattern(random() % (most + 1), made);
      const auto rest = static_cast<std::uint32_t>(random());
      const Wrote wrote = ring.writer.try_write(body, rest);
      REQUIRE(wrote != Wrote::fault);
      if (wrote == Wrote::full) {
        REQUIRE(!inside.empty());  // Every frame fits into an empty ring.
        ++full;
        continue;
      }
      ++made;
      Bytes expected = body;
      const auto* word = reinterpret_cast<const std::byte*>(&rest);
      expected.insert(expected.end(), word, word + sizeof rest);
      inside.push_back(std::move(expected));
    } else {
      RingReader::Frame frame;
      const Read read = ring.reader.try_read(frame);
      REQUIRE(read == (inside.empty() ? Read::nothing : Read::frame));
      if (inside.empty()) {
        ++empty;
        continue;
      }
      REQUIRE(reinterpret_cast<std::uintptr_t>(frame.body.data()) % 8 == 0);
      Bytes got(frame.body.begin(), frame.body.end());
      const auto* word = reinterpret_cast<const std::byte*>(&frame.rest);
      got.insert(got.end(), word, word + sizeof frame.rest);
      REQUIRE(got == inside.front());
      inside.pop_front();
      ring.reader.release();
    }
  }
  CHECK(full > 0);
  CHECK(empty > 0);
}

TEST_CASE("the longest frame goes in wherever half of the ring is free") {
  Ring ring;
  const Bytes longest = pattern(ring.writer.frame_max(), 3);
  const Bytes short_one = pattern(8, 4);
  for (std::uint64_t start = 0; start < kCapacity; start += 16) {
    // Half full, from `start` on.
    while ((ring.memory.state().tail.load() & (kCapacity - 1)) != start) {
      RingReader::Frame frame;
      REQUIRE(ring.writer.try_write(short_one) == Wrote::all);
      REQUIRE(ring.reader.try_read(frame) == Read::frame);
      ring.reader.release();
    }
    for (std::uint64_t used = 0; used < kCapacity / 2; used += 16) {
      REQUIRE(ring.writer.try_write(short_one) == Wrote::all);
    }
    REQUIRE_FALSE(ring.writer.wait_for_room());
    REQUIRE(ring.writer.try_write(longest) == Wrote::all);
    RingReader::Frame frame;
    while (ring.reader.try_read(frame) == Read::frame) ring.reader.release();
    REQUIRE(ring.reader.fault() == RingFault::none);
  }
}

TEST_CASE("an index, a length or a mark that cannot be is a fault") {
  Ring ring;
  RingReader::Frame frame;
  RingFault expected = RingFault::index;
  SECTION("more written than there is room") { ring.memory.state().tail = kCapacity + 8; }
  SECTION("not a multiple of 8") { ring.memory.state().tail = 4; }
  SECTION("less written than was read") {
    REQUIRE(ring.writer.try_write(pattern(8, 0)) == Wrote::all);
    REQUIRE(ring.reader.try_read(frame) == Read::frame);
    ring.reader.release();
    ring.memory.state().tail = 8;
  }
  SECTION("a length beyond what was written") {
    REQUIRE(ring.writer.try_write(pattern(8, 0)) == Wrote::all);
    ring.memory.put(0, 9);
    expected = RingFault::length;
  }
  SECTION("a length beyond a frame's") {
    ring.memory.state().tail = kCapacity;
    ring.memory.put(0, static_cast<std::uint32_t>(ring.writer.frame_max() + 1));
    expected = RingFault::length;
  }
  SECTION("a mark with nothing behind it") {
    ring.memory.state().tail = kCapacity;
    ring.memory.put(0, 0xffff'ffff);
    expected = RingFault::length;
  }
  SECTION("a mark behind a mark") {
    for (int i = 0; i < 3; ++i) {
      REQUIRE(ring.writer.try_write(pattern(992, 0)) == Wrote::all);
      REQUIRE(ring.reader.try_read(frame) == Read::frame);
      ring.reader.release();
    }
    ring.memory.state().tail = 3000 + 4096;
    ring.memory.put(3000, 0xffff'ffff);
    ring.memory.put(0, 0xffff'ffff);
    expected = RingFault::length;
  }
  CHECK(ring.reader.try_read(frame) == Read::fault);
  CHECK(ring.reader.fault() == expected);
  CHECK(ring.reader.try_read(frame) == Read::fault);  // For good.
  CHECK(std::string(ray::detail::ring_fault_text(expected)).find("ring") != std::string::npos);
}

TEST_CASE(
    "a reader that claims to have read what was not written is a fault of the writer's peer") {
  Ring ring;
  ring.memory.state().head = 8;
  // Believed only when the ring seems full: the writer writes into its own ring in any case.
  Wrote wrote = Wrote::all;
  for (int i = 0; i < 10 && wrote == Wrote::all; ++i)
    wrote = ring.writer.try_write(pattern(900, 0));
  CHECK(wrote == Wrote::full);
  ring.memory.state().head = std::uint64_t{1} << 40;
  CHECK(ring.writer.try_write(pattern(900, 0)) == Wrote::fault);
}

TEST_CASE("no bytes whatever make a reader leave the ring") {
  std::mt19937_64 random(7);
  std::size_t frames = 0;
  std::size_t faults = 0;
  for (int round = 0; round < probes::scaled(20'000); ++round) {
    Ring ring;
    // Mostly small numbers, so that many a frame looks right.
    for (std::uint64_t at = 0; at < kCapacity; at += 4) {
      const std::uint64_t kind = random() % 16;
      ring.memory.put(at, kind == 0
                              ? 0xffff'ffff
                              : static_cast<std::uint32_t>(random() % (kind == 1 ? 2000 : 64)));
    }
    ring.memory.state().tail = random() % (kCapacity / 8 + 2) * 8;
    RingReader::Frame frame;
    Read read = Read::frame;
    for (int i = 0; i < 100; ++i) {
      read = ring.reader.try_read(frame);
      if (read != Read::frame) break;
      ++frames;
      unsigned sum = 0;
      for (const std::byte byte : frame.body) sum += static_cast<unsigned>(byte);
      CHECK(sum < 255 * kCapacity);
      ring.reader.release();
      if (random() % 8 == 0) ring.memory.state().tail += random() % 64;
    }
    if (read == Read::fault) ++faults;
  }
  CHECK(frames > 1000);
  CHECK(faults > 100);
}

TEST_CASE("the bell is rung for one that sleeps, once, and for one that is away when it matters") {
  Ring ring;
  const Bytes body = pattern(100, 0);
  REQUIRE(ring.writer.try_write(body) == Wrote::all);
  CHECK_FALSE(ring.writer.must_ring(true));  // It polls.

  ring.reader.set_state(ReaderState::sleeps);
  CHECK(ring.writer.must_ring(false));
  CHECK_FALSE(ring.writer.must_ring(true));

  ring.reader.set_state(ReaderState::away);
  CHECK_FALSE(ring.writer.must_ring(false));
  CHECK(ring.writer.must_ring(true));
  ring.reader.set_state(ReaderState::away);
  while (ring.memory.state().tail.load() <= kCapacity / 2) {
    CHECK_FALSE(ring.writer.must_ring(false));
    REQUIRE(ring.writer.try_write(body) == Wrote::all);
  }
  CHECK(ring.writer.must_ring(false));
  CHECK_FALSE(ring.writer.must_ring(false));
}

TEST_CASE("a writer that waits for room is told once, when half of the ring is free") {
  Ring ring;
  const Bytes body = pattern(120, 0);  // 128 with its header: 32 of them.
  while (ring.writer.try_write(body) == Wrote::all) {
  }
  REQUIRE(ring.writer.wait_for_room());
  int told_at = 0;
  int told = 0;
  for (int read = 1; read <= 32; ++read) {
    RingReader::Frame frame;
    REQUIRE(ring.reader.try_read(frame) == Read::frame);
    if (!ring.reader.release()) continue;
    ++told;
    told_at = read;
  }
  CHECK(told == 1);
  CHECK(told_at == 16);
  CHECK_FALSE(ring.writer.wait_for_room());
}

namespace {

/// One thread's end of a ring with the bells of both, as a link has them.
struct Bell {
  int number = ::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  ~Bell() { ::close(number); }
  void ring() const {
    const std::uint64_t one = 1;
    if (::write(number, &one, sizeof one) != sizeof one) std::abort();
  }
  /// Sleeps until it is rung; false if it never is.
  bool wait() const {
    pollfd event{number, POLLIN, 0};
    if (::poll(&event, 1, 20'000) != 1) return false;
    std::uint64_t times = 0;
    return ::read(number, &times, sizeof times) == sizeof times;
  }
};

struct Tally {
  std::uint64_t slept = 0;
  bool lost = false;
  bool wrong = false;
};

void write_all(RingWriter& writer, const Bell& readers, const Bell& writers, std::uint64_t count,
               Tally& tally) {
  std::mt19937 random(11);
  for (std::uint64_t i = 0; i < count; ++i) {
    Bytes body = pattern(8 + random() % 300, i);
    std::memcpy(body.data(), &i, sizeof i);
    while (writer.try_write(body) != Wrote::all) {
      if (writer.must_ring(false)) readers.ring();
      if (!writer.wait_for_room()) continue;
      ++tally.slept;
      if (writers.wait()) continue;
      tally.lost = true;
      return;
    }
    if (writer.must_ring(false)) readers.ring();
    for (auto pause = random() % 64 == 0 ? random() % 2000 : 0; pause > 0; --pause) {
      __builtin_ia32_pause();
    }
  }
}

void read_all(RingReader& reader, const Bell& readers, const Bell& writers, std::uint64_t count,
              Tally& tally) {
  for (std::uint64_t i = 0; i < count;) {
    RingReader::Frame frame;
    const Read read = reader.try_read(frame);
    if (read == Read::frame) {
      std::uint64_t number = 0;
      std::memcpy(&number, frame.body.data(), sizeof number);
      const Bytes expected = pattern(frame.body.size(), i);
      tally.wrong |= number != i || !same(std::span(expected).subspan(8), frame.body.subspan(8));
      if (reader.release()) writers.ring();
      ++i;
      continue;
    }
    if (read == Read::fault) {
      tally.wrong = true;
      return;
    }
    reader.set_state(ReaderState::sleeps);
    if (reader.has_more()) {
      reader.set_state(ReaderState::polls);
      continue;
    }
    ++tally.slept;
    const bool rung = readers.wait();
    reader.set_state(ReaderState::polls);
    if (rung) continue;
    tally.lost = true;
    return;
  }
}

}  // namespace

TEST_CASE("of a writer and a reader who goes to sleep at that moment, one sees the other") {
  Ring ring;
  const Bytes body = pattern(8, 0);
  constexpr int kStop = -1;
  std::atomic<int> round{0};
  std::atomic<int> written{0};
  std::atomic<bool> rang{false};
  // Both have to be awake at the same moment, so they give their core away late.
  const auto await_change = [](const std::atomic<int>& number, int from) {
    int now = from;
    for (int spins = 1; now == from; ++spins) {
      now = number.load();
      __builtin_ia32_pause();
      if (spins % 20'000 == 0) std::this_thread::yield();
    }
    return now;
  };
  std::thread writer([&] {
    for (int i = 0; (i = await_change(round, i)) != kStop;) {
      const Wrote wrote = ring.writer.try_write(body);
      rang = ring.writer.must_ring(false) || wrote != Wrote::all;
      written = i;
    }
  });
  int lost = 0;
  int wrong = 0;
  // Where cores are scarce each round waits for one: no longer than it takes to be of use.
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(8);
  const int rounds = probes::scaled(100'000);
  for (int i = 1; i <= rounds && std::chrono::steady_clock::now() < end; ++i) {
    round = i;
    for (int pause = i % 64; pause > 0; --pause) __builtin_ia32_pause();
    ring.reader.set_state(ReaderState::sleeps);
    const bool saw = ring.reader.has_more();
    await_change(written, i - 1);
    lost += !saw && !rang;
    ring.reader.set_state(ReaderState::polls);
    RingReader::Frame frame;
    wrong += ring.reader.try_read(frame) != Read::frame;
    ring.reader.release();
  }
  round = kStop;
  writer.join();
  CHECK(lost == 0);
  CHECK(wrong == 0);
}

TEST_CASE("no wake-up is lost between two threads, and no byte") {
  Ring ring;
  Bell readers;
  Bell writers;
  Tally writing;
  Tally reading;
  const auto count = static_cast<std::uint64_t>(probes::scaled(300'000));
  std::thread writer([&] { write_all(ring.writer, readers, writers, count, writing); });
  read_all(ring.reader, readers, writers, count, reading);
  writer.join();
  CHECK_FALSE(reading.wrong);
  CHECK_FALSE(reading.lost);
  CHECK_FALSE(writing.lost);
  CHECK(reading.slept > 0);
  CHECK(writing.slept > 0);
}
