#include "worker/engine/train/rows.h"

#include "absl/strings/str_cat.h"
#include "common/formats/status.h"

namespace tenon::engine {
namespace {

// Tokens of one evaluation slice: long enough for full speed, short enough that requests do not wait for it.
constexpr int64_t kCpuSliceTokens = 512;
constexpr int64_t kGpuSliceTokens = 16'384;
constexpr int64_t kSliceRows = 256;

absl::Status CheckLabels(const LabelledText& row, const TrainData& data, const std::string& where) {
  const auto count = static_cast<int64_t>(data.labels.size());
  if (data.regression) {
    if (static_cast<int64_t>(row.values.size()) == count) return absl::OkStatus();
    return TenonError(Reason::kDatasetInvalid,
                      absl::StrCat(where, " has ", row.values.size(), " numbers instead of ", count), where);
  }
  for (const int64_t label : row.labels) {
    if (label < 0 || label >= count) {
      return TenonError(Reason::kLabelUnknown, absl::StrCat(where, " has a label outside the set"), where);
    }
  }
  if (!data.multi_label && row.labels.size() != 1) {
    return TenonError(Reason::kDatasetInvalid,
                      absl::StrCat(where, " has ", row.labels.size(), " labels instead of one"), where);
  }
  return absl::OkStatus();
}

absl::StatusOr<TokenRows> TokenizeRows(const std::vector<LabelledText>& rows, const TrainData& data,
                                       const std::string& name, const Tokenizer& tokenizer, int64_t max_tokens,
                                       const std::function<bool()>& cancelled) {
  TokenRows result;
  result.ids.reserve(rows.size());
  result.second_types.reserve(rows.size());
  result.labels.reserve(rows.size());
  for (size_t i = 0; i < rows.size(); ++i) {
    if (cancelled()) return TenonError(Reason::kCancelled, "the job was cancelled");
    const std::string where = absl::StrCat(name, " row ", i + 1);
    RETURN_IF_ERROR(CheckLabels(rows[i], data, where));
    Encoding encoding = tokenizer.EncodeRow(rows[i].text, rows[i].text_pair, max_tokens);
    if (encoding.ids.empty()) {
      return TenonError(Reason::kDatasetInvalid, absl::StrCat(where, " has no token of the base's vocabulary"), where);
    }
    result.ids.push_back(std::move(encoding.ids));
    result.second_types.push_back(encoding.second_type);
    result.labels.push_back(rows[i].labels);
    result.values.push_back(rows[i].values);
  }
  return result;
}

}  // namespace

std::vector<int64_t> TokenRows::lengths() const {
  std::vector<int64_t> lengths;
  lengths.reserve(ids.size());
  for (const auto& row : ids) lengths.push_back(static_cast<int64_t>(row.size()));
  return lengths;
}

bool TokenRows::has_second_types() const {
  for (size_t row = 0; row < ids.size(); ++row) {
    if (second_types[row] < static_cast<int64_t>(ids[row].size())) return true;
  }
  return false;
}

int64_t TokenRows::Tokens(const MicroBatch& rows) const {
  int64_t tokens = 0;
  for (const int64_t row : rows) tokens += static_cast<int64_t>(ids[row].size());
  return tokens;
}

TokenRows TokenRows::Select(const std::vector<int64_t>& rows) const {
  TokenRows selected;
  for (const int64_t row : rows) {
    selected.ids.push_back(ids[row]);
    selected.second_types.push_back(second_types[row]);
    selected.labels.push_back(labels[row]);
    selected.values.push_back(values[row]);
  }
  return selected;
}

absl::StatusOr<std::shared_ptr<const TokenData>> TokenizeData(const TrainData& data, const Tokenizer& tokenizer,
                                                              int64_t max_tokens,
                                                              const std::function<bool()>& cancelled) {
  const size_t needed = data.multi_label || data.regression ? 1 : 2;
  if (data.labels.size() < needed) {
    return TenonError(Reason::kDatasetInvalid,
                      absl::StrCat("the data has ", data.labels.size(), " labels; at least ", needed, " are needed"),
                      "label");
  }
  if (data.train.empty()) return TenonError(Reason::kDatasetInvalid, "the training data has no rows", "train");
  auto result = std::make_shared<TokenData>();
  result->labels = data.labels;
  result->problem = data.regression    ? Problem::kRegression
                    : data.multi_label ? Problem::kMultiLabel
                                       : Problem::kSingleLabel;
  ASSIGN_OR_RETURN(result->train, TokenizeRows(data.train, data, "train", tokenizer, max_tokens, cancelled));
  ASSIGN_OR_RETURN(result->validation,
                   TokenizeRows(data.validation, data, "validation", tokenizer, max_tokens, cancelled));
  return std::shared_ptr<const TokenData>(std::move(result));
}

std::vector<MicroBatch> EvaluationBatches(std::vector<int64_t> lengths, bool cpu, int64_t virtual_tokens) {
  for (int64_t& length : lengths) length += virtual_tokens;
  return BatchesByTokens(lengths, cpu ? kCpuSliceTokens : kGpuSliceTokens, kSliceRows);
}

}  // namespace tenon::engine
