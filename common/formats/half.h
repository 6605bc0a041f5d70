// Floats of 16 bits as files have them: IEEE 754's half precision, and bfloat16.
#pragma once

#include <cstdint>

#include "common/formats/safetensors.h"

namespace tenon::formats {

// Whether ToFloats reads it: F32, F16 and BF16.
bool IsFloat(DType dtype);

// `count` numbers at `data`, at any alignment, exactly.
void ToFloats(DType dtype, const uint8_t* data, int64_t count, float* floats);

// The other way, rounded to the nearest, and to even between two. What is too large becomes infinite.
void FromFloats(const float* floats, int64_t count, DType dtype, uint8_t* data);

}  // namespace tenon::formats
