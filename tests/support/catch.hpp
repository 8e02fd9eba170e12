// Catch2, whichever of its two major versions is installed, under one spelling.
#pragma once

#if __has_include(<catch2/catch_all.hpp>)

#include <catch2/catch_all.hpp>

using Catch::Approx;

#else

#include <catch2/catch.hpp>

#include <string>

namespace Catch::Matchers {

inline auto ContainsSubstring(const std::string& text) { return Catch::Contains(text); }

}  // namespace Catch::Matchers

#endif
