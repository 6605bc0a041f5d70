// Rows of named texts, for templates. A column is a field while every row holds a text (or an integer) in it; what
// happens to the others is that they are named once. Internal to common/formats.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "common/formats/dataset.h"
#include "common/formats/dataset_rows.h"

namespace tenon::formats {

class RecordsBuilder {
 public:
  explicit RecordsBuilder(const DatasetLimits& limits) : limits_(limits) {}

  // The first row's columns are those that may become fields; it is added like the others afterwards.
  RowError Start(const RawRow& first);
  RowError Add(RawRow* row);
  // Values that were taken.
  int64_t cells() const { return cells_; }
  // Fills in `fields` in bytewise order, `records` and a warning. DATASET_INVALID when no column is a field.
  absl::Status Finish(Dataset* dataset);

 private:
  struct Field {
    std::string name;
    std::string fault;    // why it is no field; empty while it is one
    int64_t seen_in = 0;  // the last row that had it
  };
  void Open(const std::string& name);
  void Take(const std::string& name, Value* value, std::vector<std::string>* values);
  // What is wrong with a value; empty when it is a text.
  std::string FaultOf(const Value& value) const;
  std::string Ignored() const;

  const DatasetLimits limits_;
  std::vector<Field> columns_;  // those of the first row, then some that came later
  size_t first_columns_ = 0;
  absl::flat_hash_map<std::string, size_t> index_;
  std::vector<std::vector<std::string>> rows_;  // [row][column of the first row]
  int64_t row_ = 0;                             // from 1
  int64_t cells_ = 0;
};

}  // namespace tenon::formats
