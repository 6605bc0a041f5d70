# Metrics against trec_eval's, exact search against numpy's on real embeddings.
if(TENON_PYTHON AND TARGET tenon_server_retrieval)
  add_executable(tenon-retrieval-tool retrieval_tool.cc)
  target_link_libraries(tenon-retrieval-tool PRIVATE tenon_server_retrieval nlohmann_json::nlohmann_json)
  add_test(NAME retrieval_parity
    COMMAND ${TENON_PYTHON} -m pytest -q ${CMAKE_CURRENT_SOURCE_DIR}/retrieval_test.py
    WORKING_DIRECTORY ${CMAKE_SOURCE_DIR})
  set_tests_properties(retrieval_parity PROPERTIES LABELS parity TIMEOUT 900
    SKIP_REGULAR_EXPRESSION "[0-9]+ skipped"
    ENVIRONMENT "TENON_RETRIEVAL_TOOL=$<TARGET_FILE:tenon-retrieval-tool>")
endif()
