# Most of the compile time of many sources is their headers' (torch's, GoogleTest's, gRPC's, CLI11's): they are read once for
# several sources, in two ways. Each source includes what it uses all the same: TENON_SHARE_HEADERS=OFF shows it.
option(TENON_SHARE_HEADERS "Precompile headers that take long, and compile several sources together" ON)

# share_headers(TARGET): a few of its sources are compiled together. Names in their anonymous namespaces must differ.
function(share_headers target)
  if(TENON_SHARE_HEADERS)
    set_target_properties(${target} PROPERTIES UNITY_BUILD ON UNITY_BUILD_BATCH_SIZE 5)
  endif()
endfunction()

# header_set(NAME HEADERS ... DEPS ... [TEST]): precompiles headers with the flags of our libraries, or of test programs. GCC takes
# them for a source only where both are compiled with the same flags.
function(header_set name)
  cmake_parse_arguments(ARG "TEST" "" "HEADERS;DEPS" ${ARGN})
  if(NOT TENON_SHARE_HEADERS)
    return()
  endif()
  add_library(${name} OBJECT ${CMAKE_SOURCE_DIR}/cmake/headers.cc)
  target_precompile_headers(${name} PRIVATE ${ARG_HEADERS})
  target_link_libraries(${name} PRIVATE tenon::options ${ARG_DEPS})
  if(ARG_TEST)
    # As an executable's sources, not optimised.
    set_target_properties(${name} PROPERTIES POSITION_INDEPENDENT_CODE OFF)
    target_compile_options(${name} PRIVATE -fPIE -O0)
  endif()
endfunction()

# use_header_set(TARGET NAME)
function(use_header_set target name)
  if(TARGET ${name})
    target_precompile_headers(${target} REUSE_FROM ${name})
    target_compile_options(${target} PRIVATE -fpch-preprocess)
  endif()
endfunction()
