// T5 as generation's Decoder. Engine-internal, torch inside.
#pragma once

#include <memory>

#include "worker/engine/generate/decoder.h"
#include "worker/engine/model/t5/model.h"

namespace tenon::engine {

// An empty batch of lines over these weights. Join() refuses a source without tokens or with ids that the vocabulary
// lacks (TEXT_EMPTY, FIELD_INVALID).
std::unique_ptr<Decoder> NewT5Decoder(std::shared_ptr<const T5Model> model);

}  // namespace tenon::engine
