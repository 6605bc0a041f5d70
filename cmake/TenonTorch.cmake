# LibTorch from the wheel in TENON_VENV, or from the python on PATH when that has a torch (a machine that is carried to).
# The wheel bundles its own old google/protobuf and fmt headers, so its include folders come last (-idirafter), for the
# engine alone, and its libraries are linked by file.
if(EXISTS ${TENON_VENV}/bin/python)
  set(TENON_PYTHON ${TENON_VENV}/bin/python)
else()
  find_program(TENON_PYTHON python3 REQUIRED)
endif()
execute_process(
  COMMAND ${TENON_PYTHON} -c "import importlib.util as u; print(u.find_spec('torch').submodule_search_locations[0])"
  OUTPUT_VARIABLE TENON_TORCH_DIR OUTPUT_STRIP_TRAILING_WHITESPACE RESULT_VARIABLE found)
if(NOT found EQUAL 0)
  message(FATAL_ERROR "No torch in ${TENON_PYTHON}: run deploy/install.sh, or set TENON_VENV to an environment with torch 2.9 or later")
endif()

add_library(tenon_torch INTERFACE)
add_library(tenon::torch ALIAS tenon_torch)
target_compile_options(tenon_torch INTERFACE
  "SHELL:-idirafter ${TENON_TORCH_DIR}/include" "SHELL:-idirafter ${TENON_TORCH_DIR}/include/torch/csrc/api/include")
target_compile_definitions(tenon_torch INTERFACE AT_PER_OPERATOR_HEADERS)
target_link_directories(tenon_torch INTERFACE ${TENON_TORCH_DIR}/lib)
target_link_options(tenon_torch INTERFACE "-Wl,-rpath,${TENON_TORCH_DIR}/lib")
set(libs torch_cpu c10)
if(EXISTS ${TENON_TORCH_DIR}/lib/libtorch_cuda.so)
  list(APPEND libs torch_cuda c10_cuda)
endif()
list(TRANSFORM libs PREPEND "${TENON_TORCH_DIR}/lib/lib")
list(TRANSFORM libs APPEND ".so")
# The OpenMP that torch itself runs on: a second one in the process would bring its own threads.
file(GLOB TENON_TORCH_OPENMP ${TENON_TORCH_DIR}/lib/libgomp*.so*)
if(NOT TENON_TORCH_OPENMP)
  set(TENON_TORCH_OPENMP gomp)
endif()
list(APPEND libs ${TENON_TORCH_OPENMP})
target_link_libraries(tenon_torch INTERFACE -Wl,--no-as-needed ${libs} -Wl,--as-needed)
