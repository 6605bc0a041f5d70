// Tensors of one adapter. Engine-internal, torch inside.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <map>
#include <string>

#include "common/formats/adapter_config.h"

namespace tenon::engine {

// y = base(x) + scale * B(A(x)), Hu et al. 2021. fp32.
struct LoraPair {
  at::Tensor a;  // [r, in]
  at::Tensor b;  // [out, r]
  double scale = 1;
};

// A whole module that replaces the base's (PEFT's modules_to_save): the classification head above all.
struct SavedModule {
  at::Tensor weight;  // [out, in]
  at::Tensor bias;    // [out]; undefined when it has none
};

struct AdapterTensors {
  formats::TenonConfig config;
  formats::LoraConfig lora;  // of method `lora`
  // Keys are module names without task prefix: `encoder.layer.0.attention.self.query`.
  std::map<std::string, LoraPair> pairs;
  // `classifier`, `pooler.dense`, ...
  std::map<std::string, SavedModule> modules;

  int64_t Bytes() const;
  int64_t Parameters() const;
};

}  // namespace tenon::engine
