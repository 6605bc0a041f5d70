// Residual and layer norm in one pass, on the CPU (Ba et al., 2016). Free of torch and of threads.
#pragma once

#include <cstdint>

namespace tenon::engine {

// x <- norm(x + residual) * weight + bias for `lines` lines of `size` floats, one behind the other; `residual` may be
// nullptr. `size` is a multiple of 16. A line's result depends on that line alone.
void AddNorm(float* x, const float* residual, const float* weight, const float* bias, float eps, int64_t lines,
             int64_t size);
// The same into `out`: x <- x + residual stays, as a norm before a sub-layer has it.
void AddNorm(float* x, const float* residual, const float* weight, const float* bias, float eps, int64_t lines,
             int64_t size, float* out);

}  // namespace tenon::engine
