#!/usr/bin/env bash
# check.sh <way> <build folder> <compiler> <version>: builds main.cpp and second.cpp in one of the
# ways in which a project can use the library, and runs the result. CMAKE_CXX_COMPILER_LAUNCHER in
# the environment (CMake knows it, too) says what goes before each compilation: ccache.
set -euo pipefail

way=$1 dir=$2 compiler=$3 version=$4
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
build=$dir/$way
prefix=$dir/prefix
rm -rf "$build"
mkdir -p "$build"

# The program says which version it was built with, and the sum of its tasks.
run() {
  local output
  output=$("$1")
  if [[ $output != "ray $version: 42" ]]; then
    echo "$1 prints '$output' instead of 'ray $version: 42'" >&2
    exit 1
  fi
}

with_cmake() {
  cmake -S "$here" -B "$build" -DCMAKE_CXX_COMPILER="$compiler" "$@"
  cmake --build "$build" --parallel 2
  run "$build/consumer"
  run "$build/consumer_of_core"
}

# by_hand <flags to compile> <flags to link> <source>…: without CMake, all sources at once.
by_hand() {
  local compile link launcher objects=() jobs=() source job
  read -ra compile <<<"$1"
  read -ra link <<<"$2"
  read -ra launcher <<<"${CMAKE_CXX_COMPILER_LAUNCHER:-}"
  shift 2
  for source in "$@"; do
    objects+=("$build/$(basename "$source").o")
    "${launcher[@]}" "$compiler" -std=c++20 "${compile[@]}" -c "$source" -o "${objects[-1]}" &
    jobs+=($!)
  done
  for job in "${jobs[@]}"; do wait "$job"; done
  "$compiler" "${objects[@]}" "${link[@]}" -o "$build/consumer"
  run "$build/consumer"
}

# What a project installs that has us inside it is its own: our headers are not in it.
installs_nothing_of_ours() {
  cmake --install "$build" --prefix "$build/prefix"
  if [[ -e $build/prefix/include/ray ]]; then
    echo "a consumer's installation contains our headers" >&2
    exit 1
  fi
}

case $way in
  find_package)
    with_cmake -DCMAKE_PREFIX_PATH="$prefix" -DRAY_VERSION="$version" -DCMAKE_BUILD_TYPE=Release
    ;;
  add_subdirectory)
    with_cmake -DRAY_SOURCE_DIR="$root"
    installs_nothing_of_ours
    ;;
  fetch_content)
    with_cmake -DFETCHCONTENT_SOURCE_DIR_RAY="$root"
    installs_nothing_of_ours
    ;;
  vcpkg)
    cmake -DROOT="$root" -DWORK="$build" -DCOMPILER="$compiler" -P "$here/vcpkg.cmake"
    with_cmake -DCMAKE_PREFIX_PATH="$build/rayxx" -DRAY_VERSION="$version" \
      -DCMAKE_BUILD_TYPE=Release
    ;;
  conan)
    export CONAN_HOME=$build/home
    conan profile detect
    conan create "$root" --no-remote -s compiler.cppstd=20 -tf packaging/conan_test_package \
      -c tools.cmake.cmake_layout:test_folder="$build" \
      -c tools.cmake.cmaketoolchain:user_presets= 2>&1 | tee "$build/log"
    if ! grep -qx "ray $version: 42" "$build/log"; then
      echo "the test package does not print 'ray $version: 42'" >&2
      exit 1
    fi
    ;;
  pkg_config)
    PKG_CONFIG_PATH=$(dirname "$(find "$prefix" -name rayxx.pc)")
    export PKG_CONFIG_PATH
    [[ $(pkg-config --modversion rayxx) == "$version" ]]
    by_hand "$(pkg-config --cflags rayxx)" "$(pkg-config --libs rayxx)" \
      "$here/main.cpp" "$here/second.cpp"
    ;;
  one_file)
    by_hand "-Wall -Wextra -Werror -I$root/include -I$root/src -pthread" -pthread \
      "$root/src/ray_all.cpp" "$here/main.cpp" "$here/second.cpp"
    ;;
  *)
    echo "unknown way: $way" >&2
    exit 2
    ;;
esac
