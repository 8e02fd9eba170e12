// Names of types and functions, as the compiler prints them.
#pragma once

#include <cstddef>
#include <string_view>

namespace ray::detail {

/// From what the compiler prints of a function template: its argument behind `label`.
constexpr std::string_view argument_text(std::string_view function, std::string_view label) {
  const std::size_t from = function.find(label) + label.size();
  return function.substr(from, function.find_first_of(";]", from) - from);
}

template <class T>
constexpr std::string_view type_text() {
  constexpr std::string_view text = argument_text(__PRETTY_FUNCTION__, "T = ");
  return text;
}

}  // namespace ray::detail
