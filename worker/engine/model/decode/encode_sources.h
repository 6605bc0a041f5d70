// Sources read by T5's encoder when they join a batch, each with its own adapter. Engine-internal, torch inside.
#pragma once

#include <memory>
#include <vector>

#include "absl/types/span.h"
#include "worker/engine/generate/decoder.h"
#include "worker/engine/model/t5/model.h"

namespace tenon::engine {

// What decoding reads of each source, its adapter's virtual tokens in front, in order. A source's numbers do not depend
// on its neighbours beyond rounding.
std::vector<std::shared_ptr<const SourceStates>> EncodeSources(const T5Model& model,
                                                               absl::Span<const DecoderSource> sources);

}  // namespace tenon::engine
