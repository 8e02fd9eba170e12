// Failures as bytes: back again, within limits, and what is refused.
#include "support/catch.hpp"

#include "support/allocations.hpp"
#include "task/message_examples.hpp"

#include <string>
#include <string_view>
#include <vector>

namespace {

using namespace ray::detail;
using Catch::Matchers::ContainsSubstring;
using ray::SerializationError;

FailureParts again(const FailureParts& parts) { return decode_failure(encode_failure(parts)); }

std::string refusal(std::span<const std::byte> bytes) {
  try {
    decode_failure(bytes);
  } catch (const SerializationError& error) {
    return error.what();
  }
  return "accepted";
}

FailureParts with_text(std::size_t size) {
  FailureParts parts;
  parts.text.assign(size, 'x');
  return parts;
}

}  // namespace

TEST_CASE("a failure comes back as it was") {
  FailureParts parts = examples::failure();
  CHECK(again(parts) == parts);
  CHECK(again({}) == FailureParts{});
  parts.trail.assign(kTrailMax, std::string(kNameMax, 'n'));
  parts.trail_dropped = UINT64_MAX;
  parts.pid = -1;
  parts.type.assign(kFailureTextMax, 't');
  parts.type_id.assign(kFailureTextMax, 'i');
  parts.payload.assign(kFailurePayloadMax, std::byte{1});
  parts.code = ray::ErrorCode::authentication;
  CHECK(again(parts) == parts);
}

TEST_CASE("a failure's text is cut at 64 KiB, and says so") {
  CHECK(again(with_text(kFailureTextMax - 1)) == with_text(kFailureTextMax - 1));
  CHECK(again(with_text(kFailureTextMax)) == with_text(kFailureTextMax));
  const FailureParts cut = again(with_text(kFailureTextMax + 1));
  CHECK(cut.text.size() == kFailureTextMax);
  CHECK(cut.text.ends_with("x… (cut)"));
  CHECK(again(cut) == cut);
  // A character is not cut in two.
  FailureParts umlauts;
  umlauts.type = "x";
  for (std::size_t i = 0; i < kFailureTextMax; ++i) umlauts.type += "ä";
  CHECK(again(umlauts).type.size() <= kFailureTextMax);
  CHECK(again(umlauts).type.ends_with("ä… (cut)"));
}

TEST_CASE("a trail keeps 16 names of 256 bytes and counts the rest") {
  FailureParts parts;
  for (const std::size_t names : {kTrailMax - 1, kTrailMax}) {
    parts.trail.assign(names, "task");
    CHECK(again(parts) == parts);
  }
  parts.trail.assign(kTrailMax + 1, "task");
  CHECK(again(parts).trail.size() == kTrailMax);
  CHECK(again(parts).trail_dropped == 1);
  parts.trail_dropped = UINT64_MAX;
  CHECK(again(parts).trail_dropped == UINT64_MAX);
  parts.trail = {std::string(kNameMax, 'n'), std::string(kNameMax + 1, 'n')};
  CHECK(again(parts).trail == std::vector<std::string>(2, std::string(kNameMax, 'n')));
}

TEST_CASE("an exception that is too large to be made again is told by its text") {
  FailureParts parts = examples::failure();
  parts.payload.assign(kFailurePayloadMax + 1, std::byte{1});
  CHECK(again(parts).payload.empty());
  CHECK(again(parts).type_id.empty());
  CHECK(again(parts).type == "Broken");
  CHECK(again(parts).text == "no luck");
  parts = examples::failure();
  parts.type_id.assign(kFailureTextMax + 1, 'i');
  CHECK(again(parts).type_id.empty());
  CHECK(again(parts).payload.empty());
}

TEST_CASE("a failure passes from task to task with one more name each time") {
  Bytes bytes = encode_failure(examples::failure());
  for (int i = 0; i < 20; ++i) bytes = extend_failure(bytes, "task " + std::to_string(i));
  const FailureParts parts = decode_failure(bytes);
  CHECK(parts.trail.size() == kTrailMax);
  CHECK(parts.trail.front() == "draw");
  CHECK(parts.trail.back() == "task 13");
  CHECK(parts.trail_dropped == 6);
  CHECK(parts.text == "no luck");

  const FailureParts unreadable = decode_failure(extend_failure(examples::bytes_of("?"), "next"));
  CHECK(unreadable.code == ray::ErrorCode::serialization);
  CHECK_THAT(unreadable.text, ContainsSubstring("version 63"));
  CHECK(unreadable.trail == std::vector<std::string>{"next"});
}

TEST_CASE("bytes that are no failure are refused") {
  const Bytes good = encode_failure(examples::failure());
  for (std::size_t size = 0; size < good.size(); ++size) {
    const Bytes begin(good.begin(), good.begin() + static_cast<std::ptrdiff_t>(size));
    CHECK_THROWS_AS(decode_failure(begin), SerializationError);
  }
  const auto with_byte = [&](std::size_t at, int value) {
    Bytes bad = good;
    bad[at] = static_cast<std::byte>(value);
    return refusal(bad);
  };
  CHECK_THAT(with_byte(0, 2), ContainsSubstring("version 2, not 1"));
  CHECK_THAT(with_byte(1, 21), ContainsSubstring("failure, field code, at 1 of 43"));
  CHECK_THAT(refusal({}), ContainsSubstring("there are none"));
  Bytes longer = good;
  longer.push_back(std::byte{0});
  CHECK_THAT(refusal(longer), ContainsSubstring("left over"));

  // One over a limit: what encode_failure cuts, a peer may not send.
  const auto front = [](std::size_t empty_texts) {
    Bytes bytes(2 + empty_texts, std::byte{0});
    bytes[0] = std::byte{kFailureVersion};
    return bytes;
  };
  const auto append = [](Bytes bytes, std::initializer_list<int> more, std::size_t zeros) {
    for (const int byte : more) bytes.push_back(static_cast<std::byte>(byte));
    bytes.resize(bytes.size() + zeros);
    return bytes;
  };
  for (const std::size_t text : {0U, 1U, 2U}) {
    CHECK(refusal(append(front(text), {0x80, 0x80, 0x04}, kFailureTextMax + 6 - text)) ==
          "accepted");
    CHECK_THAT(refusal(append(front(text), {0x81, 0x80, 0x04}, kFailureTextMax + 7 - text)),
               ContainsSubstring("65537, at most 65536"));
  }
  CHECK(refusal(append(front(3), {0x80, 0x80, 0x40}, kFailurePayloadMax + 3)) == "accepted");
  CHECK_THAT(refusal(append(front(3), {0x81, 0x80, 0x40}, kFailurePayloadMax + 4)),
             ContainsSubstring("payload"));
  CHECK(refusal(append(front(4), {16}, 16 + 2)) == "accepted");
  CHECK_THAT(refusal(append(front(4), {17}, 17 + 2)), ContainsSubstring("trail"));
  CHECK(refusal(append(front(4), {1, 0x80, 0x02}, 256 + 2)) == "accepted");
  CHECK_THAT(refusal(append(front(4), {1, 0x81, 0x02}, 257 + 2)), ContainsSubstring("trail"));
}
