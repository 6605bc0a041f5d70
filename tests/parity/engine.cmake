if(NOT TENON_HAS_TORCH)
  return()
endif()
add_executable(tenon-engine-tool engine_tool.cc)
target_link_libraries(tenon-engine-tool PRIVATE tenon_engine tenon::torch)
add_test(NAME engine_parity
  COMMAND ${TENON_PYTHON} -m pytest -q ${CMAKE_CURRENT_SOURCE_DIR}/engine_test.py
  WORKING_DIRECTORY ${CMAKE_SOURCE_DIR})
set_tests_properties(engine_parity PROPERTIES LABELS parity TIMEOUT 600
  ENVIRONMENT "TENON_ENGINE_TOOL=$<TARGET_FILE:tenon-engine-tool>")
