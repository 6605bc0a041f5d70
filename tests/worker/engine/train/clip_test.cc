#include "worker/engine/train/clip.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/linalg_vector_norm.h>
#include <ATen/ops/linspace.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/sin.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/tensor.h>
#include <gtest/gtest.h>

#include <cmath>

namespace tenon::engine {
namespace {

constexpr int64_t kSlice = int64_t{1} << 22;

Parameter Make(const at::Tensor& grad) { return {"p", grad, grad, {0}, true}; }

TEST(GradientNormTest, IsOverAllGradients) {
  const std::vector<Parameter> parameters = {Make(at::tensor({3.0f})), Make(at::tensor({4.0f}))};
  GradientNorm norm;
  EXPECT_NEAR(norm.Slice(parameters).value(), 5, 1e-6);
  EXPECT_NEAR(norm.Slice(parameters).value(), 5, 1e-6) << "begins anew";
}

TEST(GradientNormTest, InfinityIsReported) {
  const std::vector<Parameter> parameters = {Make(at::tensor({INFINITY}))};
  EXPECT_FALSE(std::isfinite(GradientNorm().Slice(parameters).value()));
}

TEST(GradientNormTest, ALargeModelsIsCut) {
  const std::vector<Parameter> parameters = {Make(at::ones({5})), Make(at::ones({3, kSlice})), Make(at::ones({4}))};
  GradientNorm norm;
  // The small one in front, three parts of the large one, the small one behind.
  for (int slice = 0; slice < 4; ++slice) EXPECT_FALSE(norm.Slice(parameters).has_value()) << slice;
  const double expected = std::sqrt(static_cast<double>(3 * kSlice + 9));
  EXPECT_NEAR(norm.Slice(parameters).value(), expected, 1e-5 * expected);
}

TEST(GradientNormTest, SlicesDoNotChangeABitWhereNoParameterIsCut) {
  std::vector<Parameter> parameters;
  std::vector<at::Tensor> norms;
  for (const int64_t rows : {300, 7, 2000, 1}) {
    parameters.push_back(Make(at::sin(at::linspace(-50, 50, rows * 1500)).view({rows, 1500})));
    norms.push_back(at::linalg_vector_norm(parameters.back().grad));
  }
  GradientNorm norm;
  EXPECT_EQ(norm.Slice(parameters).value(), at::linalg_vector_norm(at::stack(norms)).item<double>());
  for (int i = 0; i < 2; ++i) parameters.push_back(Make(at::ones({kSlice - 1})));
  EXPECT_FALSE(norm.Slice(parameters).has_value());
}

TEST(ClipScaleTest, BringsANormDownAndZeroMeansOff) {
  EXPECT_NEAR(ClipScale(5, 1), 0.2, 1e-6);
  EXPECT_EQ(ClipScale(5, 10), 1);
  EXPECT_EQ(ClipScale(5, 0), 1);
}

}  // namespace
}  // namespace tenon::engine
