#include "task/message_codec.hpp"

#include <array>
#include <string>
#include <string_view>
#include <utility>

#include <ray/config.hpp>
#include <ray/error.hpp>
#include <ray/task/archive.hpp>

#include "task/message_fields.hpp"

namespace ray::detail {

namespace {

template <class M>
constexpr std::string_view message_name() {
  constexpr std::string_view text = type_text<M>();
  return text.substr(text.rfind(':') + 1);
}
static_assert(message_name<message::Submit>() == "Submit");

constexpr std::size_t kMessageTypes = std::variant_size_v<Message>;

template <class M, std::size_t I = 0>
constexpr std::byte message_type() {
  if constexpr (std::is_same_v<M, std::variant_alternative_t<I, Message>>) {
    return std::byte{I + 1};
  } else {
    return message_type<M, I + 1>();
  }
}

/// What every task costs is inlined as a whole, which takes a third less time.
template <class M>
inline constexpr bool is_hot = std::is_same_v<M, message::Submit> ||
                               std::is_same_v<M, message::Run> || std::is_same_v<M, message::Done>;

template <class M>
[[gnu::always_inline]] inline void write_message(const M& message, Bytes& out) {
  WireMeasure measure(message_name<M>());
  walk(measure, message);
  const std::size_t size = 1 + measure.size();
  if (size > kMessageMax) [[unlikely]]
    throw_unsendable({message_name<M>()}, "whole", size, kMessageMax);
  const std::size_t from = out.size();
  out.resize(from + size);
  out[from] = message_type<M>();
  WireWriter writer(out.data() + from + 1);
  walk(writer, message);
  RAY_ASSERT(writer.at() == out.data() + out.size());
}
template <class M>
[[gnu::flatten]] void write_hot(const M& message, Bytes& out) {
  write_message(message, out);
}

template <class M>
[[gnu::always_inline]] inline Message read_message(std::span<const std::byte> bytes) {
  Message message(std::in_place_type<M>);
  WireReader reader(message_name<M>(), bytes, 1);
  walk(reader, std::get<M>(message));
  reader.finish();
  return message;
}
template <class M>
[[gnu::flatten]] Message read_hot(std::span<const std::byte> bytes) {
  return read_message<M>(bytes);
}

template <std::size_t I>
Message read_nth(std::span<const std::byte> bytes) {
  using M = std::variant_alternative_t<I, Message>;
  if constexpr (is_hot<M>) {
    return read_hot<M>(bytes);
  } else {
    return read_message<M>(bytes);
  }
}

template <std::size_t... I>
constexpr auto message_readers(std::index_sequence<I...>) {
  return std::array{&read_nth<I>...};
}

}  // namespace

template <OneMessage M>
void encode(const M& message, Bytes& out) {
  if constexpr (is_hot<M>) {
    write_hot(message, out);
  } else {
    write_message(message, out);
  }
}

void encode(const Message& message, Bytes& out) {
  std::visit([&](const auto& one) { encode(one, out); }, message);
}

Message decode(std::span<const std::byte> bytes) {
  static constexpr auto readers = message_readers(std::make_index_sequence<kMessageTypes>());
  if (bytes.empty()) throw SerializationError("ray: a message without bytes");
  if (bytes.size() > kMessageMax) {
    throw SerializationError("ray: a message of " + std::to_string(bytes.size()) +
                             " bytes, at most " + std::to_string(kMessageMax) + " are possible");
  }
  const auto type = static_cast<std::size_t>(bytes[0]);
  if (type == 0 || type > kMessageTypes) {
    throw SerializationError("ray: a message of type " + std::to_string(type) +
                             ", which is none; do both sides speak the same version?");
  }
  return readers[type - 1](bytes);
}

template void encode(const message::Hello&, Bytes&);
template void encode(const message::Submit&, Bytes&);
template void encode(const message::Put&, Bytes&);
template void encode(const message::Reserve&, Bytes&);
template void encode(const message::Unreserve&, Bytes&);
template void encode(const message::References&, Bytes&);
template void encode(const message::Want&, Bytes&);
template void encode(const message::Fetch&, Bytes&);
template void encode(const message::Unpin&, Bytes&);
template void encode(const message::Blocked&, Bytes&);
template void encode(const message::Unblocked&, Bytes&);
template void encode(const message::Began&, Bytes&);
template void encode(const message::Suspended&, Bytes&);
template void encode(const message::GiveBack&, Bytes&);
template void encode(const message::Done&, Bytes&);
template void encode(const message::Yielded&, Bytes&);
template void encode(const message::Consumed&, Bytes&);
template void encode(const message::Cancel&, Bytes&);
template void encode(const message::KillActor&, Bytes&);
template void encode(const message::FindActor&, Bytes&);
template void encode(const message::Ask&, Bytes&);
template void encode(const message::SegmentMapped&, Bytes&);
template void encode(const message::Welcome&, Bytes&);
template void encode(const message::Run&, Bytes&);
template void encode(const message::Sealed&, Bytes&);
template void encode(const message::Fetched&, Bytes&);
template void encode(const message::Reserved&, Bytes&);
template void encode(const message::CancelTask&, Bytes&);
template void encode(const message::Deadlock&, Bytes&);
template void encode(const message::Recall&, Bytes&);
template void encode(const message::Item&, Bytes&);
template void encode(const message::Credit&, Bytes&);
template void encode(const message::ActorFound&, Bytes&);
template void encode(const message::ActorEnded&, Bytes&);
template void encode(const message::Answer&, Bytes&);
template void encode(const message::Exit&, Bytes&);

}  // namespace ray::detail
