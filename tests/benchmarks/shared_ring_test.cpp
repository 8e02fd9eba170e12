// The ring of the raw limits: if it lost messages, or a side slept through its bell, the limits
// would be of something else.
#include "support/catch.hpp"

#include "../../benchmarks/process_limits/shared_ring.hpp"

#include <cstdint>
#include <cstdlib>
#include <new>
#include <thread>

namespace {

using limits::SharedRing;
using limits::Waiting;

/// Zeroed, as the pages of a memfd are.
class Ring {
public:
  Ring() : ring_(new (std::aligned_alloc(64, sizeof(SharedRing))) SharedRing()) {}
  ~Ring() { std::free(ring_); }
  Ring(const Ring&) = delete;
  Ring& operator=(const Ring&) = delete;
  SharedRing* operator->() const { return ring_; }

private:
  SharedRing* ring_;
};

}  // namespace

TEST_CASE("a shared ring gives every message once and in order, also when it is full") {
  const auto waiting = GENERATE(Waiting::sleep, Waiting::poll);
  const Ring ring;
  // Many times its slots. A side that polls on a machine of one core waits for its time slice.
  constexpr std::uint64_t kMessages = 20 * SharedRing::kSlots;
  std::uint64_t wrong = 0;
  std::thread reader([&] {
    for (std::uint64_t i = 1; i <= kMessages; ++i) {
      const limits::Message message = ring->pop(waiting);
      if (message.words[0] != i || message.words[6] != ~i) ++wrong;
    }
  });
  for (std::uint64_t i = 1; i <= kMessages; ++i)
    ring->push({.words = {i, 0, 0, 0, 0, 0, ~i}}, waiting);
  reader.join();
  CHECK(wrong == 0);
}

TEST_CASE("a side of a shared ring that sleeps is woken for every message") {
  const Ring there;
  const Ring back;
  constexpr std::uint64_t kMessages = 2000;
  std::thread echo([&] {
    for (std::uint64_t i = 0; i < kMessages; ++i)
      back->push(there->pop(Waiting::sleep), Waiting::sleep);
  });
  std::uint64_t sum = 0;
  for (std::uint64_t i = 1; i <= kMessages; ++i) {
    there->push({.words = {i}}, Waiting::sleep);
    sum += back->pop(Waiting::sleep).words[0];
  }
  echo.join();
  CHECK(sum == kMessages * (kMessages + 1) / 2);
}
