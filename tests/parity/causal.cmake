# Decoder-only models held against transformers and PEFT, by the tool of t5.cmake.
if(NOT TENON_HAS_TORCH)
  return()
endif()
add_test(NAME causal_parity
  COMMAND ${TENON_PYTHON} -m pytest -q -p no:cacheprovider ${CMAKE_CURRENT_SOURCE_DIR}/causal_test.py
  WORKING_DIRECTORY ${CMAKE_SOURCE_DIR})
set_tests_properties(causal_parity PROPERTIES LABELS parity TIMEOUT 900
  SKIP_REGULAR_EXPRESSION "[0-9]+ skipped"
  ENVIRONMENT "TENON_T5_TOOL=$<TARGET_FILE:tenon-t5-tool>")
