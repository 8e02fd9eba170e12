# What `cmake --install` lays down: headers, the library, lib/cmake/ray and rayxx.pc.

include(CMakePackageConfigHelpers)
include(GNUInstallDirs)

set(ray_package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/ray)

install(TARGETS ray_core ray ray_sim EXPORT ray-targets FILE_SET HEADERS)
install(EXPORT ray-targets NAMESPACE ray:: DESTINATION ${ray_package_dir})

configure_package_config_file(cmake/ray-config.cmake.in ${PROJECT_BINARY_DIR}/ray-config.cmake
  INSTALL_DESTINATION ${ray_package_dir} NO_SET_AND_CHECK_MACRO)
write_basic_package_version_file(${PROJECT_BINARY_DIR}/ray-config-version.cmake
  COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/ray-config.cmake ${PROJECT_BINARY_DIR}/ray-config-version.cmake
  DESTINATION ${ray_package_dir})

# The way from lib/pkgconfig back to the prefix, so that an installed tree can be moved.
file(RELATIVE_PATH ray_pc_to_prefix
  ${CMAKE_INSTALL_FULL_LIBDIR}/pkgconfig ${CMAKE_INSTALL_PREFIX})
configure_file(cmake/rayxx.pc.in ${PROJECT_BINARY_DIR}/rayxx.pc @ONLY)
install(FILES ${PROJECT_BINARY_DIR}/rayxx.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)

install(FILES LICENSE DESTINATION ${CMAKE_INSTALL_DATADIR}/doc/rayxx)
