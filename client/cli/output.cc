#include "client/cli/output.h"

#include <google/protobuf/util/json_util.h>

#include <algorithm>
#include <cstdio>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/time/time.h"
#include "common/formats/status.h"

namespace tenon::cli {
namespace {

bool StartsCodePoint(char c) { return (static_cast<unsigned char>(c) & 0xC0) != 0x80; }

size_t CodePoints(const std::string& text) {
  return static_cast<size_t>(std::count_if(text.begin(), text.end(), StartsCodePoint));
}

void ReplaceControls(std::string* text) {
  std::replace_if(
      text->begin(), text->end(), [](char c) { return absl::ascii_iscntrl(static_cast<unsigned char>(c)); }, ' ');
}

// `JOB_STATE_` for JobState: buf's rule for names of enum values.
std::string Prefix(const google::protobuf::EnumDescriptor* type) {
  std::string prefix;
  for (const char c : type->name()) {
    if (absl::ascii_isupper(static_cast<unsigned char>(c)) && !prefix.empty()) prefix += '_';
    prefix += absl::ascii_toupper(static_cast<unsigned char>(c));
  }
  return prefix + "_";
}

}  // namespace

std::string ToJson(const google::protobuf::Message& message) {
  google::protobuf::util::JsonPrintOptions options;
  options.always_print_primitive_fields = true;
  std::string json;
  const auto status = google::protobuf::util::MessageToJsonString(message, &json, options);
  return status.ok() ? json : absl::StrCat("{\"error\":\"", std::string(status.message()), "\"}");
}

nlohmann::ordered_json ToJsonValue(const google::protobuf::Message& message) {
  return nlohmann::ordered_json::parse(ToJson(message), nullptr, /*allow_exceptions=*/false);
}

void Table::Add(std::vector<std::string> row) {
  for (std::string& cell : row) ReplaceControls(&cell);
  rows_.push_back(std::move(row));
}

std::string Table::ToString() const {
  std::vector<size_t> widths;
  for (const std::string& title : header_) widths.push_back(CodePoints(title));
  for (const auto& row : rows_) {
    if (widths.size() < row.size()) widths.resize(row.size());  // a table may have no header
    for (size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], CodePoints(row[i]));
  }
  std::string text;
  const auto add = [&](const std::vector<std::string>& row) {
    std::string line;
    for (size_t i = 0; i < row.size(); ++i) {
      line += row[i];
      if (i + 1 < row.size()) line.append(widths[i] - CodePoints(row[i]) + 2, ' ');
    }
    absl::StripTrailingAsciiWhitespace(&line);
    absl::StrAppend(&text, line, "\n");
  };
  if (!header_.empty()) add(header_);
  for (const auto& row : rows_) add(row);
  return text;
}

namespace {

void Write(FILE* file, const std::string& text) {
  std::fwrite(text.data(), 1, text.size(), file);
  if (text.empty() || text.back() != '\n') std::fputc('\n', file);
  std::fflush(file);
}

}  // namespace

void Print(const std::string& text) { Write(stdout, text); }

void PrintPart(const std::string& text) {
  std::fwrite(text.data(), 1, text.size(), stdout);
  std::fflush(stdout);
}

std::string Printable(std::string text) {
  const auto speaks = [](char c) {
    return c != '\n' && c != '\t' && absl::ascii_iscntrl(static_cast<unsigned char>(c));
  };
  std::replace_if(text.begin(), text.end(), speaks, ' ');
  return text;
}

void PrintNote(const std::string& text) { Write(stderr, text); }

absl::Status FlushOutput() {
  if (std::fflush(stdout) == 0 && std::ferror(stdout) == 0) return absl::OkStatus();
  return absl::DataLossError("Standard output did not take all that was printed.");
}

std::string EnumWord(const google::protobuf::EnumDescriptor* type, int value) {
  if (value == 0) return "-";
  const google::protobuf::EnumValueDescriptor* found = type->FindValueByNumber(value);
  if (found == nullptr) return std::to_string(value);
  const std::string prefix = Prefix(type);
  const std::string& name = found->name();
  return absl::AsciiStrToLower(name.rfind(prefix, 0) == 0 ? name.substr(prefix.size()) : name);
}

absl::StatusOr<int> ParseEnumWord(const google::protobuf::EnumDescriptor* type, const std::string& word,
                                  const std::string& field) {
  std::vector<std::string> allowed;
  std::vector<int> longer;
  for (int i = 0; i < type->value_count(); ++i) {
    if (type->value(i)->number() == 0) continue;
    allowed.push_back(EnumWord(type, type->value(i)->number()));
    if (allowed.back() == word) return type->value(i)->number();
    if (absl::StartsWith(allowed.back(), word + "_")) longer.push_back(type->value(i)->number());
  }
  if (longer.size() == 1) return longer.front();
  return TenonError(Reason::kFieldInvalid, absl::StrCat("'", word, "' is none of ", absl::StrJoin(allowed, ", "), "."),
                    field);
}

std::string ShortName(const std::string& name) {
  const size_t slash = name.rfind('/');
  return slash == std::string::npos ? name : name.substr(slash + 1);
}

std::string Shorten(const std::string& text, size_t width) {
  std::string line = text;
  ReplaceControls(&line);
  if (CodePoints(line) <= width) return line;
  size_t kept = 0, bytes = 0;
  while (bytes < line.size()) {
    if (StartsCodePoint(line[bytes]) && ++kept == width) break;
    ++bytes;
  }
  return line.substr(0, bytes) + "…";
}

std::string FormatTime(const google::protobuf::Timestamp& time) {
  if (time.seconds() == 0) return "-";
  return absl::FormatTime("%Y-%m-%d %H:%M:%S", absl::FromUnixSeconds(time.seconds()), absl::LocalTimeZone());
}

std::string FormatBytes(int64_t bytes) {
  if (bytes < 1024) return absl::StrCat(bytes, " B");
  double value = static_cast<double>(bytes);
  int unit = -1;
  while (value >= 1024 && unit < 3) {
    value /= 1024;
    ++unit;
  }
  return absl::StrFormat("%.1f %ciB", value, "KMGT"[unit]);
}

std::string FormatScore(double score) { return absl::StrFormat("%.4f", score); }

}  // namespace tenon::cli
