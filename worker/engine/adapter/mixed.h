// Many adapters over one batch: what each adds to a linear layer's output, or puts in front of a row, on its own rows.
// Engine-internal, torch inside.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <set>
#include <string>
#include <vector>

#include "worker/engine/adapter/tensors.h"
#include "worker/engine/model/encoder.h"

namespace tenon::engine {

// Neighbouring rows of a batch with the same adapter.
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

  // Whether any segment's adapter has bottlenecks, and whether any has one behind this module.
  bool blocks() const { return !blocks_.empty(); }
  bool HasBlock(const std::string& module) const { return blocks_.count(module) > 0; }
  // A BlockHook.
  at::Tensor AddBlocks(const std::string& module, const at::Tensor& h, const at::Tensor& residual,
                       const FrozenNorm& norm, Lines lines) const;

  // Whether any segment's adapter has virtual tokens.
  bool prompts() const;

  // A PromptHook: every segment's virtual tokens in front of each of its rows, in the memory of `words`.
  at::Tensor PutPrompts(const at::Tensor& words, const PackedBatch& batch) const;
  // A LinearHook.
  at::Tensor operator()(const std::string& module, const at::Tensor& x, const at::Tensor& y, Lines lines) const;

 private:
  std::vector<AdapterSegment> segments_;
  std::set<std::string> modules_, blocks_;
};

}  // namespace tenon::engine
