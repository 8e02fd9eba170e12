// RuntimeOptions from the command line and the environment, and whether they make sense.
#pragma once

#include <ray/options.hpp>

namespace ray::detail {

/// Takes `--ray-…` flags out of argv. Throws InvalidArgumentError naming key and value.
void read_arguments(int& argc, char** argv, RuntimeOptions& options);
/// Fills what is at its default from RAY_… variables. Throws as above.
void read_environment(RuntimeOptions& options);
/// Throws InvalidArgumentError for what is wrong, or not in this version yet.
void check(const RuntimeOptions& options);

}  // namespace ray::detail
