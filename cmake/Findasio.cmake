# Gives asio::asio (standalone Asio) where the packaging has no CMake files of its own.

find_path(asio_INCLUDE_DIR asio.hpp)
mark_as_advanced(asio_INCLUDE_DIR)

if(asio_INCLUDE_DIR)
  file(STRINGS ${asio_INCLUDE_DIR}/asio/version.hpp asio_version_line REGEX "define ASIO_VERSION ")
  string(REGEX MATCH "[0-9]+" asio_version_number "${asio_version_line}")  # 102201 is 1.22.1
  math(EXPR asio_major "${asio_version_number} / 100000")
  math(EXPR asio_minor "${asio_version_number} / 100 % 1000")
  math(EXPR asio_patch "${asio_version_number} % 100")
  set(asio_VERSION ${asio_major}.${asio_minor}.${asio_patch})
endif()

include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(asio
  REQUIRED_VARS asio_INCLUDE_DIR VERSION_VAR asio_VERSION)

if(asio_FOUND AND NOT TARGET asio::asio)
  find_package(Threads REQUIRED)
  add_library(asio::asio INTERFACE IMPORTED)
  target_include_directories(asio::asio INTERFACE ${asio_INCLUDE_DIR})
  target_compile_definitions(asio::asio INTERFACE ASIO_STANDALONE)
  target_link_libraries(asio::asio INTERFACE Threads::Threads)
  if(CMAKE_CXX_COMPILER_ID MATCHES "Clang" AND asio_VERSION VERSION_LESS 1.26)
    # Older Asio does not see that Clang has coroutines.
    target_compile_definitions(asio::asio INTERFACE ASIO_HAS_CO_AWAIT ASIO_HAS_STD_COROUTINE)
  endif()
endif()
