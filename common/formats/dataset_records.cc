#include "common/formats/dataset_records.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/formats/status.h"
#include "common/formats/utf8.h"

namespace tenon::formats {
namespace {

constexpr size_t kMaxNameBytes = 256;
constexpr size_t kMaxListed = 10;
constexpr size_t kMaxLate = 10;  // columns named that came behind the first row

// Why no template can name the column; empty when one can.
std::string NameFault(const std::string& name) {
  if (name.find_first_not_of(" \t\r\n\f\v") == std::string::npos) return "it has no name";
  if (name.find_first_of("{}") != std::string::npos) return "its name has a brace";
  if (name.size() > kMaxNameBytes) return absl::StrCat("its name has more than ", kMaxNameBytes, " bytes");
  return "";
}

template <typename Visit>
void ForEachColumn(const RawRow& row, Visit visit) {
  for (int i = 0; i < kColumnCount; ++i) {
    const auto column = static_cast<Column>(i);
    if (row.Has(column)) visit(ColumnName(column));
  }
  for (const auto& [name, value] : row.others) visit(name);
}

}  // namespace

RowError RecordsBuilder::Start(const RawRow& first) {
  ForEachColumn(first, [this](const std::string& name) { Open(name); });
  first_columns_ = columns_.size();
  if (static_cast<int64_t>(first_columns_) <= limits_.max_columns) return {};
  return {"", absl::StrCat("has ", first_columns_, " columns; at most ", limits_.max_columns, " are allowed")};
}

void RecordsBuilder::Open(const std::string& name) {
  if (!index_.emplace(name, columns_.size()).second) return;  // a second one of this name is found with the values
  columns_.push_back({name, NameFault(name), 0});
}

std::string RecordsBuilder::FaultOf(const Value& value) const {
  if (value.kind == Value::Kind::kInteger) return "";
  if (value.kind != Value::Kind::kString && value.kind != Value::Kind::kText) {
    return absl::StrCat("is ", KindName(value.kind));
  }
  const absl::Status status = CheckText(value.text, limits_.max_text_bytes, "text");
  if (status.ok()) return "";
  if (GetReason(status) == Reason::kTextEmpty) return "is empty";
  return absl::StrCat("has ", value.text.size(), " bytes; at most ", limits_.max_text_bytes, " are allowed");
}

void RecordsBuilder::Take(const std::string& name, Value* value, std::vector<std::string>* values) {
  const auto found = index_.find(name);
  if (found == index_.end()) {
    if (columns_.size() >= first_columns_ + kMaxLate) return;
    Open(name);
    if (columns_.back().fault.empty()) columns_.back().fault = "row 1: is missing";
    return;
  }
  auto& column = columns_[found->second];
  const bool twice = column.seen_in == row_;
  column.seen_in = row_;
  if (!column.fault.empty()) return;
  const std::string fault = twice ? "comes twice" : FaultOf(*value);
  if (!fault.empty()) {
    column.fault = absl::StrCat("row ", row_, ": ", fault);
    return;
  }
  (*values)[found->second] = std::move(value->text);
}

RowError RecordsBuilder::Add(RawRow* row) {
  ++row_;
  cells_ += static_cast<int64_t>(first_columns_);  // also of a row that holds less
  std::vector<std::string> values(first_columns_);
  for (int i = 0; i < kColumnCount; ++i) {
    const auto column = static_cast<Column>(i);
    if (row->Has(column)) Take(ColumnName(column), &(*row)[column], &values);
  }
  for (auto& [name, value] : row->others) Take(name, &value, &values);
  for (size_t i = 0; i < first_columns_; ++i) {
    if (columns_[i].seen_in == row_ || !columns_[i].fault.empty()) continue;
    columns_[i].fault = absl::StrCat("row ", row_, ": is missing");
  }
  rows_.push_back(std::move(values));
  return {};
}

std::string RecordsBuilder::Ignored() const {
  std::vector<std::string> listed;
  size_t count = 0;
  for (const auto& column : columns_) {
    if (column.fault.empty() || ++count > kMaxListed) continue;
    listed.push_back(absl::StrCat(ShortColumnName(column.name), " (", column.fault, ")"));
  }
  if (count > kMaxListed) listed.push_back(absl::StrCat("and ", count - kMaxListed, " more"));
  return absl::StrJoin(listed, ", ");
}

absl::Status RecordsBuilder::Finish(Dataset* dataset) {
  if (rows_.empty()) return absl::OkStatus();  // the whole set's error
  std::vector<size_t> order;
  for (size_t i = 0; i < first_columns_; ++i) {
    if (columns_[i].fault.empty()) order.push_back(i);
  }
  const std::string ignored = Ignored();
  if (order.empty()) {
    const std::string why = ignored.empty() ? "there are no columns" : ignored;
    return TenonError(Reason::kDatasetInvalid, absl::StrCat("no column holds a text in every row: ", why));
  }
  std::sort(order.begin(), order.end(), [this](size_t a, size_t b) { return columns_[a].name < columns_[b].name; });
  for (const size_t column : order) dataset->fields.push_back(columns_[column].name);
  for (std::vector<std::string>& row : rows_) {
    std::vector<std::string> values;
    values.reserve(order.size());
    for (const size_t column : order) values.push_back(std::move(row[column]));
    row = std::move(values);
  }
  dataset->records = std::move(rows_);
  if (!ignored.empty()) dataset->warnings.push_back("ignored columns: " + ignored);
  return absl::OkStatus();
}

}  // namespace tenon::formats
