#include "worker/engine/train/loss.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/tensor.h>
#include <gtest/gtest.h>

#include <cmath>

namespace tenon::engine {
namespace {

at::Tensor Logits() { return at::tensor({1.0f, 2.0f, 0.5f, -1.0f, 0.0f, 3.0f}).view({2, 3}); }

TEST(LossTest, CrossEntropyIsSummed) {
  const double first = -std::log(std::exp(2.0) / (std::exp(1.0) + std::exp(2.0) + std::exp(0.5)));
  const double second = -std::log(std::exp(-1.0) / (std::exp(-1.0) + 1 + std::exp(3.0)));
  EXPECT_NEAR(SumLoss(Logits(), {.labels = {{1}, {0}}}).item<double>(), first + second, 1e-5);
}

TEST(LossTest, MultiLabelIsSummedOverRowsAndMeanOverLabels) {
  double sum = 0;
  const double logits[] = {1, 2, 0.5, -1, 0, 3};
  const bool truth[] = {true, false, true, false, false, false};
  for (int i = 0; i < 6; ++i) sum += std::log1p(std::exp(truth[i] ? -logits[i] : logits[i]));
  EXPECT_NEAR(SumLoss(Logits(), {Problem::kMultiLabel, {{0, 2}, {}}, {}}).item<double>(), sum / 3, 1e-5);
}

TEST(LossTest, SquaresAreSummedOverRowsAndMeanOverOutputs) {
  const Targets targets{Problem::kRegression, {}, {{0, 2, 1}, {-1, 2, 3}}};
  EXPECT_NEAR(SumLoss(Logits(), targets).item<double>(), (1 + 0 + 0.25 + 0 + 4 + 0) / 3, 1e-5);
  EXPECT_EQ(Predictions(Logits(), Problem::kRegression)[0][1].item<float>(), 2) << "numbers are as they are";
}

// The written gradient against differences of the loss itself.
TEST(LossTest, GradientIsThatOfTheMean) {
  const Targets single{.labels = {{1}, {0}}}, multi{Problem::kMultiLabel, {{0, 2}, {}}, {}};
  const Targets numbers{Problem::kRegression, {}, {{1, -2, 0.5f}, {0, 0, 7}}};
  for (const Targets& targets : {single, multi, numbers}) {
    const at::Tensor gradient = MeanLossGradient(Logits(), targets);
    for (int64_t i = 0; i < 6; ++i) {
      at::Tensor up = Logits().to(at::kDouble), down = Logits().to(at::kDouble);
      up.view(-1)[i] += 1e-4;
      down.view(-1)[i] -= 1e-4;
      const auto loss = [&](const at::Tensor& logits) {
        return SumLoss(logits.to(at::kFloat), targets).item<double>() / 2;
      };
      EXPECT_NEAR(gradient.view(-1)[i].item<double>(), (loss(up) - loss(down)) / 2e-4, 5e-3) << i;
    }
  }
}

TEST(LossTest, Probabilities) {
  EXPECT_NEAR(Predictions(Logits(), Problem::kSingleLabel)[0].sum().item<double>(), 1, 1e-6);
  EXPECT_NEAR(Predictions(Logits(), Problem::kMultiLabel)[1][1].item<double>(), 0.5, 1e-6);
}

}  // namespace
}  // namespace tenon::engine
