#include "task/wire.hpp"

#include <ray/error.hpp>

namespace ray::detail {

namespace {

std::string field_name(const WirePosition& position, const char* field) {
  std::string name = position.inside == nullptr ? "" : std::string(position.inside) + ".";
  return name + field;
}

}  // namespace

void throw_unsendable(const WirePosition& position, const char* field, std::uint64_t size,
                      std::uint64_t most) {
  throw SerializationError("ray: a " + std::string(position.type) + " cannot be sent: its " +
                           field_name(position, field) + " has " + std::to_string(size) +
                           ", at most " + std::to_string(most) + " can be sent");
}

void throw_unreadable(const WirePosition& position, const char* field, std::size_t at,
                      std::size_t size, const std::string& what) {
  throw SerializationError("ray: the bytes of a " + std::string(position.type) + ", field " +
                           field_name(position, field) + ", at " + std::to_string(at) + " of " +
                           std::to_string(size) + ": " + what +
                           "; do both sides speak the same version?");
}

}  // namespace ray::detail
