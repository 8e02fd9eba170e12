// What a worker process is: the executable once more, which becomes a worker where the driver made
// its runtime.
#pragma once

#include <string_view>

#include <ray/options.hpp>

#include "runtime/channel.hpp"
#include "runtime/spawner.hpp"
#include "store/segment.hpp"
#include "transport/link.hpp"

namespace ray::detail {

/// Whether this process was started as a worker.
bool is_worker_process();
/// Runs what the node sends until it says Exit, and ends the process. `enter` makes the runtime
/// known as that of this process.
[[noreturn]] void serve_as_worker(void (*enter)(Engine& engine));
/// Whose lines this process prints from here on. Threads: any.
void name_output(std::string_view name);

}  // namespace ray::detail
