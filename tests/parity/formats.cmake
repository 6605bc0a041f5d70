# Tokenizer and files: needs no torch in our program, and the Python environment for the reference.
if(TENON_PYTHON)
  add_executable(tenon-tokenize-tool tokenize_tool.cc)
  target_link_libraries(tenon-tokenize-tool PRIVATE tenon_engine_text)
  add_executable(tenon-merge-tool merge_tool.cc)
  target_link_libraries(tenon-merge-tool PRIVATE tenon_formats)
  foreach(kind tokenizer t5_tokenizer byte_level merge)
    add_test(NAME ${kind}_parity
      COMMAND ${TENON_PYTHON} -m pytest -q ${CMAKE_CURRENT_SOURCE_DIR}/${kind}_test.py
      WORKING_DIRECTORY ${CMAKE_SOURCE_DIR})
    set_tests_properties(${kind}_parity PROPERTIES LABELS parity TIMEOUT 900
      SKIP_REGULAR_EXPRESSION "[0-9]+ skipped"
      ENVIRONMENT "TENON_BUILD_BIN=${CMAKE_BINARY_DIR}/bin")
  endforeach()
endif()
