#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "worker/engine/kernels/activation.h"
#include "worker/engine/kernels/attention.h"
#include "worker/engine/kernels/dropout.h"
#include "worker/engine/kernels/residual_norm.h"
#include "worker/engine/kernels/residual_rms.h"
#include "worker/engine/kernels/token_loss.h"

namespace tenon::engine::kernels {
namespace {

std::vector<float> Masked(const DropoutMask& mask, int64_t rows, int64_t columns) {
  std::vector<float> values(static_cast<size_t>(rows * columns), 1);
  ApplyDropout(mask, values.data(), values.data(), columns, 0, rows);
  return values;
}

TEST(DropoutTest, DropsItsShareAndKeepsTheMean) {
  for (const double p : {0.1, 0.5, 0.9}) {
    const std::vector<float> values = Masked(DropoutMask(42, p), 1000, 384);
    double sum = 0, dropped = 0;
    for (const float value : values) {
      sum += value;
      dropped += value == 0 ? 1 : 0;
    }
    const auto count = static_cast<double>(values.size());
    const double deviation = std::sqrt(p * (1 - p) / count);
    EXPECT_NEAR(dropped / count, p, 5 * deviation);
    EXPECT_NEAR(sum / count, 1, 5 * deviation / (1 - p));
  }
}

TEST(DropoutTest, NeighboursAndKeysAreIndependent) {
  const std::vector<float> one = Masked(DropoutMask(1, 0.5), 400, 64), other = Masked(DropoutMask(2, 0.5), 400, 64);
  double same_key = 0, neighbour = 0, line = 0;
  for (size_t i = 64; i < one.size(); ++i) {
    same_key += (one[i] > 0) == (other[i] > 0);
    neighbour += (one[i] > 0) == (one[i - 1] > 0);
    line += (one[i] > 0) == (one[i - 64] > 0);
  }
  const auto count = static_cast<double>(one.size() - 64);
  for (const double agree : {same_key, neighbour, line}) EXPECT_NEAR(agree / count, 0.5, 5 * 0.5 / std::sqrt(count));
}

TEST(DropoutTest, PartsMakeWhatTheWholeMakes) {
  const DropoutMask mask(7, 0.3);
  const std::vector<float> whole = Masked(mask, 10, 45);
  std::vector<float> parts(450, 1);
  for (const auto& [begin, end] : {std::pair(6, 10), std::pair(0, 1), std::pair(1, 6)}) {
    ApplyDropout(mask, parts.data(), parts.data(), 45, begin, end);
  }
  EXPECT_EQ(whole, parts);
}

TEST(DropoutTest, TheEndsOfTheRange) {
  EXPECT_FALSE(DropoutMask(1, 0).active());
  for (const float value : Masked(DropoutMask(1, 1), 4, 40)) EXPECT_EQ(value, 0);
}

TEST(ActivationTest, GeluIsWithinAMillionthOfTheExactOne) {
  std::vector<float> x, y;
  for (float value = -12; value <= 12; value += 0.01F) x.push_back(value);
  y.resize(x.size());
  const auto columns = static_cast<int64_t>(x.size());
  RunBiasActivation(Curve::kGelu, x.data(), nullptr, y.data(), columns, 0, 1);
  for (size_t i = 0; i < x.size(); ++i) {
    EXPECT_NEAR(y[i], 0.5 * x[i] * (1 + std::erf(x[i] / std::sqrt(2.0))), 1e-6 * (1 + std::abs(x[i]))) << x[i];
  }
}

TEST(ActivationTest, SlopesAreThoseOfTheCurves) {
  for (const Curve curve : {Curve::kGelu, Curve::kGeluTanh, Curve::kRelu}) {
    for (const float at : {-9.0F, -2.5F, -0.7F, 0.3F, 1.1F, 6.0F}) {
      const float bias = 0.25F, step = 1e-2F;
      const std::vector<float> x = {at - step, at + step, at};
      const std::vector<float> biases(3, bias), ones(3, 1);
      std::vector<float> y(3), slope(3);
      RunBiasActivation(curve, x.data(), biases.data(), y.data(), 3, 0, 1);
      RunBiasActivationGradient(curve, x.data(), biases.data(), ones.data(), slope.data(), 3, 0, 1);
      EXPECT_NEAR(slope[2], (y[1] - y[0]) / (2 * step), 1e-3) << static_cast<int>(curve) << " at " << at;
    }
  }
}

TEST(ActivationTest, WhatIsNotANumberStaysSoForwardAndBackward) {
  for (const Curve curve : {Curve::kGelu, Curve::kGeluTanh, Curve::kRelu}) {
    const std::vector<float> x = {NAN, 1.5F}, grads = {1, NAN};
    std::vector<float> y(2), slope(2);
    RunBiasActivation(curve, x.data(), nullptr, y.data(), 2, 0, 1);
    RunBiasActivationGradient(curve, x.data(), nullptr, grads.data(), slope.data(), 2, 0, 1);
    EXPECT_TRUE(std::isnan(y[0])) << static_cast<int>(curve);
    EXPECT_GT(y[1], 1) << static_cast<int>(curve);
    // The gradient of torch's ReLU at NaN is what comes in; the others' is NaN.
    EXPECT_TRUE(curve == Curve::kRelu ? slope[0] == 1 : std::isnan(slope[0])) << static_cast<int>(curve);
    EXPECT_TRUE(std::isnan(slope[1])) << static_cast<int>(curve);
  }
}

TEST(ResidualNormTest, AnOverflowIsNotANumberInsteadOfZero) {
  const std::vector<float> x = {1e30F, -1e30F, 1, 2}, zeros(4, 0), ones(4, 1);
  std::vector<float> y(4), normalized(4), inverse_deviation(1);
  ResidualNorm norm;
  norm.columns = 4;
  norm.x = x.data();
  norm.residual = zeros.data();
  norm.weight = ones.data();
  norm.shift = zeros.data();
  norm.y = y.data();
  norm.normalized = normalized.data();
  norm.inverse_deviation = inverse_deviation.data();
  RunResidualNorm(norm, 0, 1);
  for (const float value : y) EXPECT_TRUE(std::isnan(value));
}

// One query, one key: the context is the value, whatever the scores are.
TEST(AttentionTest, ARowOfOneTokenIsItsValue) {
  const std::vector<int64_t> offsets = {0, 1};
  const std::vector<float> q(8, 30), k(8, -40), v = {1, 2, 3, 4, 5, 6, 7, 8};
  std::vector<float> context(8), log_sum(2);
  Attention attention;
  attention.rows = 1;
  attention.heads = 2;
  attention.head_size = 4;
  attention.offsets = offsets.data();
  attention.longest = 1;
  attention.q = q.data();
  attention.k = k.data();
  attention.v = v.data();
  attention.stride = attention.key_stride = 8;
  RunAttention(attention, context.data(), log_sum.data(), 0, AttentionPieces(attention));
  EXPECT_EQ(context, v);
  EXPECT_FLOAT_EQ(log_sum[0], 4 * 30 * -40);
}

// A causal row's first token sees itself alone, and distances change nothing for it.
TEST(AttentionTest, TheFirstTokenOfACausalRowIsItsValue) {
  constexpr int64_t kLength = 3;
  const std::vector<int64_t> offsets = {0, kLength};
  std::vector<float> qkv(kLength * 12), distances(2 * kLength + kSpareDistances, 5), context(kLength * 4), log_sum(3);
  for (size_t i = 0; i < qkv.size(); ++i) qkv[i] = static_cast<float>(i % 7) - 3;
  Attention attention;
  attention.rows = attention.heads = 1;
  attention.head_size = 4;
  attention.offsets = offsets.data();
  attention.longest = kLength;
  attention.q = qkv.data();
  attention.k = qkv.data() + 4;
  attention.v = qkv.data() + 8;
  attention.stride = attention.key_stride = 12;
  attention.distances = distances.data() + kLength;
  attention.distance_stride = static_cast<int64_t>(distances.size());
  attention.causal = true;
  RunAttention(attention, context.data(), log_sum.data(), 0, 1);
  for (size_t i = 0; i < 4; ++i) EXPECT_FLOAT_EQ(context[i], qkv[8 + i]);
  // Its score is its log of the sum.
  EXPECT_NEAR(log_sum[0], qkv[0] * qkv[4] + qkv[1] * qkv[5] + qkv[2] * qkv[6] + qkv[3] * qkv[7] + 5, 1e-5);
}

TEST(ResidualRmsTest, WithoutASumItReadsTheResidual) {
  const std::vector<float> residual = {3, -4, 0, 0}, weight = {1, 2, 3, 4};
  std::vector<float> y(4), inverse(1);
  ResidualRms norm;
  norm.columns = 4;
  norm.residual = residual.data();
  norm.weight = weight.data();
  norm.y = y.data();
  norm.inverse = inverse.data();
  RunResidualRms(norm, 0, 1);
  EXPECT_FLOAT_EQ(inverse[0], 0.4F);  // the mean of squares is 25 / 4
  EXPECT_EQ(y, (std::vector<float>{1.2F, -3.2F, 0, 0}));
}

TEST(TokenLossTest, TheGradientSumsToNothing) {
  std::vector<float> logits = {1, 2, 3, 0.5F, -1, 0, 4, 4, 4, 4, 4, 4};
  const std::vector<int64_t> targets = {2, 0};
  float loss[2];
  bool right[2];
  TokenLoss tokens{.columns = 6, .targets = targets.data(), .logits = logits.data(), .loss = loss, .right = right};
  tokens.gradient = true;
  RunTokenLoss(tokens, 0, 2);
  EXPECT_TRUE(right[0]);
  EXPECT_TRUE(right[1]);  // as likely as the others
  EXPECT_NEAR(loss[1], std::log(6.0), 1e-5);
  for (size_t row = 0; row < 2; ++row) {
    float sum = 0;
    for (size_t c = 0; c < 6; ++c) sum += logits[row * 6 + c];
    EXPECT_NEAR(sum, 0, 1e-6);
  }
  EXPECT_NEAR(logits[6], 1.0 / 6 - 1, 1e-6);
}

}  // namespace
}  // namespace tenon::engine::kernels
