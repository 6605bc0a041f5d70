#include "common/formats/dataset_builder.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <optional>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "common/formats/status.h"
#include "common/formats/utf8.h"

namespace tenon::formats {
namespace {

constexpr size_t kMaxIdBytes = 512;

bool IsReal(const Value& value) { return value.kind == Value::Kind::kReal; }

// A label with a fraction, or a list that has one.
bool HasReal(const RawRow& row) {
  const std::vector<Value>& items = row[Column::kLabels].items;
  return IsReal(row[Column::kLabel]) || std::any_of(items.begin(), items.end(), IsReal);
}

}  // namespace

std::optional<int64_t> CanonicalInteger(const std::string& text) {
  int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || absl::StrCat(value) != text) return std::nullopt;
  return value;
}

RowError WrongType(Column column, const Value& value, const char* wanted) {
  if (value.kind == Value::Kind::kMissing) return {ColumnName(column), "is missing"};
  return {ColumnName(column), absl::StrCat("must be ", wanted, ", not ", KindName(value.kind))};
}

RowError DatasetBuilder::SetKind(const RawRow& first, std::optional<DatasetKind> kind) {
  const bool label = first.Has(Column::kLabel), labels = first.Has(Column::kLabels);
  id_column_ = first.Has(Column::kUnderscoreId) ? Column::kUnderscoreId : Column::kId;
  words_column_ = first.Has(Column::kWords) ? Column::kWords : Column::kTokens;
  if (kind.has_value()) {
    dataset_.kind = *kind;
  } else if (first.Has(Column::kQueryId) && first.Has(Column::kCorpusId)) {
    dataset_.kind = DatasetKind::kQrels;
  } else if (label || labels) {
    dataset_.kind = HasReal(first) ? DatasetKind::kRegression : DatasetKind::kClassification;
  } else if (first.Has(Column::kTags) && (first.Has(Column::kWords) || first.Has(Column::kTokens))) {
    dataset_.kind = DatasetKind::kTags;
  } else if (first.Has(Column::kQuestion) && first.Has(Column::kContext) &&
             (first.Has(Column::kAnswers) || first.Has(Column::kAnswerStart))) {
    dataset_.kind = DatasetKind::kAnswers;
  } else if (first.Has(Column::kText) && first.Has(id_column_)) {
    dataset_.kind = DatasetKind::kQueries;
  } else {
    dataset_.kind = DatasetKind::kRecords;
  }
  if (dataset_.kind == DatasetKind::kRecords) return records_.Start(first);
  const bool regression = dataset_.kind == DatasetKind::kRegression;
  if (dataset_.kind != DatasetKind::kClassification && !regression) return {};
  if (label && labels) return {"labels", "stands beside label; use one of them"};
  if (regression) {
    number_column_ = labels ? Column::kLabels : Column::kLabel;
    dataset_.fields = {"text"};
    return {};
  }
  dataset_.multi_label = labels;
  dataset_.fields = labels ? std::vector<std::string>{"text"} : std::vector<std::string>{"label", "text"};
  return {};
}

RowError DatasetBuilder::Add(RawRow* row) {
  switch (dataset_.kind) {
    case DatasetKind::kClassification:
      return AddClassification(row);
    case DatasetKind::kQueries:
      return AddQuery(row);
    case DatasetKind::kQrels:
      return AddQrel(row);
    case DatasetKind::kRecords:
      return records_.Add(row);
    case DatasetKind::kRegression:
      return AddRegression(row);
    case DatasetKind::kTags:
      return AddTags(row);
    case DatasetKind::kAnswers:
      return AddAnswers(row);
  }
  return {};
}

RowError DatasetBuilder::TakeText(RawRow* row, Column column, std::string* text) const {
  Value& value = (*row)[column];
  if (!IsText(value)) return WrongType(column, value, "a string");
  const absl::Status status = CheckText(value.text, limits_.max_text_bytes, ColumnName(column));
  if (GetReason(status) == Reason::kTextEmpty) return {ColumnName(column), "is empty"};
  if (!status.ok()) {
    return {ColumnName(column),
            absl::StrCat("has ", value.text.size(), " bytes; at most ", limits_.max_text_bytes, " are allowed")};
  }
  *text = std::move(value.text);
  return {};
}

// Files with a column for it have empty cells where a text stands alone.
RowError DatasetBuilder::TakePair(RawRow* row, std::string* text) const {
  const Value& value = (*row)[Column::kTextPair];
  const bool none = value.kind == Value::Kind::kMissing || value.kind == Value::Kind::kNull ||
                    (value.kind == Value::Kind::kText && value.text.empty());
  return none ? RowError() : TakeText(row, Column::kTextPair, text);
}

RowError DatasetBuilder::TakeLabel(const Value& value, const std::string& column, std::vector<std::string>* labels) {
  if (!IsText(value) && value.kind != Value::Kind::kInteger) {
    if (value.kind == Value::Kind::kMissing) return {column, "is missing"};
    return {column, absl::StrCat("must be a string or an integer, not ", KindName(value.kind))};
  }
  if (value.text.find_first_not_of(" \t\r\n\f\v") == std::string::npos) return {column, "is empty"};
  if (static_cast<int64_t>(value.text.size()) > limits_.max_label_bytes) {
    return {column,
            absl::StrCat("has ", value.text.size(), " bytes; at most ", limits_.max_label_bytes, " are allowed")};
  }
  if (std::find(labels->begin(), labels->end(), value.text) != labels->end()) {
    return {column, absl::StrCat("has \"", value.text, "\" twice")};
  }
  if (labels_.insert(value.text).second && static_cast<int64_t>(labels_.size()) > limits_.max_labels) {
    labels_.erase(value.text);
    return {column, absl::StrCat("makes more than ", limits_.max_labels, " different labels")};
  }
  labels->push_back(value.text);
  return {};
}

RowError DatasetBuilder::AddClassification(RawRow* row) {
  ClassificationRow taken;
  RowError error = TakeText(row, Column::kText, &taken.text);
  if (error.ok()) error = TakePair(row, &taken.text_pair);
  if (!error.ok()) return error;
  if (!dataset_.multi_label) {
    error = TakeLabel((*row)[Column::kLabel], "label", &taken.labels);
    if (!error.ok()) return error;
  } else {
    const Value& list = (*row)[Column::kLabels];
    if (list.kind == Value::Kind::kText) return {"labels", "is a list, which only JSON lines can hold"};
    if (list.kind != Value::Kind::kList) return WrongType(Column::kLabels, list, "a list");
    for (const Value& item : list.items) {
      error = TakeLabel(item, "labels", &taken.labels);
      if (!error.ok()) return error;
    }
  }
  dataset_.pair_count += taken.text_pair.empty() ? 0 : 1;
  dataset_.classification.push_back(std::move(taken));
  return {};
}

RowError DatasetBuilder::TakeNumber(const Value& value, const std::string& column, std::vector<float>* values) const {
  const bool cell = value.kind == Value::Kind::kText;
  if (!cell && !IsReal(value) && value.kind != Value::Kind::kInteger) {
    if (value.kind == Value::Kind::kMissing) return {column, "is missing"};
    return {column, absl::StrCat("must be a number, not ", KindName(value.kind))};
  }
  double number = 0;
  if (!absl::SimpleAtod(value.text, &number)) {
    return {column, absl::StrCat("\"", value.text.substr(0, 20), "\" is not a number")};
  }
  // Training computes in fp32.
  if (!std::isfinite(static_cast<float>(number))) {
    return {column, absl::StrCat("is ", value.text.substr(0, 20), "; it must be a finite number of single precision")};
  }
  values->push_back(static_cast<float>(number));
  return {};
}

RowError DatasetBuilder::AddRegression(RawRow* row) {
  ClassificationRow taken;
  RowError error = TakeText(row, Column::kText, &taken.text);
  if (error.ok()) error = TakePair(row, &taken.text_pair);
  if (!error.ok()) return error;
  const Value& value = (*row)[number_column_];
  const std::string column = ColumnName(number_column_);
  if (number_column_ == Column::kLabel) {
    error = TakeNumber(value, column, &taken.values);
  } else {
    if (value.kind == Value::Kind::kText) return {column, "is a list, which only JSON lines can hold"};
    if (value.kind != Value::Kind::kList) return WrongType(number_column_, value, "a list");
    if (value.items.empty()) return {column, "is empty"};
    for (const Value& item : value.items) {
      if (error.ok()) error = TakeNumber(item, column, &taken.values);
    }
  }
  if (!error.ok()) return error;
  const auto count = static_cast<int64_t>(taken.values.size());
  if (count > limits_.max_labels) return {column, absl::StrCat("has more than ", limits_.max_labels, " numbers")};
  if (dataset_.value_count == 0) dataset_.value_count = count;
  if (dataset_.value_count != count) {
    return {column, absl::StrCat("has ", count, " numbers; rows before it have ", dataset_.value_count)};
  }
  dataset_.pair_count += taken.text_pair.empty() ? 0 : 1;
  dataset_.classification.push_back(std::move(taken));
  return {};
}

RowError DatasetBuilder::TakeId(RawRow* row, Column column, std::string* id) const {
  Value& value = (*row)[column];
  if (!IsText(value) && value.kind != Value::Kind::kInteger) return WrongType(column, value, "a string or an integer");
  if (value.text.empty()) return {ColumnName(column), "is empty"};
  if (value.text.size() > kMaxIdBytes) {
    return {ColumnName(column),
            absl::StrCat("has ", value.text.size(), " bytes; at most ", kMaxIdBytes, " are allowed")};
  }
  *id = std::move(value.text);
  return {};
}

RowError DatasetBuilder::AddQuery(RawRow* row) {
  QueryRow taken;
  RowError error = TakeId(row, id_column_, &taken.id);
  if (error.ok()) error = TakeText(row, Column::kText, &taken.text);
  if (!error.ok()) return error;
  if (!query_ids_.insert(taken.id).second)
    return {ColumnName(id_column_), absl::StrCat("\"", taken.id, "\" occurs twice")};
  dataset_.queries.push_back(std::move(taken));
  return {};
}

RowError DatasetBuilder::AddQrel(RawRow* row) {
  QrelRow taken;
  RowError error = TakeId(row, Column::kQueryId, &taken.query_id);
  if (error.ok()) error = TakeId(row, Column::kCorpusId, &taken.document_id);
  if (!error.ok()) return error;
  const Value& score = (*row)[Column::kScore];
  const bool number = score.kind == Value::Kind::kInteger || score.kind == Value::Kind::kText;
  const std::optional<int64_t> value = number ? CanonicalInteger(score.text) : std::nullopt;
  if (!value.has_value()) {
    if (score.kind == Value::Kind::kText)
      return {"score", absl::StrCat("\"", score.text.substr(0, 20), "\" is not an integer")};
    return WrongType(Column::kScore, score, "an integer");
  }
  taken.score = *value;
  if (!qrel_ids_.emplace(taken.query_id, taken.document_id).second) {
    return {"corpus-id", absl::StrCat("\"", taken.document_id, "\" occurs twice for query \"", taken.query_id, "\"")};
  }
  dataset_.qrels.push_back(std::move(taken));
  return {};
}

absl::StatusOr<Dataset> DatasetBuilder::Finish() {
  if (dataset_.kind == DatasetKind::kRecords) RETURN_IF_ERROR(records_.Finish(&dataset_));
  if (dataset_.row_count() == 0) return TenonError(Reason::kDatasetInvalid, "the file has no rows");
  if (dataset_.pair_count == dataset_.row_count()) dataset_.fields.push_back("text_pair");  // the last bytewise
  dataset_.labels.assign(labels_.begin(), labels_.end());
  SortLabels(&dataset_.labels);
  if (dataset_.multi_label && dataset_.labels.empty()) {
    return TenonError(Reason::kDatasetInvalid, "no row has a label", "labels");
  }
  return std::move(dataset_);
}

void SortLabels(std::vector<std::string>* labels) {
  std::vector<std::pair<int64_t, std::string>> numbers;
  for (const std::string& label : *labels) {
    const std::optional<int64_t> number = CanonicalInteger(label);
    if (!number.has_value()) {
      std::sort(labels->begin(), labels->end());
      return;
    }
    numbers.emplace_back(*number, label);
  }
  std::sort(numbers.begin(), numbers.end());
  for (size_t i = 0; i < numbers.size(); ++i) (*labels)[i] = numbers[i].second;
}

}  // namespace tenon::formats
