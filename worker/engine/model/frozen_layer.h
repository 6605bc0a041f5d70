// The weights of one encoder layer. Engine-internal, torch inside.
#pragma once

#include "common/formats/encoder_family.h"
#include "worker/engine/model/fused.h"
#include "worker/engine/model/linear.h"

namespace tenon::engine {

struct FrozenLayer {
  formats::LayerNames names;  // in full, made once
  Linear qkv;                 // query, key and value in one product: [hidden] -> [3 * hidden]
  Linear attention_output, intermediate, output;
  FrozenNorm attention_norm, output_norm;
  FrozenNorm wide_attention_norm, wide_output_norm;  // in fp32, where inference by rows reads them
  bool drops_attention_output = true;                // as formats::EncoderFamily
};

}  // namespace tenon::engine
