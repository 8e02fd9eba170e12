// Exceptions of the user's own that shall come back from other processes as themselves.
#pragma once

#include <exception>
#include <string>
#include <type_traits>
#include <typeinfo>

#include <ray/task/archive.hpp>

namespace ray {

namespace detail {

/// How an exception's type is written and made again.
struct ExceptionType {
  const std::type_info* type;
  /// False if it is none of this type (exactly, not derived).
  bool (*write)(OutputArchive& out, const std::exception& exception);
  std::exception_ptr (*make)(InputArchive& in);
};
/// Threads: any. Again is harmless.
void enter_exception_type(const ExceptionType& type);

template <class E>
inline constexpr bool says_how = SavesItself<E> || SerializesItself<E, OutputArchive> ||
                                 SavedBeside<E> || SerializedBeside<E, OutputArchive>;

}  // namespace detail

/// Lets exceptions of type E come back as themselves where they cross from another process. Within
/// one process every type does so anyway. E says how it is serialized (then it has a default
/// constructor), or can be made from its text. Call it before init(): then workers know it too.
/// Threads: any; may be called again.
template <class E>
void register_exception() {
  static_assert(std::is_copy_constructible_v<E>, "ray: an exception that travels is copied");
  static_assert(std::is_convertible_v<const E*, const std::exception*>,
                "ray: an exception that travels derives from std::exception");
  constexpr bool has_fields = detail::says_how<E> && std::is_default_constructible_v<E>;
  static_assert(has_fields || std::is_constructible_v<E, const std::string&>,
                "ray: an exception that travels can be made from a std::string, or has serialize() "
                "(or save() and load()) and a default constructor");
  detail::enter_exception_type({.type = &typeid(E),
                                .write =
                                    [](OutputArchive& out, const std::exception& exception) {
                                      if (typeid(exception) != typeid(E)) return false;
                                      if constexpr (has_fields) {
                                        out(dynamic_cast<const E&>(exception));
                                      } else {
                                        out(std::string(exception.what()));
                                      }
                                      return true;
                                    },
                                .make =
                                    [](InputArchive& in) {
                                      if constexpr (has_fields) {
                                        E exception;
                                        in(exception);
                                        return std::make_exception_ptr(exception);
                                      } else {
                                        std::string text;
                                        in(text);
                                        return std::make_exception_ptr(E(text));
                                      }
                                    }});
}

}  // namespace ray
