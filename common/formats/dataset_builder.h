// Gives rows a meaning: what kind of set they are, and whether each is whole. Internal to common/formats.
#pragma once

#include <cstdint>
#include <string>
#include <utility>

#include "absl/container/flat_hash_set.h"
#include "common/formats/dataset.h"
#include "common/formats/dataset_rows.h"

namespace tenon::formats {

// What is wrong with a row: its column ("" for the whole row) and what; `what` is empty when nothing is.
struct RowError {
  std::string column;
  std::string what;
  bool ok() const { return what.empty(); }
};

class DatasetBuilder {
 public:
  explicit DatasetBuilder(const DatasetLimits& limits) : limits_(limits) {}

  // Decides the kind by the columns of the first whole row.
  RowError SetKind(const RawRow& first);
  // Takes a row's values, or says what is wrong with them.
  RowError Add(RawRow* row);
  // Sorts labels; errors of the whole set.
  absl::StatusOr<Dataset> Finish();

 private:
  RowError AddClassification(RawRow* row);
  RowError AddQuery(RawRow* row);
  RowError AddQrel(RawRow* row);
  RowError TakeText(RawRow* row, std::string* text) const;
  RowError TakeLabel(const Value& value, const std::string& column, std::vector<std::string>* labels);
  RowError TakeId(RawRow* row, Column column, std::string* id) const;

  const DatasetLimits limits_;
  Dataset dataset_;
  Column id_column_ = Column::kId;
  absl::flat_hash_set<std::string> labels_;
  absl::flat_hash_set<std::string> query_ids_;
  absl::flat_hash_set<std::pair<std::string, std::string>> qrel_ids_;
};

// Numeric order when all are integers, else bytewise.
void SortLabels(std::vector<std::string>* labels);

}  // namespace tenon::formats
