# Compiler options for our own targets: link them with tenon::options.
find_program(CCACHE ccache)
if(CCACHE)
  # Paths relative to the checkout, so that several build folders and clones share one cache.
  # The sloppiness is what it asks for where headers are precompiled.
  set(CMAKE_CXX_COMPILER_LAUNCHER ${CMAKE_COMMAND} -E env CCACHE_BASEDIR=${CMAKE_SOURCE_DIR} CCACHE_NOHASHDIR=1
    CCACHE_SLOPPINESS=pch_defines,time_macros ${CCACHE})
endif()

# Dev: fast to compile, fast enough to run parity tests. No -g: it doubles the time of a torch file.
set(CMAKE_CXX_FLAGS_DEV "-O1" CACHE STRING "Flags of the Dev build type" FORCE)
set(CMAKE_CXX_FLAGS_RELEASE "-O2 -DNDEBUG" CACHE STRING "Flags of the Release build type" FORCE)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
find_package(Threads REQUIRED)

add_library(tenon_options INTERFACE)
add_library(tenon::options ALIAS tenon_options)
target_compile_features(tenon_options INTERFACE cxx_std_20)
target_include_directories(tenon_options INTERFACE ${CMAKE_SOURCE_DIR})
# -pthread everywhere: some packages ask for it, and precompiled headers need equal flags.
target_compile_options(tenon_options INTERFACE -pthread -Wall -Wextra -Werror -Wno-missing-field-initializers)
target_link_libraries(tenon_options INTERFACE Threads::Threads)
if(TENON_SANITIZE)
  target_compile_options(tenon_options INTERFACE -fsanitize=${TENON_SANITIZE} -fno-sanitize-recover=all -fno-omit-frame-pointer -g1)
  # With the checks in between, GCC 12 takes std::regex's own members for unset.
  target_compile_options(tenon_options INTERFACE -Wno-error=maybe-uninitialized)
  target_link_options(tenon_options INTERFACE -fsanitize=${TENON_SANITIZE})
endif()

# tenon_library(NAME SOURCES a.cc ... DEPS x y ...): one static library of ours, tenon::NAME without the prefix.
function(tenon_library name)
  cmake_parse_arguments(ARG "" "" "SOURCES;DEPS" ${ARGN})
  add_library(${name} STATIC ${ARG_SOURCES})
  target_link_libraries(${name} PUBLIC tenon::options ${ARG_DEPS})
endfunction()

# tenon_test(NAME SOURCES a.cc ... DEPS x y ... LABEL unit): one GoogleTest program, run by ctest as one test.
function(tenon_test name)
  cmake_parse_arguments(ARG "" "LABEL;TIMEOUT" "SOURCES;DEPS;ARGS" ${ARGN})
  if(NOT ARG_LABEL)
    set(ARG_LABEL unit)
  endif()
  if(NOT ARG_TIMEOUT)
    set(ARG_TIMEOUT 120)
  endif()
  add_executable(${name} ${ARG_SOURCES})
  # What is tested is optimised; to optimise GoogleTest's macros takes a third of a test's compile time. Fuzzers loop.
  if(NOT ARG_LABEL STREQUAL fuzz)
    target_compile_options(${name} PRIVATE -O0)
    if(tenon::torch IN_LIST ARG_DEPS)
      use_header_set(${name} tenon_torch_test_headers)
    else()
      use_header_set(${name} tenon_test_headers)
    endif()
  endif()
  target_link_libraries(${name} PRIVATE tenon::options ${ARG_DEPS} GTest::gtest GTest::gmock GTest::gtest_main)
  add_test(NAME ${name} COMMAND ${name} ${ARG_ARGS} WORKING_DIRECTORY ${CMAKE_SOURCE_DIR})
  set_tests_properties(${name} PROPERTIES LABELS ${ARG_LABEL} TIMEOUT ${ARG_TIMEOUT})
endfunction()
