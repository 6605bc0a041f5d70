#include "client/cli/documents.h"

#include <google/protobuf/util/json_util.h>

#include <nlohmann/json.hpp>
#include <set>
#include <sstream>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "common/formats/status.h"

namespace tenon::cli {
namespace {

absl::Status ParseDocument(const std::string& line, v1::Document* document) {
  const auto value = nlohmann::json::parse(line, nullptr, /*allow_exceptions=*/false);
  if (!value.is_object()) return TenonError(Reason::kFieldInvalid, "The row is not a JSON object on one line.");
  for (const char* key : {"id", "text"}) {
    const auto field = value.find(key);
    if (field == value.end())
      return TenonError(Reason::kFieldRequired, absl::StrCat("The row has no `", key, "`."), key);
    if (!field->is_string())
      return TenonError(Reason::kFieldInvalid, absl::StrCat("`", key, "` is not a string."), key);
  }
  document->set_id(value["id"].get<std::string>());
  document->set_text(value["text"].get<std::string>());
  const auto metadata = value.find("metadata");
  if (metadata == value.end() || metadata->is_null()) return absl::OkStatus();
  if (!metadata->is_object() ||
      !google::protobuf::util::JsonStringToMessage(metadata->dump(), document->mutable_metadata()).ok()) {
    return TenonError(Reason::kFieldInvalid, "`metadata` is not a JSON object.", "metadata");
  }
  return absl::OkStatus();
}

}  // namespace

std::vector<DocumentRow> ParseDocuments(const std::string& bytes) {
  std::vector<DocumentRow> rows;
  std::set<std::string> seen;
  std::istringstream lines(bytes);
  std::string line;
  while (std::getline(lines, line)) {
    if (absl::StripAsciiWhitespace(line).empty()) continue;
    DocumentRow& row = rows.emplace_back();
    row.number = static_cast<int64_t>(rows.size());
    row.error = ParseDocument(line, &row.document);
    if (row.error.ok() && !seen.insert(row.document.id()).second) {
      row.error = TenonError(Reason::kDocumentDuplicate,
                             absl::StrCat("The id '", row.document.id(), "' occurred before."), "id");
    }
  }
  return rows;
}

}  // namespace tenon::cli
