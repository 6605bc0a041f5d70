# ROUGE against Google's rouge_score and NLTK's stemmer.
if(TENON_PYTHON AND TARGET tenon_engine_evaluate)
  add_executable(tenon-rouge-tool rouge_tool.cc)
  target_link_libraries(tenon-rouge-tool PRIVATE tenon_engine_evaluate nlohmann_json::nlohmann_json)
  add_test(NAME rouge_parity
    COMMAND ${TENON_PYTHON} -m pytest -q -p no:cacheprovider ${CMAKE_CURRENT_SOURCE_DIR}/rouge_test.py
    WORKING_DIRECTORY ${CMAKE_SOURCE_DIR})
  set_tests_properties(rouge_parity PROPERTIES LABELS parity TIMEOUT 600
    SKIP_REGULAR_EXPRESSION "[0-9]+ skipped"
    ENVIRONMENT "TENON_ROUGE_TOOL=$<TARGET_FILE:tenon-rouge-tool>")
endif()
