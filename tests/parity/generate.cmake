# Generation held against transformers' generate().
if(NOT TENON_HAS_TORCH)
  return()
endif()
tenon_library(tenon_generation_json SOURCES generation_json.cc DEPS tenon_engine tenon::torch nlohmann_json::nlohmann_json)
add_executable(tenon-generate-tool generate_tool.cc)
target_link_libraries(tenon-generate-tool PRIVATE tenon_toy_decoder tenon_generation_json tenon_engine tenon::torch nlohmann_json::nlohmann_json)
add_test(NAME generate_parity
  COMMAND ${TENON_PYTHON} -m pytest -q ${CMAKE_CURRENT_SOURCE_DIR}/generate_test.py
  WORKING_DIRECTORY ${CMAKE_SOURCE_DIR})
set_tests_properties(generate_parity PROPERTIES LABELS parity TIMEOUT 900
  SKIP_REGULAR_EXPRESSION "[0-9]+ skipped"
  ENVIRONMENT "TENON_GENERATE_TOOL=$<TARGET_FILE:tenon-generate-tool>")
