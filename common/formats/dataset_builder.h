// Gives rows a meaning: what kind of set they are, and whether each is whole. Internal to common/formats.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>

#include "absl/container/flat_hash_set.h"
#include "common/formats/dataset.h"
#include "common/formats/dataset_records.h"
#include "common/formats/dataset_rows.h"

namespace tenon::formats {

class DatasetBuilder {
 public:
  explicit DatasetBuilder(const DatasetLimits& limits) : limits_(limits), records_(limits) {}

  // Takes `kind`, or decides it by the columns of the first whole row.
  RowError SetKind(const RawRow& first, std::optional<DatasetKind> kind);
  DatasetKind kind() const { return dataset_.kind; }
  // Takes a row's values, or says what is wrong with them.
  RowError Add(RawRow* row);
  // Values of records so far.
  int64_t cells() const { return records_.cells(); }
  // Sorts labels; errors of the whole set.
  absl::StatusOr<Dataset> Finish();

 private:
  RowError AddClassification(RawRow* row);
  RowError AddRegression(RawRow* row);
  RowError AddQuery(RawRow* row);
  RowError AddQrel(RawRow* row);
  // dataset_spans.cc
  RowError AddTags(RawRow* row);
  RowError AddAnswers(RawRow* row);
  RowError TakeAnswer(const Value& text, const Value& start, AnswersRow* taken) const;
  RowError TakeText(RawRow* row, Column column, std::string* text) const;
  RowError TakePair(RawRow* row, std::string* text) const;
  RowError TakeLabel(const Value& value, const std::string& column, std::vector<std::string>* labels);
  RowError TakeNumber(const Value& value, const std::string& column, std::vector<float>* values) const;
  RowError TakeId(RawRow* row, Column column, std::string* id) const;

  const DatasetLimits limits_;
  Dataset dataset_;
  RecordsBuilder records_;
  Column id_column_ = Column::kId;
  Column number_column_ = Column::kLabel;  // of kRegression
  Column words_column_ = Column::kWords;   // of kTags
  absl::flat_hash_set<std::string> labels_;
  absl::flat_hash_set<std::string> query_ids_;
  absl::flat_hash_set<std::pair<std::string, std::string>> qrel_ids_;
};

// The number that `text` writes in decimal the one usual way ("7", "-3"; not "+7", "07").
std::optional<int64_t> CanonicalInteger(const std::string& text);
// What is wrong with a column that holds another kind of value, or none.
RowError WrongType(Column column, const Value& value, const char* wanted);
inline bool IsText(const Value& value) {
  return value.kind == Value::Kind::kString || value.kind == Value::Kind::kText;
}

// Numeric order when all are integers, else bytewise.
void SortLabels(std::vector<std::string>* labels);

}  // namespace tenon::formats
