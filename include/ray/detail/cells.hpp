// Records that are not tasks: a stored value (Cell), one of several results (ElementOf), and what
// all records share: their memory, and the place of a value.
#pragma once

#include <cstddef>
#include <memory>
#include <new>
#include <type_traits>
#include <utility>

#include <ray/object_ref.hpp>
#include <ray/task/archive.hpp>

namespace ray::detail {

/// Memory for an object of `Record`, from the slab where its alignment allows.
template <class R>
void* allocate_record() {
  if constexpr (alignof(R) <= kSlabGranule) {
    return slab_allocate(sizeof(R));
  } else {
    return ::operator new(sizeof(R), std::align_val_t(alignof(R)));
  }
}
template <class R>
void free_record(void* memory) noexcept {
  if constexpr (alignof(R) <= kSlabGranule) {
    slab_free(memory, sizeof(R));
  } else {
    ::operator delete(memory, std::align_val_t(alignof(R)));
  }
}

/// Room for a T or a failure.
template <class T>
struct ValueRoom {
  static constexpr std::size_t size = sizeof(T) > sizeof(void*) ? sizeof(T) : sizeof(void*);
  static constexpr std::size_t align = alignof(T) > alignof(void*) ? alignof(T) : alignof(void*);
  alignas(align) std::byte bytes[size];
};
template <>
struct ValueRoom<void> {
  static constexpr std::size_t align = alignof(void*);
  alignas(void*) std::byte bytes[sizeof(void*)];
};

template <class T>
void drop_value(Object* object, std::uintptr_t seal) noexcept {
  if (seal == kFailed) {
    drop_failure(object);
  } else if (seal == kEncoded) {
    drop_encoded(object);
  } else if (seal == kValue) {
    if constexpr (!std::is_void_v<T>) std::destroy_at(static_cast<T*>(object->value()));
  }
}

/// What is made from bytes is made with defaults first, and then read into.
template <class T>
void write_whole(OutputArchive& out, const T& value) {
  if constexpr (!std::is_default_constructible_v<T>) {
    throw_not_serializable(type_text<T>());
  } else {
    out(value);
  }
}
template <class T>
void write_value_of(OutputArchive& out, Object* object) {
  if constexpr (!std::is_void_v<T>) write_whole<T>(out, value_of<T>(object));
}
template <class T>
void read_value_of(InputArchive& in, Object* object) {
  if constexpr (!std::is_void_v<T>) {
    if constexpr (!std::is_default_constructible_v<T>) {
      throw_not_serializable(type_text<T>());
    } else {
      T* value = ::new (object->value()) T();
      try {
        in(*value);
        in.finish(type_text<T>());
      } catch (...) {
        std::destroy_at(value);
        throw;
      }
    }
  }
}
template <class T>
inline constexpr ObjectCodec value_codec = {
    .write = [](OutputArchive& out, Object* object,
                std::uint32_t) { write_value_of<T>(out, object); },
    .read = read_value_of<T>,
    .results = 0,
    .write_arguments = nullptr,
    .element = nullptr,
    .stream = nullptr,
    .type = nullptr};

/// The ops of an object that is no task: its value in `R::place`.
template <class R, class T>
constexpr ObjectOps value_ops(ObjectKind kind, void (*destroy)(Object*) noexcept) {
  return {.destroy = destroy,
          .drop = drop_value<T>,
          .value_offset = R::value_offset(),
          .kind = kind,
          .retires = false,
          .leaf = false,
          .run = nullptr,
          .release_arguments = nullptr,
          .arguments = nullptr,
          .name = nullptr,
          .seal_elements = nullptr,
          .codec = &value_codec<T>};
}

// --- a stored value ---

template <class T>
struct Cell final : Object {
  ValueRoom<T> place;

  Cell(std::uint64_t parent_id, std::uint32_t child_index, std::uintptr_t seal)
      : Object(&ops, 1, parent_id, child_index, seal) {}

  template <class... Args>
  static Cell* make(std::pair<std::uint64_t, std::uint32_t> identity, Args&&... args) {
    struct Memory {  // Until the value stands.
      void* raw = allocate_record<Cell>();
      ~Memory() {
        if (raw != nullptr) free_record<Cell>(raw);
      }
    } memory;
    auto* cell = ::new (memory.raw) Cell(identity.first, identity.second, kValue);
    ::new (static_cast<void*>(cell->place.bytes)) T(std::forward<Args>(args)...);
    memory.raw = nullptr;
    return cell;
  }
  /// One whose value is only in the store; with the caller's reference.
  static Cell* make_encoded(std::pair<std::uint64_t, std::uint32_t> identity) {
    auto* cell = ::new (allocate_record<Cell>()) Cell(identity.first, identity.second, kEncoded);
    ::new (cell->value()) Encoded*(nullptr);
    return cell;
  }
  /// One that another process makes; with the caller's and the maker's reference.
  static Cell* make_pending(std::uint64_t id) {
    auto* cell = ::new (allocate_record<Cell>()) Cell(parent_of(id), 0, kPending);
    cell->refs.store(kRuntimeRef + 1, std::memory_order_relaxed);
    return cell;
  }
  static constexpr std::uint32_t value_offset() {
    return (sizeof(Object) + ValueRoom<T>::align - 1) / ValueRoom<T>::align * ValueRoom<T>::align;
  }
  static void destroy(Object* object) noexcept {
    auto* cell = static_cast<Cell*>(object);
    drop_value<T>(cell, cell->seal_state());
    cell->~Cell();
    free_record<Cell>(cell);
  }
  static constexpr ObjectOps ops = value_ops<Cell, T>(ObjectKind::cell, destroy);
};

template <class T>
Object* make_pending(std::uint64_t id) {
  return Cell<T>::make_pending(id);
}

template <class T>
struct Codec<ObjectRef<T>> {
  static void write(OutputArchive& out, const ObjectRef<T>& ref) {
    out.write_reference(RefAccess::object(ref), type_text<ObjectRef<T>>());
  }
  static void read(InputArchive& in, ObjectRef<T>& ref) {
    ref = RefAccess::adopt<T>(in.read_reference(&make_pending<T>, type_text<ObjectRef<T>>()));
  }
};

// --- one of several results, or of a stream's items ---

template <class T>
struct ElementOf final : Element {
  ValueRoom<T> place;

  ElementOf(ray::detail::Task* task, std::uint32_t position) : Element(&ops, task, position) {}

  static ElementOf* make(ray::detail::Task* task, std::uint32_t position) {
    void* memory = allocate_record<ElementOf>();
    retain(task);
    return ::new (memory) ElementOf(task, position);
  }
  static constexpr std::uint32_t value_offset() {
    return (sizeof(Element) + ValueRoom<T>::align - 1) / ValueRoom<T>::align * ValueRoom<T>::align;
  }
  static void destroy(Object* object) noexcept {
    auto* element = static_cast<ElementOf*>(object);
    drop_value<T>(element, element->seal_state());
    ray::detail::Task* task = element->producer;
    element->~ElementOf();
    free_record<ElementOf>(element);
    release(task);
  }
  static constexpr ObjectOps ops = value_ops<ElementOf, T>(ObjectKind::element, destroy);
};

}  // namespace ray::detail
