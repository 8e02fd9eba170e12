// What a node tells of itself, as bytes: the answers to message::Ask.
#pragma once

#include <ray/state.hpp>

#include "task/messages.hpp"

namespace ray::detail {

inline constexpr char kAskState[] = "state";
inline constexpr char kAskNode[] = "node";        // Only State::nodes.
inline constexpr char kAskDemands[] = "demands";  // What lacks resources, as text.

/// At most `most` bytes: the oldest tasks are left out, and counted as dropped.
Bytes encode_state(State state, std::size_t most);
/// Throws SerializationError.
State decode_state(const Bytes& bytes);

}  // namespace ray::detail
