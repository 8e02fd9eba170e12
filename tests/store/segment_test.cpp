// Segments: what a reader cannot do, whatever it tries, and memory that comes and goes.
#include "support/catch.hpp"

#include "store/segment.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <string>

namespace {

using ray::detail::Descriptor;
using ray::detail::MemoryAccess;
using ray::detail::Segment;
using ray::detail::SystemFault;

constexpr std::uint64_t kSize = std::uint64_t{1} << 20;

Segment make(std::uint64_t size = kSize) {
  SystemFault fault;
  auto segment = Segment::make(size, fault);
  INFO(fault.text());
  REQUIRE(segment.has_value());
  return std::move(*segment);
}

Descriptor copy(const Segment& segment) { return Descriptor(::dup(segment.descriptor())); }

/// Bytes of memory behind the segment.
std::uint64_t held(const Segment& segment) {
  struct stat status {};
  REQUIRE(::fstat(segment.descriptor(), &status) == 0);
  return static_cast<std::uint64_t>(status.st_blocks) * 512;
}

bool can_map(int memory, int protection) {
  void* mapped = ::mmap(nullptr, kSize, protection, MAP_SHARED, memory, 0);
  if (mapped == MAP_FAILED) return false;
  ::munmap(mapped, kSize);
  return true;
}

/// All the ways to write or resize; how many of them worked.
int attacks(int memory) {
  int worked = 0;
  worked += can_map(memory, PROT_READ | PROT_WRITE);
  worked += can_map(memory, PROT_WRITE);
  void* mapped = ::mmap(nullptr, kSize, PROT_READ, MAP_SHARED, memory, 0);
  REQUIRE(mapped != MAP_FAILED);
  worked += ::mprotect(mapped, kSize, PROT_READ | PROT_WRITE) == 0;
  worked += ::mprotect(mapped, 4096, PROT_WRITE) == 0;
  worked += ::madvise(mapped, kSize, MADV_REMOVE) == 0;
  ::munmap(mapped, kSize);
  worked += ::write(memory, "evil", 4) == 4;
  worked += ::pwrite(memory, "evil", 4, 100) == 4;
  worked += ::ftruncate(memory, 0) == 0;
  worked += ::ftruncate(memory, 2 * kSize) == 0;
  worked += ::fallocate(memory, 0, kSize, kSize) == 0;
  worked += ::fallocate(memory, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 4096) == 0;
  return worked;
}

}  // namespace

TEST_CASE("the writer of a segment writes on after it is sealed, and readers see it") {
  SystemFault fault;
  Segment host = make();
  auto writer = Segment::attach(copy(host), kSize, MemoryAccess::read_write, fault);
  REQUIRE(writer);
  REQUIRE(host.seal(fault));
  auto reader = Segment::attach(copy(host), kSize, MemoryAccess::read, fault);
  REQUIRE(reader);
  std::strcpy(reinterpret_cast<char*>(writer->bytes().data()) + 1000, "by the writer");
  std::strcpy(reinterpret_cast<char*>(host.bytes().data()) + 2000, "by the host");
  CHECK(std::string(reinterpret_cast<char*>(reader->bytes().data()) + 1000) == "by the writer");
  CHECK(std::string(reinterpret_cast<char*>(reader->bytes().data()) + 2000) == "by the host");
  writer->close_descriptor();
  CHECK(writer->descriptor() == -1);
  writer->bytes()[5] = std::byte{7};
  CHECK(reader->bytes()[5] == std::byte{7});
  // Nobody comes later who writes.
  CHECK_FALSE(Segment::attach(copy(host), kSize, MemoryAccess::read_write, fault));
  CHECK(fault.error == EPERM);
}

TEST_CASE("a reader can neither write nor resize a sealed segment") {
  SystemFault fault;
  const Segment host = make();
  host.bytes()[0] = std::byte{1};
  const Descriptor before = copy(host);
  CHECK(attacks(before.number()) > 5);  // The attacks are such that work where nothing is sealed.

  Segment sealed = make();
  const Descriptor memory = copy(sealed);
  REQUIRE(sealed.seal(fault));
  CHECK(attacks(memory.number()) == 0);
  CHECK(::fcntl(memory.number(), F_ADD_SEALS, F_SEAL_WRITE) != 0);
  // Nor by opening it anew.
  const std::string path = "/proc/self/fd/" + std::to_string(memory.number());
  const Descriptor again(::open(path.c_str(), O_RDWR | O_CLOEXEC));
  if (again) CHECK(attacks(again.number()) == 0);
  CHECK_FALSE(sealed.seal(fault));  // Once.
}

TEST_CASE("a descriptor for readers of an unsealed segment does not write") {
  SystemFault fault;
  const Segment host = make();
  const auto memory = host.open_for_readers(fault);
  REQUIRE(memory);
  CHECK(attacks(memory->number()) == 0);
  auto reader =
      Segment::attach(Descriptor(::dup(memory->number())), kSize, MemoryAccess::read, fault);
  REQUIRE(reader);
  host.bytes()[9] = std::byte{9};
  CHECK(reader->bytes()[9] == std::byte{9});
  CHECK_FALSE(
      Segment::attach(Descriptor(::dup(memory->number())), kSize, MemoryAccess::read_write, fault));
}

TEST_CASE("a segment is not attached unless it is what it should be") {
  SystemFault fault;
  const Segment host = make();
  SECTION("another size") {
    CHECK_FALSE(Segment::attach(copy(host), kSize + 4096, MemoryAccess::read_write, fault));
    CHECK(fault.text() == "shared memory has another size than was said");
    CHECK_FALSE(Segment::attach(copy(host), 0, MemoryAccess::read_write, fault));
  }
  SECTION("a reader gets one that it could write") {
    CHECK_FALSE(Segment::attach(copy(host), kSize, MemoryAccess::read, fault));
    CHECK(fault.text() == "a segment is handed to a reader who could write it");
  }
  SECTION("memory that can shrink") {
    Descriptor loose(::memfd_create("loose", MFD_CLOEXEC | MFD_ALLOW_SEALING));
    REQUIRE(::ftruncate(loose.number(), kSize) == 0);
    CHECK_FALSE(Segment::attach(std::move(loose), kSize, MemoryAccess::read_write, fault));
    CHECK(fault.text() == "shared memory is no sealed memfd");
  }
  SECTION("no memory at all") {
    int ends[2];
    REQUIRE(::pipe2(ends, O_CLOEXEC) == 0);
    const Descriptor writing(ends[1]);
    CHECK_FALSE(Segment::attach(Descriptor(ends[0]), kSize, MemoryAccess::read_write, fault));
    CHECK_FALSE(Segment::attach(Descriptor(::open("/", O_DIRECTORY | O_CLOEXEC)), kSize,
                                MemoryAccess::read, fault));
    CHECK_FALSE(Segment::attach(Descriptor(), kSize, MemoryAccess::read, fault));
    CHECK(fault.error == EBADF);
  }
  SECTION("impossible sizes") {
    CHECK_FALSE(Segment::make(0, fault));
    CHECK_FALSE(Segment::make(UINT64_MAX, fault));
  }
}

TEST_CASE("memory comes when it is populated and goes when it is discarded") {
  SystemFault fault;
  Segment segment = make();
  CHECK(held(segment) == 0);
  REQUIRE(segment.populate(8192, 65'536, fault));
  CHECK(held(segment) == 65'536);
  segment.bytes()[8192] = std::byte{1};
  segment.bytes()[8192 + 4096] = std::byte{2};
  REQUIRE(segment.populate(8192, 65'536, fault));  // What is there stays as it is.
  CHECK(segment.bytes()[8192] == std::byte{1});
  // Only whole pages go: a neighbour's bytes stay.
  REQUIRE(segment.discard(8193, 8191, fault));
  CHECK(held(segment) == 65'536 - 4096);
  CHECK(segment.bytes()[8192] == std::byte{1});
  CHECK(segment.bytes()[8192 + 4096] == std::byte{0});
  REQUIRE(segment.discard(0, kSize, fault));
  CHECK(held(segment) == 0);
  REQUIRE(segment.discard(100, 200, fault));
  CHECK_FALSE(segment.populate(kSize, 1, fault));
  CHECK_FALSE(segment.populate(UINT64_MAX, 2, fault));
  CHECK_FALSE(segment.discard(1, UINT64_MAX, fault));
  CHECK(fault.error == EINVAL);

  REQUIRE(segment.populate(0, kSize, fault));
  REQUIRE(segment.seal(fault));
  REQUIRE(segment.populate(0, kSize, fault));
  CHECK_FALSE(segment.discard(0, kSize, fault));  // The kernel's rule; see the header.
  CHECK(fault.error == EPERM);
  auto reader = Segment::attach(copy(segment), kSize, MemoryAccess::read, fault);
  REQUIRE(reader);
  CHECK(reader->populate(0, kSize, fault));
  segment.close_descriptor();
  CHECK_FALSE(segment.populate(0, kSize, fault));
  CHECK(fault.text() == "fallocate: Bad file descriptor");
}
