# T5 held against transformers and PEFT.
if(NOT TENON_HAS_TORCH)
  return()
endif()
add_executable(tenon-t5-tool t5_tool.cc)
target_link_libraries(tenon-t5-tool PRIVATE tenon_generation_json tenon_engine tenon::torch nlohmann_json::nlohmann_json)
add_test(NAME t5_parity
  COMMAND ${TENON_PYTHON} -m pytest -q -p no:cacheprovider ${CMAKE_CURRENT_SOURCE_DIR}/t5_test.py
  WORKING_DIRECTORY ${CMAKE_SOURCE_DIR})
set_tests_properties(t5_parity PROPERTIES LABELS parity TIMEOUT 900
  SKIP_REGULAR_EXPRESSION "[0-9]+ skipped"
  ENVIRONMENT "TENON_T5_TOOL=$<TARGET_FILE:tenon-t5-tool>")
# Its prompts and bottlenecks, held against PEFT and AdapterHub's library.
add_test(NAME t5_tuning_parity
  COMMAND ${TENON_PYTHON} -m pytest -q -p no:cacheprovider ${CMAKE_CURRENT_SOURCE_DIR}/t5_tuning_test.py
  WORKING_DIRECTORY ${CMAKE_SOURCE_DIR})
set_tests_properties(t5_tuning_parity PROPERTIES LABELS parity TIMEOUT 900
  SKIP_REGULAR_EXPRESSION "[0-9]+ skipped"
  ENVIRONMENT "TENON_T5_TOOL=$<TARGET_FILE:tenon-t5-tool>")
# BART by the same program.
add_test(NAME bart_parity
  COMMAND ${TENON_PYTHON} -m pytest -q -p no:cacheprovider ${CMAKE_CURRENT_SOURCE_DIR}/bart_test.py
  WORKING_DIRECTORY ${CMAKE_SOURCE_DIR})
set_tests_properties(bart_parity PROPERTIES LABELS parity TIMEOUT 900
  SKIP_REGULAR_EXPRESSION "[0-9]+ skipped"
  ENVIRONMENT "TENON_T5_TOOL=$<TARGET_FILE:tenon-t5-tool>")
