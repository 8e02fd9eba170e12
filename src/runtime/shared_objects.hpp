// Objects of this process that others know too, by id: placeholders of what others make, and what
// was made here and sent there. An entry does not keep its object; when that ends, the clients that
// entered it give their reference back to the node.
#pragma once

#include <cstdint>
#include <utility>

#include <ray/task/record.hpp>

namespace ray::detail {

/// The object that the client of that engine entered, with a reference of the caller's; or null.
Object* find_shared(std::uint16_t engine, std::uint64_t id) noexcept;
/// The same, or else a new one that `make` makes, entered; and whether it is new.
std::pair<Object*, bool> find_or_enter_shared(std::uint16_t engine, std::uint64_t id,
                                              Object* (*make)(std::uint64_t id));
/// Requires: the caller holds a reference.
void enter_shared(std::uint16_t engine, std::uint64_t id, Object* object);
/// Whether it is entered; a dying one of the same id is not it.
bool is_shared(std::uint16_t engine, std::uint64_t id, const Object* object) noexcept;
/// The engine whose client entered it; 0 if none did.
std::uint16_t shared_home(const Object* object) noexcept;
/// Sees that the ends of shared objects are noticed. Idempotent.
void watch_shared_objects() noexcept;

}  // namespace ray::detail
