#include "worker/engine/model/panel_gemm.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>
#include <vector>

namespace tenon::engine {
namespace {

class PanelGemmTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!PanelWeight::Supported()) GTEST_SKIP() << "this processor has no AVX-512";
  }
  std::vector<float> Random(int64_t count) {
    std::vector<float> values(static_cast<size_t>(count));
    for (float& value : values) value = normal_(random_);
    return values;
  }
  std::mt19937 random_{3};
  std::normal_distribution<float> normal_{0, 1};
};

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

TEST_F(PanelGemmTest, EqualsTheDefinitionForAnyNumberOfLinesAndOutputs) {
  for (const int64_t out : {1, 31, 32, 33, 96}) {
    const int64_t in = 50, most = 29;
    const std::vector<float> x = Random(most * in), w = Random(out * in), b = Random(out);
    const PanelWeight weight(w.data(), b.data(), out, in);
    for (const int64_t lines : {1, 3, 4, 11, 12, 13, 29}) {
      std::vector<float> y(static_cast<size_t>(lines * out + 1), 1e9f);
      weight.Multiply(x.data(), in, lines, Activation::kNone, 0, weight.panels(), y.data(), out);
      for (int64_t t = 0; t < lines; ++t) {
        for (int64_t o = 0; o < out; ++o) {
          double expected = b[o];
          for (int64_t k = 0; k < in; ++k) expected += static_cast<double>(x[t * in + k]) * w[o * in + k];
          ASSERT_NEAR(y[t * out + o], expected, 1e-4) << lines << " lines, " << out << " outputs";
        }
      }
      EXPECT_EQ(y.back(), 1e9f) << "wrote behind the last output";
    }
  }
}

TEST_F(PanelGemmTest, SomePanelsAloneAreThoseOfTheWhole) {
  const int64_t in = 40, out = 90, lines = 5;
  const std::vector<float> x = Random(lines * in), w = Random(out * in), b = Random(out);
  const PanelWeight weight(w.data(), b.data(), out, in);
  std::vector<float> whole(static_cast<size_t>(lines * out)), part(static_cast<size_t>(lines * 58 + 1), 1e9f);
  weight.Multiply(x.data(), in, lines, Activation::kNone, 0, 3, whole.data(), out);
  weight.Multiply(x.data(), in, lines, Activation::kNone, 1, 3, part.data(), 58);
  for (int64_t t = 0; t < lines; ++t) {
    for (int64_t o = 0; o < 58; ++o) EXPECT_EQ(part[t * 58 + o], whole[t * out + 32 + o]) << "line " << t;
  }
  EXPECT_EQ(part.back(), 1e9f) << "wrote behind the last output";
}

TEST_F(PanelGemmTest, AppliesTheActivation) {
  // Inputs pass through: the activation alone is seen, far out on both sides too.
  const float one = 1;
  const PanelWeight weight(&one, nullptr, 1, 1);
  for (const Activation activation : {Activation::kNone, Activation::kRelu, Activation::kGelu, Activation::kGeluTanh}) {
    for (double x = -60; x <= 60; x += 0.37) {
      const float in = static_cast<float>(x);
      float y = 0;
      weight.Multiply(&in, 1, 1, activation, 0, 1, &y, 1);
      EXPECT_NEAR(y, Activated(in, activation), 1e-6 * std::max(1.0, std::abs(x))) << static_cast<int>(activation);
    }
  }
}

TEST_F(PanelGemmTest, ALineDoesNotDependOnItsNeighbours) {
  const int64_t in = 384, out = 64, lines = 25;
  const std::vector<float> x = Random(lines * in), w = Random(out * in);
  const PanelWeight weight(w.data(), nullptr, out, in);
  std::vector<float> together(static_cast<size_t>(lines * out)), alone(out);
  weight.Multiply(x.data(), in, lines, Activation::kGelu, 0, 2, together.data(), out);
  for (int64_t t = 0; t < lines; ++t) {
    weight.Multiply(x.data() + t * in, in, 1, Activation::kGelu, 0, 2, alone.data(), out);
    for (int64_t o = 0; o < out; ++o) ASSERT_EQ(alone[o], together[t * out + o]) << "line " << t << " output " << o;
  }
}

}  // namespace
}  // namespace tenon::engine
