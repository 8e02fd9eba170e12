# What people who work on the library want on top of it. Nothing here reaches a consumer.
include_guard()

# Someone who types plain `cmake` means the fast build.
get_property(is_multi_config GLOBAL PROPERTY GENERATOR_IS_MULTI_CONFIG)
if(PROJECT_IS_TOP_LEVEL AND NOT is_multi_config AND NOT CMAKE_BUILD_TYPE)
  set(CMAKE_BUILD_TYPE Release CACHE STRING "Debug, Release, RelWithDebInfo or MinSizeRel" FORCE)
endif()

# Set by the presets: "address,undefined" or "thread".
set(RAY_SANITIZE "" CACHE STRING "Sanitizers for everything built here")
if(RAY_SANITIZE)
  add_compile_options(-fsanitize=${RAY_SANITIZE} -fno-sanitize-recover=all -fno-omit-frame-pointer)
  add_link_options(-fsanitize=${RAY_SANITIZE})
  if(RAY_SANITIZE MATCHES "undefined")
    # It makes a pipe before it looks at an object, and calls the object broken where no descriptor
    # is left: the tests of F34 take them all.
    add_compile_options(-fno-sanitize=vptr)
  endif()
  if(RAY_SANITIZE STREQUAL "thread" AND CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
    add_compile_options(-Wno-tsan)  # GCC warns of every fence, also of those TSan need not see.
  endif()
endif()

# ccache keeps results with a precompiled header only when told that this is safe. Where it cannot
# write its folder (no home, a home that is read-only) it fails, and we do without.
find_program(RAY_CCACHE ccache)
if(RAY_CCACHE AND NOT CMAKE_CXX_COMPILER_LAUNCHER)
  set(probe ${CMAKE_BINARY_DIR}/CMakeFiles/ccache_probe)
  file(WRITE ${probe}.cpp "int probe;\n")
  execute_process(COMMAND ${RAY_CCACHE} ${CMAKE_CXX_COMPILER} -c ${probe}.cpp -o ${probe}.o
    RESULT_VARIABLE failed OUTPUT_QUIET ERROR_VARIABLE why ERROR_STRIP_TRAILING_WHITESPACE)
  if(failed)
    message(STATUS "ray: not using ccache: ${why}")
  else()
    set(CMAKE_CXX_COMPILER_LAUNCHER
      ${CMAKE_COMMAND} -E env CCACHE_SLOPPINESS=pch_defines,time_macros ${RAY_CCACHE})
  endif()
endif()

# Warnings for our own targets; the presets make them errors.
function(ray_dev_target target)
  target_compile_options(${target} PRIVATE
    -Wall -Wextra -Wpedantic -Wshadow -Wconversion
    $<$<CXX_COMPILER_ID:Clang>:-Wthread-safety>)
  if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS 13)
    # GCC 12 sees overlapping and overlong copies in strings made of literals (its bug 105651).
    target_compile_options(${target} PRIVATE
      -Wno-restrict -Wno-stringop-overflow -Wno-maybe-uninitialized
      $<$<CONFIG:Release>:-Wno-array-bounds>)
  endif()
  set_target_properties(${target} PROPERTIES CXX_EXTENSIONS OFF)
endfunction()
