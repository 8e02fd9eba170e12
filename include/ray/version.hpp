// The library's version: the one place that says it; CMake and Conan read it from here.
#pragma once

#define RAY_VERSION_MAJOR 0
#define RAY_VERSION_MINOR 1
#define RAY_VERSION_PATCH 0
#define RAY_VERSION_STRING "0.1.0"
