// A decoder-only model as generation's Decoder. Engine-internal, torch inside.
#pragma once

#include <memory>

#include "worker/engine/generate/decoder.h"
#include "worker/engine/model/causal/model.h"

namespace tenon::engine {

// An empty batch of lines over these weights. A source is the part of a prompt before the token of a line's first
// step; it may be empty. Join() reads all of them in one pass behind their adapters' virtual tokens, and refuses ids
// that the vocabulary lacks, and tokens for which there is no position (FIELD_INVALID).
std::unique_ptr<Decoder> NewCausalDecoder(std::shared_ptr<const CausalModel> model);

}  // namespace tenon::engine
