#include "worker/engine/model/panel_gemm.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <random>
#include <vector>

namespace tenon::engine {
namespace {

// The nearest bf16 number, halves to the even one.
float Bf16(float x) {
  uint32_t bits = 0;
  std::memcpy(&bits, &x, sizeof(bits));
  bits = (bits + 0x7FFF + (bits >> 16 & 1)) & 0xFFFF0000u;
  std::memcpy(&x, &bits, sizeof(bits));
  return x;
}

class PanelGemmTest : public ::testing::TestWithParam<PanelFormat> {
 protected:
  std::vector<float> Random(int64_t count) {
    std::vector<float> values(static_cast<size_t>(count));
    for (float& value : values) value = normal_(random_);
    return values;
  }
  // What the format makes of a number.
  static float Kept(float x) { return GetParam() == PanelFormat::kBf16 ? Bf16(x) : x; }
  // y for the panels [first, last), by way of rounded lines where the format wants them.
  static void Multiply(const PanelWeight& weight, const float* x, int64_t lines, Activation activation, int64_t first,
                       int64_t last, float* y, int64_t y_stride) {
    if (weight.format() == PanelFormat::kFp32) {
      return weight.Multiply(x, weight.in(), lines, activation, first, last, y, y_stride);
    }
    std::vector<uint16_t> rounded(static_cast<size_t>(lines * weight.line_size() + 1), 7);
    weight.Round(x, weight.in(), lines, rounded.data());
    EXPECT_EQ(rounded.back(), 7) << "wrote behind the last line";
    weight.Multiply(rounded.data(), weight.line_size(), lines, activation, first, last, y, y_stride);
  }
  std::mt19937 random_{3};
  std::normal_distribution<float> normal_{0, 1};
};
// Those that this processor multiplies.
std::vector<PanelFormat> Formats() {
  std::vector<PanelFormat> formats;
  for (const PanelFormat format : {PanelFormat::kFp32, PanelFormat::kBf16}) {
    if (PanelWeight::Supported(format)) formats.push_back(format);
  }
  return formats;
}
INSTANTIATE_TEST_SUITE_P(Formats, PanelGemmTest, ::testing::ValuesIn(Formats()),
                         [](const auto& param) { return param.param == PanelFormat::kBf16 ? "Bf16" : "Fp32"; });

double Activated(double x, Activation activation) {
  switch (activation) {
    case Activation::kNone:
      return x;
    case Activation::kRelu:
      return std::max(x, 0.0);
    case Activation::kGelu:
      return x * 0.5 * (1 + std::erf(x / std::sqrt(2.0)));
    case Activation::kGeluTanh:
      return x * 0.5 * (1 + std::tanh(std::sqrt(2 / M_PI) * (x + 0.044715 * x * x * x)));
  }
  return 0;
}

TEST_P(PanelGemmTest, EqualsTheDefinitionForAnyNumberOfLinesAndOutputs) {
  for (const int64_t out : {1, 31, 32, 33, 96}) {
    const int64_t in = out == 33 ? 51 : 50, most = 29;
    const std::vector<float> x = Random(most * in), w = Random(out * in), b = Random(out);
    const PanelWeight weight(w.data(), b.data(), out, in, GetParam());
    for (const int64_t lines : {1, 3, 4, 11, 12, 13, 29}) {
      std::vector<float> y(static_cast<size_t>(lines * out + 1), 1e9f);
      Multiply(weight, x.data(), lines, Activation::kNone, 0, weight.panels(), y.data(), out);
      for (int64_t t = 0; t < lines; ++t) {
        for (int64_t o = 0; o < out; ++o) {
          double expected = b[o];
          for (int64_t k = 0; k < in; ++k) expected += static_cast<double>(Kept(x[t * in + k])) * Kept(w[o * in + k]);
          ASSERT_NEAR(y[t * out + o], expected, 1e-4) << lines << " lines, " << out << " outputs";
        }
      }
      EXPECT_EQ(y.back(), 1e9f) << "wrote behind the last output";
    }
  }
}

TEST_P(PanelGemmTest, SomePanelsAloneAreThoseOfTheWhole) {
  const int64_t in = 40, out = 90, lines = 5;
  const std::vector<float> x = Random(lines * in), w = Random(out * in), b = Random(out);
  const PanelWeight weight(w.data(), b.data(), out, in, GetParam());
  std::vector<float> whole(static_cast<size_t>(lines * out)), part(static_cast<size_t>(lines * 58 + 1), 1e9f);
  Multiply(weight, x.data(), lines, Activation::kNone, 0, 3, whole.data(), out);
  Multiply(weight, x.data(), lines, Activation::kNone, 1, 3, part.data(), 58);
  for (int64_t t = 0; t < lines; ++t) {
    for (int64_t o = 0; o < 58; ++o) EXPECT_EQ(part[t * 58 + o], whole[t * out + 32 + o]) << "line " << t;
  }
  EXPECT_EQ(part.back(), 1e9f) << "wrote behind the last output";
}

TEST_P(PanelGemmTest, AppliesTheActivation) {
  // Inputs pass through: the activation alone is seen, far out on both sides too.
  const float one = 1;
  const PanelWeight weight(&one, nullptr, 1, 1, GetParam());
  for (const Activation activation : {Activation::kNone, Activation::kRelu, Activation::kGelu, Activation::kGeluTanh}) {
    for (double x = -60; x <= 60; x += 0.37) {
      const auto in = static_cast<float>(x);
      float y = 0;
      Multiply(weight, &in, 1, activation, 0, 1, &y, 1);
      EXPECT_NEAR(y, Activated(Kept(in), activation), 1e-6 * std::max(1.0, std::abs(x)))
          << static_cast<int>(activation);
    }
  }
}

TEST_P(PanelGemmTest, WhatIsNotANumberStaysSo) {
  const float one = 1;
  const PanelWeight weight(&one, nullptr, 1, 1, GetParam());
  for (const Activation activation : {Activation::kNone, Activation::kRelu, Activation::kGelu, Activation::kGeluTanh}) {
    const float in[] = {NAN, 2, -NAN, INFINITY};
    float y[4] = {};
    Multiply(weight, in, 4, activation, 0, 1, y, 1);
    EXPECT_TRUE(std::isnan(y[0])) << static_cast<int>(activation);
    EXPECT_NEAR(y[1], Activated(2, activation), 1e-5) << static_cast<int>(activation);
    EXPECT_TRUE(std::isnan(y[2])) << static_cast<int>(activation);
    EXPECT_FALSE(std::isfinite(y[3])) << static_cast<int>(activation);
  }
}

TEST_P(PanelGemmTest, ALineDoesNotDependOnItsNeighbours) {
  const int64_t in = 384, out = 64, lines = 25;
  const std::vector<float> x = Random(lines * in), w = Random(out * in);
  const PanelWeight weight(w.data(), nullptr, out, in, GetParam());
  std::vector<float> together(static_cast<size_t>(lines * out)), alone(out);
  Multiply(weight, x.data(), lines, Activation::kGelu, 0, 2, together.data(), out);
  for (int64_t t = 0; t < lines; ++t) {
    Multiply(weight, x.data() + t * in, 1, Activation::kGelu, 0, 2, alone.data(), out);
    for (int64_t o = 0; o < out; ++o) ASSERT_EQ(alone[o], together[t * out + o]) << "line " << t << " output " << o;
  }
}

}  // namespace
}  // namespace tenon::engine
