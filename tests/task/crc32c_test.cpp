// CRC-32C against the vectors of RFC 3720, B.4, by the instruction and by table.
#include "support/catch.hpp"

#include "task/crc32c.hpp"

#include <algorithm>
#include <array>
#include <random>
#include <string>
#include <vector>

namespace {

using ray::detail::crc32c;
using ray::detail::crc32c_by_table;
using Bytes = std::vector<std::byte>;

Bytes counted(int first, int step) {
  Bytes bytes(32);
  for (std::size_t i = 0; i < 32; ++i) {
    bytes[i] = static_cast<std::byte>(first + step * static_cast<int>(i));
  }
  return bytes;
}

}  // namespace

TEST_CASE("checksums are those of the standard") {
  const std::string digits = "123456789";
  const auto text = std::as_bytes(std::span(digits));
  // A SCSI read command, as the RFC has it.
  constexpr std::array<unsigned char, 48> kCommand = {
      0x01, 0xc0, 0, 0,    0, 0, 0, 0,    0,    0, 0, 0, 0, 0, 0, 0, 0x14, 0, 0, 0, 0, 0, 0x04, 0,
      0,    0,    0, 0x14, 0, 0, 0, 0x18, 0x28, 0, 0, 0, 0, 0, 0, 0, 0x02, 0, 0, 0, 0, 0, 0,    0};
  for (const auto& checksum : {crc32c, crc32c_by_table}) {
    CHECK(checksum({}, 0) == 0);
    CHECK(checksum(Bytes(32, std::byte{0}), 0) == 0x8a91'36aa);
    CHECK(checksum(Bytes(32, std::byte{0xff}), 0) == 0x62a8'ab43);
    CHECK(checksum(counted(0, 1), 0) == 0x46dd'794e);
    CHECK(checksum(counted(31, -1), 0) == 0x113f'db5c);
    CHECK(checksum(std::as_bytes(std::span(kCommand)), 0) == 0xd996'3a56);
    CHECK(checksum(text, 0) == 0xe306'9283);
    CHECK(checksum(text.subspan(4), checksum(text.first(4), 0)) == 0xe306'9283);
  }
}

TEST_CASE("the instruction and the table agree, at every length and alignment") {
  std::mt19937 random(3);
  Bytes bytes(4096);
  for (std::byte& byte : bytes) byte = static_cast<std::byte>(random());
  for (std::size_t from = 0; from < 16; ++from) {
    for (std::size_t size = 0; size < 300; ++size) {
      const auto part = std::span<const std::byte>(bytes).subspan(from, size);
      REQUIRE(crc32c(part, 5) == crc32c_by_table(part, 5));
    }
  }
}
