#include <ray/task/archive.hpp>

#include "task/text.hpp"

namespace ray {

namespace detail {

void throw_not_serializable(std::string_view type) {
  throw SerializationError("ray: a value of type " + std::string(type) +
                           " cannot leave its process: it has no default constructor, or is no "
                           "plain struct of up to " +
                           std::to_string(kFieldsMax) +
                           " fields (no base, none private or const) and says nothing of itself; "
                           "give it a public member (or a friend class ray::Access) template "
                           "<class A> void serialize(A& archive) { archive(field, …); }, or both "
                           "save and load, or pass what can be sent: values, no pointers");
}

void throw_no_references(std::string_view type) {
  throw SerializationError("ray: " + std::string(type) +
                           " stands in a place where references cannot be sent");
}

void throw_inherited(std::string_view type, std::string_view base) {
  throw SerializationError("ray: a value of type " + std::string(type) +
                           " cannot leave its process: it inherits serialize from " +
                           std::string(base) +
                           ", which leaves its own fields behind; give it a serialize that says "
                           "Base::serialize(archive); archive(field, …);");
}

void throw_too_deep(std::string_view type) {
  throw SerializationError("ray: values lie in one another more than " + std::to_string(kDepthMax) +
                           " deep, at a " + std::string(type) +
                           "; send long chains as a vector of their elements");
}

}  // namespace detail

// --- writing ---

void OutputArchive::write_size(std::uint64_t size) {
  while (size >= 0x80) {
    write_number(static_cast<std::uint8_t>(size | 0x80));
    size >>= 7;
  }
  write_number(static_cast<std::uint8_t>(size));
}

/// The lowest bit of the size says whether the bytes lie beside.
void OutputArchive::write_block(const void* data, std::size_t size) {
  const bool beside = size >= beside_bytes_ && !lifetime_.ends_soon;
  write_size(std::uint64_t{size} << 1 | (beside ? 1 : 0));
  if (beside) {
    beside_.emplace_back(static_cast<const std::byte*>(data), size);
  } else if (size != 0) {
    write_raw(data, size);
  }
}

void OutputArchive::write_reference(detail::Object* object, std::string_view type) {
  if (references_ == nullptr) detail::throw_no_references(type);
  write_number(object == nullptr ? std::uint64_t{0} : references_->write(object));
}

void OutputArchive::write_actor(detail::ActorCore* actor) {
  if (references_ == nullptr) detail::throw_no_references("an ActorHandle");
  (*this)(actor != nullptr);
  if (actor != nullptr) references_->write_actor(*this, actor);
}

// --- reading ---

void InputArchive::fail(std::string_view type, std::string_view what) const {
  throw SerializationError("ray: the bytes of a " + std::string(type) + " at " +
                           std::to_string(at_) + " of " + std::to_string(bytes_.size()) + ": " +
                           std::string(what) + "; were they written by the same program?");
}

void InputArchive::finish(std::string_view type) const {
  if (remaining() != 0) fail(type, std::to_string(remaining()) + " bytes are left over");
  if (next_beside_ != beside_.size()) fail(type, "a block beside them is left over");
}

void InputArchive::read_raw(void* into, std::size_t size, std::string_view type) {
  if (size > remaining()) {
    fail(type,
         std::to_string(size) + " more are needed, " + std::to_string(remaining()) + " are left");
  }
  if (size != 0) std::memcpy(into, bytes_.data() + at_, size);
  at_ += size;
}

std::uint64_t InputArchive::read_size(std::uint64_t most, std::string_view type) {
  std::uint64_t size = 0;
  for (unsigned shift = 0;; shift += 7) {
    const auto byte = read_number<std::uint8_t>();
    if (shift == 63 && byte > 1) fail(type, "a size of more than 64 bits");
    size |= std::uint64_t{byte & 0x7fU} << shift;
    if (byte < 0x80) {
      if (byte == 0 && shift != 0) fail(type, "a size written longer than it is");
      break;
    }
  }
  if (size > most) {
    fail(type, "a size of " + std::to_string(size) + ", at most " + std::to_string(most) +
                   " are possible");
  }
  return size;
}

InputArchive::Piece InputArchive::read_block(std::size_t unit, std::string_view type) {
  const std::uint64_t word = read_size(UINT64_MAX, type);
  const std::uint64_t size = word >> 1;
  Piece block;
  if ((word & 1) != 0) {
    if (next_beside_ == beside_.size()) fail(type, "a block beside them is missing");
    block = beside_[next_beside_++];
    if (block.size() != size) fail(type, "the block beside them has another size");
  } else {
    if (size > remaining()) fail(type, std::to_string(size) + " bytes of numbers are not there");
    block = bytes_.subspan(at_, static_cast<std::size_t>(size));
    at_ += block.size();
  }
  if (block.size() % unit != 0) fail(type, "part of a number");
  return block;
}

detail::Object* InputArchive::read_reference(detail::Object* (*make)(std::uint64_t),
                                             std::string_view type) {
  const auto word = read_number<std::uint64_t>();
  if (word == 0) return nullptr;
  if (references_ == nullptr) detail::throw_no_references(type);
  return references_->read(word, make);
}

detail::ActorCore* InputArchive::read_actor(const detail::ActorClass* actor_class) {
  bool there = false;
  (*this)(there);
  if (!there) return nullptr;
  if (references_ == nullptr) detail::throw_no_references("an ActorHandle");
  return references_->read_actor(*this, actor_class);
}

}  // namespace ray
