// Everything a program types: tasks, objects and actors. See docs/ and examples/.
#pragma once

#include <ray/actor.hpp>       // IWYU pragma: export
#include <ray/actor_pool.hpp>  // IWYU pragma: export
#include <ray/array.hpp>       // IWYU pragma: export
#include <ray/config.hpp>      // IWYU pragma: export
#include <ray/coroutine.hpp>   // IWYU pragma: export
#include <ray/error.hpp>       // IWYU pragma: export
#include <ray/exceptions.hpp>  // IWYU pragma: export
#include <ray/ids.hpp>         // IWYU pragma: export
#include <ray/object_ref.hpp>  // IWYU pragma: export
#include <ray/objects.hpp>     // IWYU pragma: export
#include <ray/options.hpp>     // IWYU pragma: export
#include <ray/remote.hpp>      // IWYU pragma: export
#include <ray/runtime.hpp>     // IWYU pragma: export
#include <ray/state.hpp>       // IWYU pragma: export
#include <ray/version.hpp>     // IWYU pragma: export
