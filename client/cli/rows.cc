#include "client/cli/rows.h"

#include <filesystem>
#include <fstream>
#include <iostream>
#include <sstream>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"

namespace tenon::cli {

absl::StatusOr<std::string> ReadInput(const std::string& file) {
  std::ostringstream bytes;
  if (file == "-") {
    bytes << std::cin.rdbuf();
    return bytes.str();
  }
  std::error_code error;
  if (std::filesystem::is_directory(file, error)) {
    return TenonError(Reason::kFieldInvalid, absl::StrCat(file, " is a folder, not a file."), "--input");
  }
  std::ifstream in(file, std::ios::binary);
  if (!in) return absl::NotFoundError(absl::StrCat("Cannot open ", file, "."));
  bytes << in.rdbuf();
  return bytes.str();
}

namespace {

// A pair's second text; a row without one, or with null, is a text alone.
absl::StatusOr<std::string> PairOf(const nlohmann::ordered_json& row, int64_t number) {
  const auto pair = row.find("text_pair");
  if (pair == row.end() || pair->is_null()) return std::string();
  if (pair->is_string() && !pair->get_ref<const std::string&>().empty()) return pair->get<std::string>();
  return TenonError(Reason::kFieldInvalid,
                    absl::StrCat("Row ", number, ": `text_pair` must be a string that is not empty, or absent."),
                    absl::StrCat("row ", number));
}

}  // namespace

absl::StatusOr<std::vector<InputRow>> ParseRows(
    const std::string& bytes,
    const std::function<absl::Status(const nlohmann::ordered_json& value, InputRow* row)>& take) {
  std::vector<InputRow> rows;
  std::istringstream lines(bytes);
  std::string line;
  while (std::getline(lines, line)) {
    if (absl::StripAsciiWhitespace(line).empty()) continue;
    const int64_t number = static_cast<int64_t>(rows.size()) + 1;
    const std::string field = absl::StrCat("row ", number);
    const auto value = nlohmann::ordered_json::parse(line, nullptr, /*allow_exceptions=*/false);
    if (!value.is_object()) {
      return TenonError(Reason::kFieldInvalid, absl::StrCat("Row ", number, " is not a JSON object on one line."),
                        field);
    }
    InputRow row{.number = number};
    RETURN_IF_ERROR(take(value, &row));
    if (const auto id = value.find("id"); id != value.end()) row.id = *id;
    rows.push_back(std::move(row));
  }
  if (rows.empty()) return TenonError(Reason::kFieldRequired, "The input has no rows.", "--input");
  return rows;
}

absl::StatusOr<std::vector<InputRow>> ParseTextRows(const std::string& bytes, bool pairs) {
  return ParseRows(bytes, [pairs](const nlohmann::ordered_json& value, InputRow* row) -> absl::Status {
    const auto text = value.find("text");
    if (text == value.end() || !text->is_string()) {
      return TenonError(Reason::kFieldRequired, absl::StrCat("Row ", row->number, " has no `text`, a string."),
                        absl::StrCat("row ", row->number));
    }
    row->text = text->get<std::string>();
    if (pairs) {
      ASSIGN_OR_RETURN(row->text_pair, PairOf(value, row->number));
    }
    return absl::OkStatus();
  });
}

absl::StatusOr<std::vector<InputRow>> TextRows(const std::vector<std::string>& texts, const std::string& file,
                                               bool pairs) {
  if (texts.empty() == file.empty()) {
    return TenonError(Reason::kFieldRequired, "Give either TEXT or --input FILE.", "--input");
  }
  if (!file.empty()) {
    ASSIGN_OR_RETURN(const std::string bytes, ReadInput(file));
    return ParseTextRows(bytes, pairs);
  }
  std::vector<InputRow> rows;
  for (const std::string& text : texts) rows.push_back({.number = static_cast<int64_t>(rows.size()) + 1, .text = text});
  return rows;
}

absl::Status NameRow(const absl::Status& status, absl::Span<const InputRow> batch) {
  const std::string field = GetField(status);
  const size_t open = field.find('[');
  const size_t close = field.find(']');
  size_t index = 0;
  const std::string list = field.substr(0, open);
  if ((list != "texts" && list != "text_pairs" && list != "queries" && list != "words" && list != "questions") ||
      open == std::string::npos || close == std::string::npos ||
      !absl::SimpleAtoi(field.substr(open + 1, close - open - 1), &index) || index >= batch.size()) {
    return status;
  }
  return TenonError(GetReason(status), std::string(status.message()), absl::StrCat("row ", batch[index].number));
}

std::vector<absl::Span<const InputRow>> CutBatches(const std::vector<InputRow>& rows, size_t max_rows,
                                                   size_t max_bytes) {
  std::vector<absl::Span<const InputRow>> batches;
  size_t first = 0, bytes = 0;
  for (size_t i = 0; i < rows.size(); ++i) {
    const size_t added = rows[i].text.size() + rows[i].text_pair.size();
    if (i > first && (i - first == max_rows || bytes + added > max_bytes)) {
      batches.emplace_back(&rows[first], i - first);
      first = i;
      bytes = 0;
    }
    bytes += added;
  }
  if (first < rows.size()) batches.emplace_back(&rows[first], rows.size() - first);
  return batches;
}

}  // namespace tenon::cli
