// One encoder batch whose rows may each have another adapter, or none. Free of torch.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "worker/engine/adapter/adapter.h"
#include "worker/engine/base.h"

namespace tenon::engine {

enum class Output {
  kLogits,         // [labels]
  kProbabilities,  // [labels], softmax, or sigmoid for a multi-label head; of a regression the logits
  kEmbedding,      // [hidden]
  kTokenLogits,  // [tokens, labels], one row behind the other: of a head on every token, an adapter's virtual ones not
                 // counted
};

struct InferRow {
  // With special tokens, not empty; an adapter's virtual tokens come on top, and all need a position.
  const std::vector<int32_t>* ids = nullptr;
  int64_t second_type = kNoPlace;          // as Encoding's
  const DeviceAdapter* adapter = nullptr;  // nullptr: the base alone
  Output output = Output::kEmbedding;
  formats::Pooling pooling = formats::Pooling::kMean;  // for kEmbedding
  bool normalize = false;                              // for kEmbedding
};

// Result of each row, in order. A row's numbers do not depend on its neighbours beyond 1e-5 (fp32). Where the model
// overflows they are not finite, of probabilities and logits alike: look before you believe them.
// NO_CLASSIFIER when a row asks for what a head gives, and the model has none of that kind.
absl::StatusOr<std::vector<std::vector<float>>> Infer(const Base& base, absl::Span<const InferRow> rows);

// Runs a few batches so that kernels are chosen and caches are warm before the first request.
absl::Status WarmUp(const Base& base);

}  // namespace tenon::engine
