#include "task/failure_codec.hpp"

#include <algorithm>
#include <concepts>
#include <type_traits>

#include <ray/config.hpp>

#include "task/wire.hpp"

namespace ray::detail {

namespace {

constexpr std::string_view kCutMark = "… (cut)";
constexpr ListRule kTrailRule{kTrailMax, 1, false};

template <class Walker, class Parts>
requires std::same_as<std::remove_const_t<Parts>, FailureParts>
void walk(Walker& walker, Parts& parts) {
  walker.choice("code", parts.code, ErrorCode::authentication);
  walker.text("type", parts.type, kFailureTextMax);
  walker.text("type_id", parts.type_id, kFailureTextMax);
  walker.text("text", parts.text, kFailureTextMax);
  walker.bytes("payload", parts.payload, kFailurePayloadMax);
  walker.list("trail", parts.trail, kTrailRule,
              [](Walker& each, auto& name) { each.text("trail", name, kNameMax); });
  walker.count("trail_dropped", parts.trail_dropped);
  walker.number("pid", parts.pid);
}

bool is_bounded(const FailureParts& parts) {
  return parts.type.size() <= kFailureTextMax && parts.type_id.size() <= kFailureTextMax &&
         parts.text.size() <= kFailureTextMax && parts.payload.size() <= kFailurePayloadMax &&
         parts.trail.size() <= kTrailMax &&
         std::all_of(parts.trail.begin(), parts.trail.end(),
                     [](const std::string& name) { return name.size() <= kNameMax; });
}

void bound_text(std::string& text) {
  if (text.size() <= kFailureTextMax) return;
  text.resize(cut(text, kFailureTextMax - kCutMark.size()).size());
  text += kCutMark;
}

FailureParts bounded(FailureParts parts) {
  bound_text(parts.type);
  bound_text(parts.text);
  if (parts.type_id.size() > kFailureTextMax || parts.payload.size() > kFailurePayloadMax) {
    parts.type_id.clear();
    parts.payload.clear();
  }
  if (parts.trail.size() > kTrailMax) {
    const std::uint64_t more = parts.trail.size() - kTrailMax;
    parts.trail_dropped += std::min(more, UINT64_MAX - parts.trail_dropped);
    parts.trail.resize(kTrailMax);
  }
  for (std::string& name : parts.trail) name.resize(cut(name).size());
  return parts;
}

}  // namespace

Bytes encode_failure(const FailureParts& parts) {
  if (!is_bounded(parts)) return encode_failure(bounded(parts));
  WireMeasure measure("failure");
  walk(measure, parts);
  Bytes out(1 + measure.size());
  out[0] = std::byte{kFailureVersion};
  WireWriter writer(out.data() + 1);
  walk(writer, parts);
  RAY_ASSERT(writer.at() == out.data() + out.size());
  return out;
}

FailureParts decode_failure(std::span<const std::byte> bytes) {
  if (bytes.empty() || bytes[0] != std::byte{kFailureVersion}) {
    throw SerializationError("ray: the bytes of a failure: " +
                             (bytes.empty()
                                  ? std::string("there are none")
                                  : "version " + std::to_string(static_cast<unsigned>(bytes[0])) +
                                        ", not " + std::to_string(kFailureVersion)));
  }
  FailureParts parts;
  WireReader reader("failure", bytes, 1);
  walk(reader, parts);
  reader.finish();
  return parts;
}

Bytes extend_failure(std::span<const std::byte> bytes, std::string_view task_name) {
  FailureParts parts;
  try {
    parts = decode_failure(bytes);
  } catch (const SerializationError& error) {
    parts.code = ErrorCode::serialization;
    parts.type = "ray::SerializationError";
    parts.text = error.what();
  }
  parts.trail.emplace_back(task_name);  // One too many is counted by encode_failure.
  return encode_failure(parts);
}

}  // namespace ray::detail
