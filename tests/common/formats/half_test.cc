#include "common/formats/half.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <vector>

namespace tenon::formats {
namespace {

uint16_t Stored(float value, DType dtype) {
  uint8_t bytes[2] = {};
  FromFloats(&value, 1, dtype, bytes);
  return static_cast<uint16_t>(bytes[0] | bytes[1] << 8);
}

float Read(uint16_t bits, DType dtype) {
  const uint8_t bytes[2] = {static_cast<uint8_t>(bits), static_cast<uint8_t>(bits >> 8)};
  float value = 0;
  ToFloats(dtype, bytes, 1, &value);
  return value;
}

// What the bits say, by the formats' own definitions.
double Meaning(uint16_t bits, int exponent_bits) {
  const int fraction_bits = 15 - exponent_bits, bias = (1 << (exponent_bits - 1)) - 1;
  const int exponent = bits >> fraction_bits & ((1 << exponent_bits) - 1);
  const double fraction = (bits & ((1 << fraction_bits) - 1)) / std::ldexp(1.0, fraction_bits);
  const double size = exponent == 0 ? std::ldexp(fraction, 1 - bias) : std::ldexp(1 + fraction, exponent - bias);
  return bits >> 15 != 0 ? -size : size;
}

TEST(Half, EveryNumberIsReadExactlyAndComesBack) {
  for (const auto& [dtype, exponent_bits] : {std::pair(DType::kF16, 5), std::pair(DType::kBF16, 8)}) {
    for (int bits = 0; bits < 1 << 16; ++bits) {
      const auto word = static_cast<uint16_t>(bits);
      const int exponent = word >> (15 - exponent_bits) & ((1 << exponent_bits) - 1);
      const float value = Read(word, dtype);
      if (exponent == (1 << exponent_bits) - 1) {
        const bool infinite = (word & ((1 << (15 - exponent_bits)) - 1)) == 0;
        ASSERT_TRUE(infinite ? std::isinf(value) : std::isnan(value)) << bits;
        if (!infinite) {
          ASSERT_TRUE(std::isnan(Read(Stored(value, dtype), dtype))) << bits;
          continue;
        }
      } else {
        ASSERT_EQ(static_cast<double>(value), Meaning(word, exponent_bits)) << bits;
      }
      ASSERT_EQ(Stored(value, dtype), word) << DTypeName(dtype) << " " << bits;
    }
  }
}

TEST(Half, BetweenTwoNumbersTheNearerWinsAndEvenATie) {
  for (const auto& [dtype, infinity] : {std::pair(DType::kF16, 0x7c00), std::pair(DType::kBF16, 0x7f80)}) {
    for (int bits = 0; bits < infinity - 1; ++bits) {
      const float low = Read(static_cast<uint16_t>(bits), dtype), high = Read(static_cast<uint16_t>(bits + 1), dtype);
      const auto middle = static_cast<float>((static_cast<double>(low) + static_cast<double>(high)) / 2);
      ASSERT_EQ(Stored(middle, dtype), bits % 2 == 0 ? bits : bits + 1) << DTypeName(dtype) << " " << bits;
      ASSERT_EQ(Stored(std::nextafter(middle, 0.0f), dtype), bits) << DTypeName(dtype) << " " << bits;
      ASSERT_EQ(Stored(std::nextafter(middle, high), dtype), bits + 1) << DTypeName(dtype) << " " << bits;
      ASSERT_EQ(Stored(-middle, dtype), (bits % 2 == 0 ? bits : bits + 1) | 0x8000) << DTypeName(dtype) << " " << bits;
    }
  }
}

TEST(Half, WhatIsTooLargeBecomesInfinite) {
  EXPECT_EQ(Stored(65504.0f, DType::kF16), 0x7bff);
  EXPECT_EQ(Stored(65519.0f, DType::kF16), 0x7bff);
  EXPECT_EQ(Stored(65520.0f, DType::kF16), 0x7c00);
  EXPECT_EQ(Stored(-1e30f, DType::kF16), 0xfc00);
  EXPECT_EQ(Stored(std::numeric_limits<float>::max(), DType::kBF16), 0x7f80);
}

TEST(Half, ThreeTypesAreFloats) {
  for (const DType dtype : {DType::kF32, DType::kF16, DType::kBF16}) EXPECT_TRUE(IsFloat(dtype));
  for (const DType dtype : {DType::kF64, DType::kI64, DType::kU8, DType::kBool}) EXPECT_FALSE(IsFloat(dtype));
}

}  // namespace
}  // namespace tenon::formats
