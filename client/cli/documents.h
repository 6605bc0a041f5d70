// Documents as users write them: JSON lines of {"id", "text", "metadata"}.
#pragma once

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "tenon/v1/retrieval_service.pb.h"

namespace tenon::cli {

// A document and the row it came from, or what is wrong with the row.
struct DocumentRow {
  int64_t number = 0;  // from 1, blank lines not counted
  v1::Document document;
  absl::Status error;
};

// Every row of `bytes`; one that is no document, or whose id occurred before, carries its error. Blank lines are passed
// over.
std::vector<DocumentRow> ParseDocuments(const std::string& bytes);

}  // namespace tenon::cli
