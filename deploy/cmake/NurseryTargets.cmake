# How every target of the project is declared: one place for flags, sanitizers and test registration.

add_library(nursery_flags INTERFACE)
target_compile_options(nursery_flags INTERFACE
  -Wall -Wextra -Werror=return-type -Wnon-virtual-dtor -Woverloaded-virtual -fno-omit-frame-pointer)
if(CMAKE_CXX_COMPILER_ID STREQUAL "Clang")
  target_compile_options(nursery_flags INTERFACE -Werror -Wthread-safety -Wshadow-uncaptured-local)
  target_link_options(nursery_flags INTERFACE -fuse-ld=lld)
  # A precompiled header without its time in it, or ccache finds nothing again.
  target_compile_options(nursery_flags INTERFACE "SHELL:-Xclang -fno-pch-timestamp")
else()
  target_compile_options(nursery_flags INTERFACE -fpch-preprocess)
endif()
if(NURSERY_SANITIZE STREQUAL "address")
  # Without vptr: that check opens a pipe, and takes a good object for a bad one when the process is
  # out of descriptors, which our tests make happen.
  target_compile_options(nursery_flags INTERFACE
    -fsanitize=address,undefined -fno-sanitize=vptr -fno-sanitize-recover=all)
  target_link_options(nursery_flags INTERFACE -fsanitize=address,undefined)
elseif(NURSERY_SANITIZE STREQUAL "thread")
  target_compile_options(nursery_flags INTERFACE -fsanitize=thread)
  target_link_options(nursery_flags INTERFACE -fsanitize=thread)
elseif(NURSERY_SANITIZE)
  message(FATAL_ERROR "NURSERY_SANITIZE is '${NURSERY_SANITIZE}'; it takes address or thread")
endif()

# nursery_plain(PART): what follows in this directory and below it is PART, compiled without
# optimisation where NURSERY_PLAIN names it: because it is only to be built, or because that takes
# longer than it saves.
macro(nursery_plain part)
  if("${part}" IN_LIST NURSERY_PLAIN)
    add_compile_options(-O0)
  endif()
endmacro()

# nursery_precompile(NAME [HEADER ...]): what the sources of a larger target would parse again and
# again. Compiled by g++, what we ship goes without, which proves that each file includes what it uses.
function(nursery_precompile name)
  if(name MATCHES "_test$" OR CMAKE_CXX_COMPILER_ID STREQUAL "Clang")
    target_precompile_headers(${name} PRIVATE
      <algorithm> <chrono> <functional> <memory> <optional> <string> <vector>
      <absl/status/statusor.h> <absl/strings/str_cat.h> ${ARGN})
  endif()
endfunction()

# nursery_sources_of(RESULT TARGET ...): the sources of the targets, but for main(), as absolute paths.
function(nursery_sources_of result)
  foreach(target ${ARGN})
    get_target_property(sources ${target} SOURCES)
    get_target_property(directory ${target} SOURCE_DIR)
    list(FILTER sources EXCLUDE REGEX "main\\.cc$")
    list(TRANSFORM sources PREPEND ${directory}/)
    list(APPEND all ${sources})
  endforeach()
  set(${result} ${all} PARENT_SCOPE)
endfunction()

# nursery_library(NAME SOURCES ... [HEADERS ...] [PUBLIC ...] [PRIVATE ...])
# HEADERS are public and relative to include/ beside the caller; they are installed.
function(nursery_library name)
  cmake_parse_arguments(ARG "" "" "SOURCES;HEADERS;PUBLIC;PRIVATE" ${ARGN})
  add_library(${name} STATIC ${ARG_SOURCES})
  string(REGEX REPLACE "^nursery_" "" short ${name})
  add_library(nursery::${short} ALIAS ${name})
  set_target_properties(${name} PROPERTIES EXPORT_NAME ${short})
  if(ARG_HEADERS)
    list(TRANSFORM ARG_HEADERS PREPEND ${CMAKE_CURRENT_SOURCE_DIR}/include/)
    target_sources(${name} PUBLIC FILE_SET HEADERS
      BASE_DIRS ${CMAKE_CURRENT_SOURCE_DIR}/include FILES ${ARG_HEADERS})
  endif()
  target_include_directories(${name} PRIVATE ${CMAKE_SOURCE_DIR})
  target_compile_features(${name} PUBLIC cxx_std_20)
  target_link_libraries(${name} PUBLIC ${ARG_PUBLIC} PRIVATE ${ARG_PRIVATE} $<BUILD_INTERFACE:nursery_flags>)
endfunction()

# Tests are labelled with the name of their directory below tests/, and the target tests_<label>
# builds all of a directory's, so that a preset can take a share of them.
function(nursery_label_test name)
  get_filename_component(label ${CMAKE_CURRENT_SOURCE_DIR} NAME)
  set_property(TEST ${name} APPEND PROPERTY LABELS ${label})
  if(TARGET ${name})
    if(NOT TARGET tests_${label})
      add_custom_target(tests_${label})
    endif()
    add_dependencies(tests_${label} ${name})
  endif()
endfunction()

# Runs every test: what it leaves behind is its failure.
set(NURSERY_CHECKED /usr/bin/python3 -ISB ${CMAKE_SOURCE_DIR}/tests/checked.py)

# nursery_test(NAME SOURCES ... [LIBS ...] [ARGS ...] [PRECOMPILE HEADER ...]): one test binary, one
# CTest test; its cases are counted from the JUnit file it writes to build/<preset>/test-results/.
function(nursery_test name)
  cmake_parse_arguments(ARG "" "TIMEOUT" "SOURCES;LIBS;ARGS;LABELS;PRECOMPILE" ${ARGN})
  add_executable(${name} ${ARG_SOURCES})
  set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/tests)
  target_include_directories(${name} PRIVATE ${CMAKE_SOURCE_DIR})
  target_link_libraries(${name} PRIVATE ${ARG_LIBS} GTest::gmock nursery_flags)
  # A single source is compiled as quickly without.
  list(LENGTH ARG_SOURCES sources)
  if(sources GREATER 1)
    nursery_precompile(${name} <gmock/gmock.h> <gtest/gtest.h> ${ARG_PRECOMPILE})
  endif()
  add_test(NAME ${name} COMMAND ${NURSERY_CHECKED} $<TARGET_FILE:${name}> ${ARG_ARGS}
    --gtest_output=xml:${CMAKE_BINARY_DIR}/test-results/${name}.xml WORKING_DIRECTORY ${CMAKE_SOURCE_DIR})
  if(NOT ARG_TIMEOUT)
    set(ARG_TIMEOUT 300)
  endif()
  set_tests_properties(${name} PROPERTIES TIMEOUT ${ARG_TIMEOUT} LABELS "${ARG_LABELS}"
    ENVIRONMENT "NURSERY_BIN=${CMAKE_BINARY_DIR}/bin")
  nursery_label_test(${name})
endfunction()

# nursery_python_test(NAME SCRIPT [TIMEOUT seconds]): a file of unittest cases, counted as those of nursery_test.
# The cases find the build in NURSERY_BUILD and the programs in NURSERY_BIN.
function(nursery_python_test name script)
  cmake_parse_arguments(ARG "" "TIMEOUT" "" ${ARGN})
  add_test(NAME ${name} COMMAND ${NURSERY_CHECKED}
    /usr/bin/python3 ${CMAKE_SOURCE_DIR}/tests/run_unittest.py
    ${CMAKE_CURRENT_SOURCE_DIR}/${script} ${CMAKE_BINARY_DIR}/test-results/${name}.xml
    WORKING_DIRECTORY ${CMAKE_SOURCE_DIR})
  if(NOT ARG_TIMEOUT)
    set(ARG_TIMEOUT 300)
  endif()
  set_tests_properties(${name} PROPERTIES TIMEOUT ${ARG_TIMEOUT}
    ENVIRONMENT "NURSERY_BIN=${CMAKE_BINARY_DIR}/bin;NURSERY_BUILD=${CMAKE_BINARY_DIR};PYTHONDONTWRITEBYTECODE=1")
  nursery_label_test(${name})
endfunction()
