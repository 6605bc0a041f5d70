// Rows of a base that writes, as token ids. Free of torch.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "worker/engine/text/tokenizer.h"
#include "worker/engine/train/trainer.h"

namespace tenon::engine {

struct TokenPairs {
  // With `</s>` at their ends, also where they were cut.
  std::vector<std::vector<int32_t>> sources, targets;

  int64_t size() const { return static_cast<int64_t>(sources.size()); }
  // Tokens of each row, source and target together.
  std::vector<int64_t> lengths() const;
};

struct PairData {
  TokenPairs train, validation;
};

// Tokenizes every row. DATASET_INVALID names a row without tokens in its input or its target. CANCELLED once
// `cancelled` says so.
absl::StatusOr<std::shared_ptr<const PairData>> TokenizePairs(const TrainData& data, const Tokenizer& tokenizer,
                                                              int64_t max_input_tokens, int64_t max_target_tokens,
                                                              const std::function<bool()>& cancelled);

}  // namespace tenon::engine
