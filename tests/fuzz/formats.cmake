foreach(parser adapter_config dataset safetensors)
  tenon_test(${parser}_fuzz SOURCES ${parser}_fuzz.cc DEPS tenon_formats LABEL fuzz TIMEOUT 300)
endforeach()
tenon_test(tokenizer_fuzz SOURCES tokenizer_fuzz.cc DEPS tenon_engine_text tenon_t5_files LABEL fuzz TIMEOUT 300)
