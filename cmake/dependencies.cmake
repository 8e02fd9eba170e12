# What tests and examples use; the library itself needs only threads. Installed packages come
# first. With RAY_FETCH_DEPENDENCIES missing ones are downloaded. What is missing all the same
# switches off the part that needs it, with one line that says so.

list(APPEND CMAKE_MODULE_PATH ${PROJECT_SOURCE_DIR}/cmake)

if(RAY_BUILD_TESTS)
  if(RAY_FETCH_DEPENDENCIES)
    include(FetchContent)
    FetchContent_Declare(Catch2
      GIT_REPOSITORY https://github.com/catchorg/Catch2.git GIT_TAG v3.7.1 GIT_SHALLOW ON
      FIND_PACKAGE_ARGS)
    FetchContent_MakeAvailable(Catch2)
    if(Catch2_SOURCE_DIR)
      list(APPEND CMAKE_MODULE_PATH ${Catch2_SOURCE_DIR}/extras)
    endif()
  else()
    find_package(Catch2 QUIET)
  endif()
  find_package(Python3 3.9 QUIET COMPONENTS Interpreter)
  if(NOT TARGET Catch2::Catch2WithMain OR NOT Python3_FOUND)
    message(STATUS "ray: tests are off (on Debian: apt-get install catch2 python3)")
    set(RAY_BUILD_TESTS OFF)
  endif()
endif()

# For the tests of <ray/cereal.hpp> and <ray/eigen.hpp>.
if(RAY_BUILD_TESTS)
  find_path(RAY_CEREAL_DIR cereal/cereal.hpp)
  find_path(RAY_EIGEN_DIR Eigen/Core PATH_SUFFIXES eigen3)
  if(NOT RAY_CEREAL_DIR)
    message(STATUS "ray: no tests of cereal (on Debian: apt-get install libcereal-dev)")
  endif()
  if(NOT RAY_EIGEN_DIR)
    message(STATUS "ray: no tests of Eigen (on Debian: apt-get install libeigen3-dev)")
  endif()
endif()

# For an example that embeds the runtime in an event loop.
if(RAY_BUILD_EXAMPLES)
  find_package(asio QUIET)
  if(NOT TARGET asio::asio)
    message(STATUS "ray: examples/embed is off: no Asio (on Debian: apt-get install libasio-dev)")
  endif()
endif()
