#include "worker/engine/train/adamw.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/linspace.h>
#include <ATen/ops/sin.h>
#include <ATen/ops/tensor.h>
#include <gtest/gtest.h>

#include <cmath>

namespace tenon::engine {
namespace {

Parameter Make(const std::vector<float>& values, const std::vector<float>& grad, bool decay) {
  return {"p", at::tensor(values), at::tensor(grad), {0}, decay};
}

// The update of one number, written out as in the paper.
struct Scalar {
  double p, m = 0, v = 0;
  void Step(double g, double lr, double decay, int64_t t) {
    p *= 1 - lr * decay;
    m = 0.9 * m + 0.1 * g;
    v = 0.999 * v + 0.001 * g * g;
    const double m_hat = m / (1 - std::pow(0.9, t)), v_hat = v / (1 - std::pow(0.999, t));
    p -= lr * m_hat / (std::sqrt(v_hat) + 1e-8);
  }
};

TEST(AdamWTest, EqualsTheFormulaOverManySteps) {
  for (const bool decay : {true, false}) {
    std::vector<Parameter> parameters = {Make({0.5f, -2}, {0, 0}, decay)};
    AdamW optimizer(parameters, {.weight_decay = 0.1});
    Scalar a{0.5}, b{-2};
    for (int64_t t = 1; t <= 20; ++t) {
      const double ga = std::sin(static_cast<double>(t)), gb = 1e-3 * static_cast<double>(t);
      const double lr = 0.01 / static_cast<double>(t);
      parameters[0].grad = at::tensor({static_cast<float>(ga), static_cast<float>(gb)});
      optimizer.Step(parameters, {lr, t});
      a.Step(ga, lr, decay ? 0.1 : 0, t);
      b.Step(gb, lr, decay ? 0.1 : 0, t);
      EXPECT_NEAR(parameters[0].value[0].item<double>(), a.p, 5e-6) << t;
      EXPECT_NEAR(parameters[0].value[1].item<double>(), b.p, 5e-6) << t;
    }
  }
}

TEST(AdamWTest, FirstStepMovesByTheLearningRate) {
  std::vector<Parameter> parameters = {Make({1, 1, 1}, {1e-3f, -5, 0}, true)};
  AdamW optimizer(parameters, {});
  optimizer.Step(parameters, {0.1, 1});
  EXPECT_NEAR(parameters[0].value[0].item<double>(), 0.9, 1e-5);
  EXPECT_NEAR(parameters[0].value[1].item<double>(), 1.1, 1e-5);
  EXPECT_NEAR(parameters[0].value[2].item<double>(), 1.0, 1e-6);
}

TEST(AdamWTest, ALargeUpdateIsCutWithoutAnotherResult) {
  // The first is larger than a slice.
  const auto make = [] {
    std::vector<Parameter> parameters;
    for (const int64_t size : {(int64_t{1} << 22) + 3, int64_t{5}, int64_t{7}}) {
      const at::Tensor value = at::linspace(-1, 1, size);
      parameters.push_back({"p", value, at::sin(value * 50), {0}, true});
    }
    return parameters;
  };
  std::vector<Parameter> cut = make(), whole = make();
  AdamW in_slices(cut, {.weight_decay = 0.1}), at_once(whole, {.weight_decay = 0.1});
  for (int64_t step = 1; step <= 2; ++step) {
    EXPECT_FALSE(in_slices.StepSlice(cut, {0.01, step}));
    EXPECT_TRUE(at::equal(cut[2].value, whole[2].value)) << "not yet its turn";
    EXPECT_TRUE(in_slices.StepSlice(cut, {0.01, step}));
    at_once.Step(whole, {0.01, step});
    for (size_t i = 0; i < cut.size(); ++i) EXPECT_TRUE(at::equal(cut[i].value, whole[i].value)) << step << " " << i;
  }
  // Every element was moved, by the same rule as a small one.
  std::vector<Parameter> small = {{"p", at::tensor({-1.0f}), at::sin(at::tensor({-50.0f})), {0}, true}};
  AdamW alone(small, {.weight_decay = 0.1});
  alone.Step(small, {0.01, 1});
  alone.Step(small, {0.01, 2});
  EXPECT_FLOAT_EQ(cut[0].value[0].item<float>(), small[0].value.item<float>());
  EXPECT_EQ((cut[0].value == make()[0].value).sum().item<int64_t>(), 0);
}

TEST(AdamWTest, GradientsAreScaledWithTheirPart) {
  const auto make = [] {
    const at::Tensor value = at::linspace(-1, 1, (int64_t{1} << 22) + 3);
    return std::vector<Parameter>{{"p", value, at::sin(value * 50), {0}, true}};
  };
  std::vector<Parameter> in_parts = make(), before = make();
  before[0].grad.mul_(0.3);
  AdamW scales(in_parts, {}), updates(before, {});
  EXPECT_FALSE(scales.StepSlice(in_parts, {0.01, 1, 0.3}));
  EXPECT_EQ(in_parts[0].grad[-1].item<float>(), make()[0].grad[-1].item<float>()) << "not yet its turn";
  EXPECT_TRUE(scales.StepSlice(in_parts, {0.01, 1, 0.3}));
  updates.Step(before, {0.01, 1});
  EXPECT_TRUE(at::equal(in_parts[0].value, before[0].value));
}

}  // namespace
}  // namespace tenon::engine
