// An encoder-decoder as generation's Decoder. Engine-internal, torch inside.
#pragma once

#include <memory>

#include "worker/engine/generate/decoder.h"
#include "worker/engine/model/decode/encoder_decoder.h"

namespace tenon::engine {

// An empty batch of lines over these weights. Join() refuses a source without tokens, with ids that the vocabulary
// lacks, or, its adapter's virtual tokens counted, with more tokens than the model has positions (TEXT_EMPTY,
// FIELD_INVALID).
std::unique_ptr<Decoder> NewSourceDecoder(std::shared_ptr<const EncoderDecoder> model);

}  // namespace tenon::engine
