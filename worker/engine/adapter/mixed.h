// Many adapters over one batch: what each adds to a linear layer's output, or puts in front of a row, on its own rows.
// Engine-internal, torch inside.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "worker/engine/adapter/low_rank.h"
#include "worker/engine/adapter/tensors.h"
#include "worker/engine/model/encoder.h"

namespace tenon::engine {

// Neighbouring rows of a batch with the same adapter; segments stand in the order of their rows. In a decoder's batch
// rows are lines of one token each, and the tokens here stay 0.
struct AdapterSegment {
  const AdapterTensors* adapter = nullptr;  // nullptr: the base alone
  int64_t first_row = 0, rows = 0;
  int64_t first_token = 0, tokens = 0;
};

// The base's product is computed once for the whole batch; this adds every segment's part to its rows in place.
// Segments may differ in rank, in target modules and in having an adapter at all. For inference: the tensors carry no
// gradient, LoRA's scale is 1.
class MixedAdapters {
 public:
  explicit MixedAdapters(std::vector<AdapterSegment> segments);

  // Whether any segment's adapter has a part in some layer of the encoder or pooler.
  bool any() const { return !modules_.empty(); }
  // Whether any segment's adapter has a part in this module.
  bool Has(const std::string& module) const { return modules_.count(module) > 0; }
  // Hooks of inference that call this one, which must outlive them.
  ForwardHooks Hooks() const;

  // A BlockHook.
  at::Tensor AddBlocks(const std::string& module, const at::Tensor& h, const at::Tensor& residual,
                       const FrozenNorm& norm, Lines lines) const;

  // A PromptHook: every segment's virtual tokens in front of each of its rows, in the memory of `words`.
  at::Tensor PutPrompts(const at::Tensor& words, const PackedBatch& batch) const;
  // A LinearHook.
  at::Tensor operator()(const std::string& module, const at::Tensor& x, const at::Tensor& y, Lines lines) const;

 private:
  // Whether any segment's adapter has virtual tokens.
  bool prompts() const;
  // What one segment adds to one module: one of the two.
  struct Part {
    AdapterSegment segment;
    const LoraPair* pair = nullptr;
    const SavedModule* saved = nullptr;
    LowRankFactors factors;  // of `pair`, where our own kernel can take it; else `down` is nullptr
  };
  static LowRankFactors FactorsOf(const LoraPair& pair);

  std::map<std::string, std::vector<Part>> modules_;
  std::vector<AdapterSegment> segments_;
  std::set<std::string> blocks_;
};

}  // namespace tenon::engine
