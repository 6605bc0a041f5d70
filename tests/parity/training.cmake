# Training held against PEFT's. The tool is bench/train_engine.py's too.
if(NOT TENON_HAS_TORCH)
  return()
endif()
add_executable(tenon-train-tool train_tool.cc)
target_link_libraries(tenon-train-tool PRIVATE tenon_engine tenon_engine_summarize)
add_test(NAME training_parity
  COMMAND ${TENON_PYTHON} -m pytest -q ${CMAKE_CURRENT_SOURCE_DIR}/train_test.py
  WORKING_DIRECTORY ${CMAKE_SOURCE_DIR})
add_test(NAME full_parity
  COMMAND ${TENON_PYTHON} -m pytest -q ${CMAKE_CURRENT_SOURCE_DIR}/full_test.py
  WORKING_DIRECTORY ${CMAKE_SOURCE_DIR})
set_tests_properties(full_parity PROPERTIES LABELS parity TIMEOUT 600
  SKIP_REGULAR_EXPRESSION "[0-9]+ skipped"
  ENVIRONMENT "TENON_TRAIN_TOOL=$<TARGET_FILE:tenon-train-tool>")
add_test(NAME t5_full_parity
  COMMAND ${TENON_PYTHON} -m pytest -q -p no:cacheprovider ${CMAKE_CURRENT_SOURCE_DIR}/t5_full_test.py
  WORKING_DIRECTORY ${CMAKE_SOURCE_DIR})
set_tests_properties(t5_full_parity PROPERTIES LABELS parity TIMEOUT 900
  SKIP_REGULAR_EXPRESSION "[0-9]+ skipped"
  ENVIRONMENT "TENON_TRAIN_TOOL=$<TARGET_FILE:tenon-train-tool>;TENON_T5_TOOL=$<TARGET_FILE:tenon-t5-tool>")
# Bottleneck adapters beside AdapterHub's library, which lives in build/venv-adapters.
add_test(NAME bottleneck_parity
  COMMAND ${TENON_PYTHON} -m pytest -q ${CMAKE_CURRENT_SOURCE_DIR}/bottleneck_test.py
  WORKING_DIRECTORY ${CMAKE_SOURCE_DIR})
set_tests_properties(bottleneck_parity PROPERTIES LABELS parity TIMEOUT 600
  SKIP_REGULAR_EXPRESSION "[0-9]+ skipped"
  ENVIRONMENT "TENON_TRAIN_TOOL=$<TARGET_FILE:tenon-train-tool>;TENON_ENGINE_TOOL=$<TARGET_FILE:tenon-engine-tool>")
set_tests_properties(training_parity PROPERTIES LABELS parity TIMEOUT 900
  SKIP_REGULAR_EXPRESSION "[0-9]+ skipped"
  ENVIRONMENT "TENON_TRAIN_TOOL=$<TARGET_FILE:tenon-train-tool>")
# T5, whose adapters are served by t5.cmake's tool.
add_test(NAME t5_training_parity
  COMMAND ${TENON_PYTHON} -m pytest -q -p no:cacheprovider ${CMAKE_CURRENT_SOURCE_DIR}/t5_train_test.py
  WORKING_DIRECTORY ${CMAKE_SOURCE_DIR})
set_tests_properties(t5_training_parity PROPERTIES LABELS parity TIMEOUT 900
  SKIP_REGULAR_EXPRESSION "[0-9]+ skipped"
  ENVIRONMENT "TENON_TRAIN_TOOL=$<TARGET_FILE:tenon-train-tool>;TENON_T5_TOOL=$<TARGET_FILE:tenon-t5-tool>")
# Pairs of texts, by the tools of both.
add_test(NAME pairs_parity
  COMMAND ${TENON_PYTHON} -m pytest -q -p no:cacheprovider ${CMAKE_CURRENT_SOURCE_DIR}/pairs_test.py
  WORKING_DIRECTORY ${CMAKE_SOURCE_DIR})
set_tests_properties(pairs_parity PROPERTIES LABELS parity TIMEOUT 600
  SKIP_REGULAR_EXPRESSION "[0-9]+ skipped"
  ENVIRONMENT "TENON_TRAIN_TOOL=$<TARGET_FILE:tenon-train-tool>;TENON_ENGINE_TOOL=$<TARGET_FILE:tenon-engine-tool>")
add_test(NAME regression_parity
  COMMAND ${TENON_PYTHON} -m pytest -q -p no:cacheprovider ${CMAKE_CURRENT_SOURCE_DIR}/regression_test.py
  WORKING_DIRECTORY ${CMAKE_SOURCE_DIR})
set_tests_properties(regression_parity PROPERTIES LABELS parity TIMEOUT 600
  SKIP_REGULAR_EXPRESSION "[0-9]+ skipped"
  ENVIRONMENT "TENON_TRAIN_TOOL=$<TARGET_FILE:tenon-train-tool>;TENON_ENGINE_TOOL=$<TARGET_FILE:tenon-engine-tool>")
# DPR's encoders, by the tools of both.
add_test(NAME dpr_parity
  COMMAND ${TENON_PYTHON} -m pytest -q -p no:cacheprovider ${CMAKE_CURRENT_SOURCE_DIR}/dpr_test.py
  WORKING_DIRECTORY ${CMAKE_SOURCE_DIR})
set_tests_properties(dpr_parity PROPERTIES LABELS parity TIMEOUT 600
  SKIP_REGULAR_EXPRESSION "[0-9]+ skipped"
  ENVIRONMENT "TENON_TRAIN_TOOL=$<TARGET_FILE:tenon-train-tool>;TENON_ENGINE_TOOL=$<TARGET_FILE:tenon-engine-tool>")
# Heads on every token, by the tools of both.
foreach(kind tokens answers)
  add_test(NAME ${kind}_parity
    COMMAND ${TENON_PYTHON} -m pytest -q -p no:cacheprovider ${CMAKE_CURRENT_SOURCE_DIR}/${kind}_test.py
    WORKING_DIRECTORY ${CMAKE_SOURCE_DIR})
  set_tests_properties(${kind}_parity PROPERTIES LABELS parity TIMEOUT 600
    SKIP_REGULAR_EXPRESSION "[0-9]+ skipped"
    ENVIRONMENT "TENON_TRAIN_TOOL=$<TARGET_FILE:tenon-train-tool>;TENON_ENGINE_TOOL=$<TARGET_FILE:tenon-engine-tool>")
endforeach()
