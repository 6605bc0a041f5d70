// Sources read by a model's encoder when they join a batch, each with its own adapter. Engine-internal, torch inside.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "absl/types/span.h"
#include "worker/engine/generate/decoder.h"
#include "worker/engine/model/decode/encoder_decoder.h"

namespace tenon::engine {

// A source's tokens, its adapter's virtual ones among them.
int64_t SourceTokens(const DecoderSource& source);

// What decoding reads of each source, its adapter's virtual tokens in front, in order. A source's numbers do not depend
// on its neighbours beyond rounding.
std::vector<std::shared_ptr<const SourceStates>> EncodeSources(const EncoderDecoder& model,
                                                               absl::Span<const DecoderSource> sources);

}  // namespace tenon::engine
