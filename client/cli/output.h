// Tables for people, JSON for scripts.
#pragma once

#include <google/protobuf/message.h>
#include <google/protobuf/timestamp.pb.h>

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace tenon::cli {

// protobuf's JSON mapping with defaults, on one line: each line of output is one whole object.
std::string ToJson(const google::protobuf::Message& message);
// The same as a value that keeps the order of fields.
nlohmann::ordered_json ToJsonValue(const google::protobuf::Message& message);

// Columns as wide as their widest cell, counted in code points. Control characters, which texts and ids of users may
// hold, are shown as spaces: no cell breaks a line or speaks to the terminal.
class Table {
 public:
  explicit Table(std::vector<std::string> header) : header_(std::move(header)) {}
  void Add(std::vector<std::string> row);
  bool empty() const { return rows_.empty(); }
  std::string ToString() const;

 private:
  std::vector<std::string> header_;
  std::vector<std::vector<std::string>> rows_;
};

// Writes to standard output; `text` gets a newline when it has none.
void Print(const std::string& text);
// The same without a newline, at once: for a text that comes in pieces.
void PrintPart(const std::string& text);
// Text of a model or a user with line ends and tabs, and spaces for other control characters: it must not speak to the
// terminal.
std::string Printable(std::string text);
// Writes out what is buffered. DATA_LOSS when standard output did not take all that was printed.
absl::Status FlushOutput();
// Writes to standard error: progress and hints, which are not the command's result.
void PrintNote(const std::string& text);

// `succeeded` for JOB_STATE_SUCCEEDED: the value without its enum's prefix, in lower case; `-` for UNSPECIFIED.
std::string EnumWord(const google::protobuf::EnumDescriptor* type, int value);
// The value for a word, or for its beginning up to an underscore where one value alone begins so; FIELD_INVALID lists
// what is allowed.
absl::StatusOr<int> ParseEnumWord(const google::protobuf::EnumDescriptor* type, const std::string& word,
                                  const std::string& field);
template <typename Enum>
std::string Word(Enum value) {
  return EnumWord(google::protobuf::GetEnumDescriptor<Enum>(), value);
}
template <typename Enum>
absl::StatusOr<Enum> ParseWord(const std::string& word, const std::string& field) {
  absl::StatusOr<int> value = ParseEnumWord(google::protobuf::GetEnumDescriptor<Enum>(), word, field);
  if (!value.ok()) return value.status();
  return static_cast<Enum>(*value);
}

// The last part of a resource name: `tickets` of `adapters/tickets`.
std::string ShortName(const std::string& name);
// At most `width` code points on one line, with `…` where something was cut.
std::string Shorten(const std::string& text, size_t width);
// `2024-05-01 09:30:00`, local time; `-` when absent.
std::string FormatTime(const google::protobuf::Timestamp& time);
// `86.7 MiB`.
std::string FormatBytes(int64_t bytes);
// `0.8671`: four decimals.
std::string FormatScore(double score);

}  // namespace tenon::cli
