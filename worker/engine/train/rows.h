// A run's rows as token ids. Free of torch.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "worker/engine/text/tokenizer.h"
#include "worker/engine/train/batch_plan.h"
#include "worker/engine/train/problem.h"
#include "worker/engine/train/trainer.h"

namespace tenon::engine {

struct TokenRows {
  std::vector<std::vector<int32_t>> ids;     // with special tokens
  std::vector<int64_t> second_types;         // as Encoding's
  std::vector<std::vector<int64_t>> labels;  // indices, one a row unless multi-label
  std::vector<std::vector<float>> values;    // of a regression, in place of labels
  // Of a head on every token: where in the row each of the labels is to be; an answer's labels are its two places, and
  // it has none here.
  std::vector<std::vector<int64_t>> places;

  int64_t size() const { return static_cast<int64_t>(ids.size()); }
  std::vector<int64_t> lengths() const;
  // Whether a token of any row is of type 1.
  bool has_second_types() const;
  // Tokens of these rows.
  int64_t Tokens(const MicroBatch& rows) const;
  // The rows with these numbers, in this order.
  TokenRows Select(const std::vector<int64_t>& rows) const;
};

struct TokenData {
  TokenRows train, validation;
  std::vector<std::string> labels;
  Problem problem = Problem::kSingleLabel;

  bool has_second_types() const { return train.has_second_types() || validation.has_second_types(); }
};

// Tokenizes every row. DATASET_INVALID names a row without the labels or numbers that its task needs, or with one that
// is not there. CANCELLED once `cancelled` says so.
absl::StatusOr<std::shared_ptr<const TokenData>> TokenizeData(const TrainData& data, const Tokenizer& tokenizer,
                                                              int64_t max_tokens,
                                                              const std::function<bool()>& cancelled);

// All rows, of so many tokens each and with so many virtual ones in front, cut into batches that one slice without
// gradients takes.
std::vector<MicroBatch> EvaluationBatches(std::vector<int64_t> lengths, bool cpu, int64_t virtual_tokens = 0);

}  // namespace tenon::engine
