# cmake -DWORK=<folder> -DCOMPILER=<compiler> -DROOT=<checkout> -P vcpkg.cmake: runs the vcpkg port
# without vcpkg and leaves the package in <folder>/rayxx. Each function that the portfile calls
# stands here with the part of its effect that the port relies on; there is no debug build.
cmake_minimum_required(VERSION 3.24)

set(PORT rayxx)
set(CURRENT_PACKAGES_DIR ${WORK}/${PORT})
set(build ${WORK}/${PORT}-rel)

function(run)
  execute_process(COMMAND ${ARGN} COMMAND_ERROR_IS_FATAL ANY)
endfunction()

function(vcpkg_check_linkage)
  if(NOT ARGN STREQUAL "ONLY_STATIC_LIBRARY")
    message(FATAL_ERROR "the library has no other form than a static one: ${ARGN}")
  endif()
endfunction()

function(vcpkg_cmake_configure)
  cmake_parse_arguments(PARSE_ARGV 0 arg "" "SOURCE_PATH" "OPTIONS")
  if(arg_UNPARSED_ARGUMENTS OR NOT arg_SOURCE_PATH PATH_EQUAL ROOT)
    message(FATAL_ERROR "vcpkg_cmake_configure: ${ARGV}")
  endif()
  run(${CMAKE_COMMAND} -S ${arg_SOURCE_PATH} -B ${build} -DCMAKE_CXX_COMPILER=${COMPILER}
    -DCMAKE_BUILD_TYPE=Release -DCMAKE_INSTALL_PREFIX=${CURRENT_PACKAGES_DIR}
    -DCMAKE_INSTALL_LIBDIR:STRING=lib -DBUILD_SHARED_LIBS=OFF
    -DCMAKE_UNITY_BUILD=ON  # For time alone.
    ${arg_OPTIONS})
endfunction()

function(vcpkg_cmake_install)
  run(${CMAKE_COMMAND} --build ${build} --target install --parallel 2)
endfunction()

# A package file finds its prefix from where it lies; lib/cmake/<name> is one folder deeper.
function(vcpkg_cmake_config_fixup)
  cmake_parse_arguments(PARSE_ARGV 0 arg "" "PACKAGE_NAME;CONFIG_PATH" "")
  set(share ${CURRENT_PACKAGES_DIR}/share/${arg_PACKAGE_NAME})
  file(RENAME ${CURRENT_PACKAGES_DIR}/${arg_CONFIG_PATH} ${share})
  file(REMOVE_RECURSE ${CURRENT_PACKAGES_DIR}/lib/cmake)
  file(GLOB files ${share}/*.cmake)
  set(up "get_filename_component(_IMPORT_PREFIX \"\${_IMPORT_PREFIX}\" PATH)\n")
  foreach(file IN LISTS files)
    file(READ ${file} text)
    string(REPLACE "${up}${up}${up}" "${up}${up}" text "${text}")
    string(REPLACE "/../../../" "/../../" text "${text}")
    file(WRITE ${file} "${text}")
  endforeach()
endfunction()

function(vcpkg_fixup_pkgconfig)
  if(NOT EXISTS ${CURRENT_PACKAGES_DIR}/lib/pkgconfig/rayxx.pc)
    message(FATAL_ERROR "no lib/pkgconfig/rayxx.pc")
  endif()
endfunction()

function(vcpkg_install_copyright)
  cmake_parse_arguments(PARSE_ARGV 0 arg "" "" "FILE_LIST")
  file(INSTALL ${arg_FILE_LIST} DESTINATION ${CURRENT_PACKAGES_DIR}/share/${PORT} RENAME copyright)
endfunction()

include(${ROOT}/packaging/vcpkg/ports/rayxx/portfile.cmake)

# What vcpkg looks for after a port's build.
foreach(file IN ITEMS copyright usage)
  if(NOT EXISTS ${CURRENT_PACKAGES_DIR}/share/${PORT}/${file})
    message(FATAL_ERROR "the port lays down no share/${PORT}/${file}")
  endif()
endforeach()
file(GLOB_RECURSE things LIST_DIRECTORIES ON ${CURRENT_PACKAGES_DIR}/*)
foreach(thing IN LISTS things)
  file(GLOB content ${thing}/*)
  if(IS_DIRECTORY ${thing} AND NOT content)
    message(FATAL_ERROR "the port leaves an empty folder: ${thing}")
  endif()
endforeach()
