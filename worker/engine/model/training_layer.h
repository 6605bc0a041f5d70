// An encoder layer as training runs it on the CPU: fused functions in fp32, whatever the weights' precision.
// Engine-internal, torch inside.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

#include "worker/engine/model/activation.h"
#include "worker/engine/model/encoder.h"
#include "worker/engine/model/frozen_layer.h"
#include "worker/engine/model/packed_batch.h"

namespace tenon::engine {

// x [T, hidden] fp32 -> [T, hidden] fp32, or [R, hidden] with Lines::kRows; `hooks.fused` must be set.
at::Tensor TrainingLayer(const FrozenLayer& layer, const at::Tensor& x, const PackedBatch& batch, int64_t heads,
                         Activation activation, const ForwardHooks& hooks, Lines lines);

}  // namespace tenon::engine
