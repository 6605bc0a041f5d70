# The static SentencePiece that deploy/sentencepiece.sh builds, and no other: Debian's has a protobuf of its own inside, which
# crashes beside the real one. It is linked to the protobuf that it was built with.
set(TENON_SENTENCEPIECE "${CMAKE_SOURCE_DIR}/build/sentencepiece" CACHE PATH "Folder with SentencePiece's include/ and lib/")
find_path(SentencePiece_INCLUDE_DIR sentencepiece_processor.h PATHS ${TENON_SENTENCEPIECE}/include NO_DEFAULT_PATH)
find_library(SentencePiece_LIBRARY libsentencepiece.a PATHS ${TENON_SENTENCEPIECE}/lib NO_DEFAULT_PATH)
find_library(SentencePiece_PROTOBUF protobuf HINTS ${TENON_SENTENCEPIECE}/lib)
mark_as_advanced(SentencePiece_INCLUDE_DIR SentencePiece_LIBRARY SentencePiece_PROTOBUF)

include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(SentencePiece
  REQUIRED_VARS SentencePiece_LIBRARY SentencePiece_INCLUDE_DIR SentencePiece_PROTOBUF
  REASON_FAILURE_MESSAGE "run deploy/sentencepiece.sh, or set TENON_SENTENCEPIECE to a folder with its include/ and lib/")
if(SentencePiece_FOUND AND NOT TARGET SentencePiece::sentencepiece)
  add_library(SentencePiece::sentencepiece STATIC IMPORTED)
  set_target_properties(SentencePiece::sentencepiece PROPERTIES
    IMPORTED_LOCATION ${SentencePiece_LIBRARY}
    INTERFACE_INCLUDE_DIRECTORIES ${SentencePiece_INCLUDE_DIR}
    INTERFACE_LINK_LIBRARIES ${SentencePiece_PROTOBUF})
endif()
