// Rows of a data-set file before they mean anything: one reader for JSON lines, one for CSV and TSV. Internal to
// common/formats.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "common/formats/dataset.h"

namespace tenon::formats {

// The columns that mean something in one kind of set or another.
enum class Column {
  kText,
  kTextPair,
  kLabel,
  kLabels,
  kId,
  kUnderscoreId,
  kQueryId,
  kCorpusId,
  kScore,
  kWords,
  kTokens,
  kTags,
  kQuestion,
  kContext,
  kAnswers,
  kAnswer,
  kAnswerStart
};
inline constexpr int kColumnCount = 17;
const char* ColumnName(Column column);
// Column with this name; -1 when it is none of ours.
int FindColumn(const std::string& name);
// The name, cut when it is long, for a message.
std::string ShortColumnName(const std::string& name);

struct Value {
  // kText: a cell of CSV or TSV, which may mean a string or a number.
  enum class Kind { kMissing, kNull, kBoolean, kInteger, kReal, kString, kText, kList, kObject };
  Kind kind = Kind::kMissing;
  std::string text;          // of strings and cells, and numbers as they were written
  std::vector<Value> items;  // of lists
  // Of an object in kAnswers alone: its lists, by name.
  std::map<std::string, Value> members;
};
const char* KindName(Value::Kind kind);

// What is wrong with a row: its column ("" for the whole row) and what; `what` is empty when nothing is.
struct RowError {
  std::string column;
  std::string what;
  bool ok() const { return what.empty(); }
};

struct RawRow {
  std::array<Value, kColumnCount> values;
  // Columns that are none of ours, in the file's order; while the reader keeps them.
  std::vector<std::pair<std::string, Value>> others;
  // Of a row that could not be read: the column whose value was at fault, "" when it is not known.
  std::string fault_column;

  Value& operator[](Column column) { return values[static_cast<size_t>(column)]; }
  const Value& operator[](Column column) const { return values[static_cast<size_t>(column)]; }
  bool Has(Column column) const { return (*this)[column].kind != Value::Kind::kMissing; }
  void Clear();
};

// Reads `bytes`, which must outlive it, from front to back.
class RowReader {
 public:
  virtual ~RowReader() = default;
  // The next row: false at the end. An error is this row's alone and carries no reason; reading may go on behind it.
  virtual absl::StatusOr<bool> Next(RawRow* row) = 0;
  // Whether rows hold columns that are none of ours. They do at first.
  void KeepOthers(bool keep) { keep_others_ = keep; }
  // Names of columns seen that are none of ours; the first few, cut when they are long.
  const std::set<std::string>& other_columns() const { return other_columns_; }

 protected:
  void NoteOther(const std::string& name);
  bool keeps_others() const { return keep_others_; }

 private:
  bool keep_others_ = true;
  std::set<std::string> other_columns_;
};

std::unique_ptr<RowReader> NewJsonLinesReader(const char* begin, const char* end);
// Reads the header. CSV has RFC 4180's quotes; TSV has none, so a quote is a character like others there.
absl::StatusOr<std::unique_ptr<RowReader>> NewDelimitedReader(const char* begin, const char* end, char delimiter);

}  // namespace tenon::formats
