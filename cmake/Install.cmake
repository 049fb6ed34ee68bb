# Installing merganser and the package files that find_package reads. One export file a target, so that a user who does
# not ask for merganser::io or merganser::openmp needs neither JSON nor OpenMP.
include(CMakePackageConfigHelpers)

set(merganser_package_folder ${CMAKE_INSTALL_DATADIR}/cmake/merganser)

function(merganser_install_target target export)
  install(TARGETS ${target} EXPORT ${export})
  install(EXPORT ${export} NAMESPACE merganser:: DESTINATION ${merganser_package_folder})
endfunction()

merganser_install_target(merganser merganserTargets)
install(DIRECTORY ${PROJECT_SOURCE_DIR}/include/merganser DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}
        FILES_MATCHING PATTERN "*.hpp" PATTERN "merganser/io" EXCLUDE PATTERN "merganser/runs" EXCLUDE)
if(TARGET merganser_io)
  merganser_install_target(merganser_io merganserIoTargets)
  install(DIRECTORY ${PROJECT_SOURCE_DIR}/include/merganser/io ${PROJECT_SOURCE_DIR}/include/merganser/runs
          DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/merganser
          FILES_MATCHING PATTERN "*.hpp")
endif()
if(TARGET merganser_openmp)
  merganser_install_target(merganser_openmp merganserOpenmpTargets)
endif()

configure_package_config_file(${CMAKE_CURRENT_LIST_DIR}/merganserConfig.cmake.in
                              ${PROJECT_BINARY_DIR}/merganserConfig.cmake
                              INSTALL_DESTINATION ${merganser_package_folder})
write_basic_package_version_file(${PROJECT_BINARY_DIR}/merganserConfigVersion.cmake
                                 COMPATIBILITY SameMinorVersion ARCH_INDEPENDENT)
install(FILES ${PROJECT_BINARY_DIR}/merganserConfig.cmake ${PROJECT_BINARY_DIR}/merganserConfigVersion.cmake
              ${CMAKE_CURRENT_LIST_DIR}/Dispatch.cmake ${CMAKE_CURRENT_LIST_DIR}/Compiled.cmake
        DESTINATION ${merganser_package_folder})
install(DIRECTORY ${CMAKE_CURRENT_LIST_DIR}/dispatch ${CMAKE_CURRENT_LIST_DIR}/compiled DESTINATION ${merganser_package_folder})
