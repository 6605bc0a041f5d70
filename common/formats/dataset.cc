#include "common/formats/dataset.h"

#include <algorithm>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/formats/dataset_builder.h"
#include "common/formats/dataset_rows.h"
#include "common/formats/status.h"

namespace tenon::formats {
namespace {

constexpr int64_t kMaxListed = 10;
constexpr char kByteOrderMark[] = "\xEF\xBB\xBF";

absl::Status Invalid(const std::string& message) { return TenonError(Reason::kDatasetInvalid, message); }

absl::StatusOr<std::unique_ptr<RowReader>> NewReader(const std::string& bytes, DatasetFormat format) {
  const char* begin = bytes.data() + (bytes.compare(0, 3, kByteOrderMark) == 0 ? 3 : 0);
  const char* end = bytes.data() + bytes.size();
  if (format == DatasetFormat::kJsonLines) return NewJsonLinesReader(begin, end);
  auto reader = NewDelimitedReader(begin, end, format == DatasetFormat::kCsv ? ',' : '\t');
  if (!reader.ok()) return Invalid(std::string(reader.status().message()));
  return reader;
}

// The broken rows of a file: counts all, lists the first few.
class BrokenRows {
 public:
  void Add(int64_t row, const RowError& error) {
    const std::string place =
        error.column.empty() ? absl::StrCat("row ", row) : absl::StrCat("row ", row, ", column ", error.column);
    if (count_ == 0) first_ = place;
    if (count_ < kMaxListed) listed_.push_back(absl::StrCat(place, error.column.empty() ? " " : ": ", error.what));
    ++count_;
  }
  absl::Status ToStatus(int64_t rows) const {
    if (count_ == 0) return absl::OkStatus();
    std::string message = absl::StrJoin(listed_, "; ");
    if (count_ > kMaxListed) absl::StrAppend(&message, "; and ", count_ - kMaxListed, " more");
    if (count_ > 1) message = absl::StrCat(count_, " of ", rows, " rows are broken: ", message);
    return TenonError(Reason::kDatasetInvalid, message, first_);
  }

 private:
  int64_t count_ = 0;
  std::string first_;
  std::vector<std::string> listed_;
};

}  // namespace

absl::StatusOr<DatasetFormat> DatasetFormatFromName(const std::string& file_name) {
  const std::string name = absl::AsciiStrToLower(file_name);
  const size_t dot = name.rfind('.');
  const std::string extension = dot == std::string::npos ? "" : name.substr(dot);
  if (extension == ".jsonl" || extension == ".json") return DatasetFormat::kJsonLines;
  if (extension == ".csv") return DatasetFormat::kCsv;
  if (extension == ".tsv") return DatasetFormat::kTsv;
  return TenonError(Reason::kOptionInvalid,
                    absl::StrCat("\"", file_name, "\": a data set's name must end in .jsonl, .json, .csv or .tsv"),
                    "file_name");
}

absl::StatusOr<Dataset> ReadDataset(const std::string& bytes, DatasetFormat format, const DatasetLimits& limits,
                                    std::optional<DatasetKind> kind) {
  ASSIGN_OR_RETURN(const std::unique_ptr<RowReader> reader, NewReader(bytes, format));
  DatasetBuilder builder(limits);
  BrokenRows broken;
  RawRow raw;
  bool has_kind = false;
  int64_t rows = 0;
  for (;;) {
    const auto found = reader->Next(&raw);
    if (found.ok() && !*found) break;
    if (++rows > limits.max_rows) return Invalid(absl::StrCat("the file has more than ", limits.max_rows, " rows"));
    RowError error;
    if (!found.ok()) {
      error = {raw.fault_column, std::string(found.status().message())};
    } else {
      if (!has_kind) error = builder.SetKind(raw, kind);
      // Without a kind no later row means anything.
      if (!error.ok()) {
        broken.Add(rows, error);
        return broken.ToStatus(rows);
      }
      if (!has_kind) reader->KeepOthers(builder.kind() == DatasetKind::kRecords);
      has_kind = true;
      error = builder.Add(&raw);
      if (builder.cells() > limits.max_cells) {
        return Invalid(absl::StrCat("the file has more than ", limits.max_cells, " texts in its columns"));
      }
    }
    if (!error.ok()) broken.Add(rows, error);
  }
  RETURN_IF_ERROR(broken.ToStatus(rows));
  ASSIGN_OR_RETURN(Dataset dataset, builder.Finish());
  // Of records the builder says which columns are no fields, and why.
  if (dataset.kind != DatasetKind::kRecords && !reader->other_columns().empty()) {
    dataset.warnings.push_back(absl::StrCat("ignored columns: ", absl::StrJoin(reader->other_columns(), ", ")));
  }
  return dataset;
}

std::vector<Record> ReadFirstRecords(const std::string& bytes, DatasetFormat format, DatasetKind kind, int64_t count) {
  const auto reader = NewReader(bytes, format);
  if (!reader.ok()) return {};
  DatasetBuilder builder{DatasetLimits()};
  RawRow raw;
  for (int64_t row = 0; row < count; ++row) {
    const auto found = (*reader)->Next(&raw);
    if (!found.ok() || !*found) break;
    if (row == 0 && !builder.SetKind(raw, kind).ok()) return {};
    if (!builder.Add(&raw).ok()) break;
  }
  const auto dataset = builder.Finish();
  std::vector<Record> records;
  if (!dataset.ok()) return records;
  for (int64_t row = 0; row < dataset->row_count(); ++row) records.push_back(dataset->RecordAt(row));
  return records;
}

Record Dataset::RecordAt(int64_t row) const {
  const auto at = static_cast<size_t>(row);
  Record record;
  for (size_t i = 0; i < fields.size(); ++i) {
    record[fields[i]] = kind == DatasetKind::kRecords ? records[at][i]
                        : fields[i] == "text"         ? classification[at].text
                        : fields[i] == "text_pair"    ? classification[at].text_pair
                                                      : classification[at].labels.front();
  }
  return record;
}

absl::StatusOr<std::vector<std::vector<int64_t>>> LabelIndices(const Dataset& dataset,
                                                               const std::vector<std::string>& labels) {
  absl::flat_hash_map<std::string, int64_t> index;
  for (size_t i = 0; i < labels.size(); ++i) index.emplace(labels[i], static_cast<int64_t>(i));
  const bool tags = dataset.kind == DatasetKind::kTags;
  std::vector<std::vector<int64_t>> indices(tags ? dataset.tags.size() : dataset.classification.size());
  for (size_t row = 0; row < indices.size(); ++row) {
    for (const std::string& label : tags ? dataset.tags[row].tags : dataset.classification[row].labels) {
      const auto it = index.find(label);
      if (it == index.end()) {
        const std::string column = tags ? "tags" : dataset.multi_label ? "labels" : "label";
        return TenonError(
            Reason::kLabelUnknown,
            absl::StrCat("row ", row + 1, ", column ", column, ": \"", label, "\" is not in the label set"),
            absl::StrCat("row ", row + 1, ", column ", column));
      }
      indices[row].push_back(it->second);
    }
  }
  return indices;
}

}  // namespace tenon::formats
