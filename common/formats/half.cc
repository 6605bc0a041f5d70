#include "common/formats/half.h"

#include <bit>
#include <cstring>

namespace tenon::formats {
namespace {

float FromHalf(uint16_t half) {
  constexpr uint32_t kExponent = 0x7c00u << 13;
  uint32_t bits = (half & 0x7fffu) << 13;
  const uint32_t exponent = bits & kExponent;
  bits += (127u - 15u) << 23;
  if (exponent == kExponent) {
    bits += (128u - 16u) << 23;  // infinite, or not a number
  } else if (exponent == 0) {
    bits = std::bit_cast<uint32_t>(std::bit_cast<float>(bits + (1u << 23)) - std::bit_cast<float>(113u << 23));
  }
  return std::bit_cast<float>(bits | (half & 0x8000u) << 16);
}

uint16_t ToHalf(float value) {
  uint32_t bits = std::bit_cast<uint32_t>(value);
  const auto sign = static_cast<uint16_t>(bits >> 16 & 0x8000u);
  bits &= 0x7fffffffu;
  if (bits > 0x7f800000u) return sign | 0x7e00u;
  if (bits >= (127u + 16u) << 23) return sign | 0x7c00u;
  if (bits < (127u - 14u) << 23) {
    // Subnormal: at this exponent the sum's last bits are the half's, and the addition rounds.
    const float sum = std::bit_cast<float>(bits) + 0.5f;
    return static_cast<uint16_t>(sign | (std::bit_cast<uint32_t>(sum) - std::bit_cast<uint32_t>(0.5f)));
  }
  const uint32_t odd = bits >> 13 & 1u;
  return static_cast<uint16_t>(sign | (bits - ((127u - 15u) << 23) + 0xfffu + odd) >> 13);
}

uint16_t ToBrain(float value) {
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  if ((bits & 0x7fffffffu) > 0x7f800000u) return static_cast<uint16_t>(bits >> 16 | 0x40u);
  return static_cast<uint16_t>((bits + 0x7fffu + (bits >> 16 & 1u)) >> 16);
}

}  // namespace

bool IsFloat(DType dtype) { return dtype == DType::kF32 || dtype == DType::kF16 || dtype == DType::kBF16; }

void ToFloats(DType dtype, const uint8_t* data, int64_t count, float* floats) {
  if (dtype == DType::kF32) {
    std::memcpy(floats, data, static_cast<size_t>(count) * sizeof(float));
    return;
  }
  for (int64_t i = 0; i < count; ++i) {
    const auto bits = static_cast<uint16_t>(data[2 * i] | data[2 * i + 1] << 8);
    floats[i] = dtype == DType::kF16 ? FromHalf(bits) : std::bit_cast<float>(static_cast<uint32_t>(bits) << 16);
  }
}

void FromFloats(const float* floats, int64_t count, DType dtype, uint8_t* data) {
  if (dtype == DType::kF32) {
    std::memcpy(data, floats, static_cast<size_t>(count) * sizeof(float));
    return;
  }
  for (int64_t i = 0; i < count; ++i) {
    const uint16_t bits = dtype == DType::kF16 ? ToHalf(floats[i]) : ToBrain(floats[i]);
    data[2 * i] = static_cast<uint8_t>(bits);
    data[2 * i + 1] = static_cast<uint8_t>(bits >> 8);
  }
}

}  // namespace tenon::formats
