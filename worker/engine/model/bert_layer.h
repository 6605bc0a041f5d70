// The weights of one BERT layer. Engine-internal, torch inside.
#pragma once

#include <string>

#include "absl/strings/str_cat.h"
#include "worker/engine/model/fused.h"
#include "worker/engine/model/linear.h"

namespace tenon::engine {

// Names of a layer's modules, made once.
struct LayerNames {
  std::string query, key, value, attention_output, intermediate, output;
  explicit LayerNames(int64_t layer) {
    const std::string prefix = absl::StrCat("encoder.layer.", layer, ".");
    query = prefix + "attention.self.query";
    key = prefix + "attention.self.key";
    value = prefix + "attention.self.value";
    attention_output = prefix + "attention.output.dense";
    intermediate = prefix + "intermediate.dense";
    output = prefix + "output.dense";
  }
};

struct BertLayer {
  LayerNames names;
  Linear qkv;  // query, key and value in one product: [hidden] -> [3 * hidden]
  Linear attention_output, intermediate, output;
  FrozenNorm attention_norm, output_norm;
  FrozenNorm wide_attention_norm, wide_output_norm;  // in fp32, where inference by rows reads them
};

}  // namespace tenon::engine
