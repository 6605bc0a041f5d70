#include "worker/engine/train/pairs.h"

#include <algorithm>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/formats/status.h"

namespace tenon::engine {
namespace {

absl::StatusOr<TokenPairs> TokenizeRows(const std::vector<TextPair>& rows, const std::string& name,
                                        const Tokenizer& tokenizer, int64_t max_input_tokens, int64_t max_target_tokens,
                                        const std::function<bool()>& cancelled) {
  TokenPairs result;
  const size_t no_text = tokenizer.Encode("", std::min(max_input_tokens, max_target_tokens)).ids.size();
  result.sources.reserve(rows.size());
  result.targets.reserve(rows.size());
  for (size_t i = 0; i < rows.size(); ++i) {
    if (cancelled()) return TenonError(Reason::kCancelled, "the job was cancelled");
    std::vector<int32_t> source = tokenizer.Encode(rows[i].input, max_input_tokens).ids;
    std::vector<int32_t> target = tokenizer.Encode(rows[i].target, max_target_tokens).ids;
    if (source.size() <= no_text || target.size() <= no_text) {
      const std::string where = absl::StrCat(name, " row ", i + 1);
      return TenonError(Reason::kDatasetInvalid,
                        absl::StrCat(where, " has an empty ", source.size() <= no_text ? "input" : "target"), where);
    }
    result.sources.push_back(std::move(source));
    result.targets.push_back(std::move(target));
  }
  return result;
}

}  // namespace

std::vector<int64_t> TokenPairs::lengths() const {
  std::vector<int64_t> lengths;
  lengths.reserve(sources.size());
  for (size_t i = 0; i < sources.size(); ++i) {
    lengths.push_back(static_cast<int64_t>(sources[i].size() + targets[i].size()));
  }
  return lengths;
}

absl::StatusOr<std::shared_ptr<const PairData>> TokenizePairs(const TrainData& data, const Tokenizer& tokenizer,
                                                              int64_t max_input_tokens, int64_t max_target_tokens,
                                                              const std::function<bool()>& cancelled) {
  if (data.train_pairs.empty()) return TenonError(Reason::kDatasetInvalid, "the training data has no rows", "train");
  auto result = std::make_shared<PairData>();
  ASSIGN_OR_RETURN(result->train,
                   TokenizeRows(data.train_pairs, "train", tokenizer, max_input_tokens, max_target_tokens, cancelled));
  ASSIGN_OR_RETURN(result->validation, TokenizeRows(data.validation_pairs, "validation", tokenizer, max_input_tokens,
                                                    max_target_tokens, cancelled));
  return std::shared_ptr<const PairData>(std::move(result));
}

}  // namespace tenon::engine
