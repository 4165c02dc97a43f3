# What `cmake --install` puts in place: binaries, the core and client libraries with their headers,
# the CMake package, and the contract for whoever makes a client from it.
include(CMakePackageConfigHelpers)

install(TARGETS nursery_core EXPORT nurseryTargets
  ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR} FILE_SET HEADERS)
install(DIRECTORY ${CMAKE_SOURCE_DIR}/proto/ DESTINATION ${CMAKE_INSTALL_DATADIR}/nursery/proto
  FILES_MATCHING PATTERN "*.proto")
install(EXPORT nurseryTargets NAMESPACE nursery::
  DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/nursery)
# Exported apart from core, whose users need no Google Test and no gRPC.
if(TARGET nursery_testing)
  install(TARGETS nursery_testing EXPORT nurseryTestingTargets
    ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR} FILE_SET HEADERS)
  install(EXPORT nurseryTestingTargets NAMESPACE nursery::
    DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/nursery)
endif()
if(TARGET nursery_client)
  install(TARGETS nursery_client nursery_proto nursery_stubs EXPORT nurseryClientTargets
    ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR} FILE_SET HEADERS)
  install(EXPORT nurseryClientTargets NAMESPACE nursery::
    DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/nursery)
endif()
configure_package_config_file(${CMAKE_SOURCE_DIR}/deploy/cmake/nurseryConfig.cmake.in
  ${CMAKE_BINARY_DIR}/nurseryConfig.cmake INSTALL_DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/nursery)
write_basic_package_version_file(${CMAKE_BINARY_DIR}/nurseryConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${CMAKE_BINARY_DIR}/nurseryConfig.cmake ${CMAKE_BINARY_DIR}/nurseryConfigVersion.cmake
  DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/nursery)
