#include "worker/engine/model/t5/rms_norm.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/allclose.h>
#include <ATen/ops/isnan.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/rsqrt.h>
#include <c10/core/InferenceMode.h>
#include <gtest/gtest.h>

namespace tenon::engine {
namespace {

// Sizes that our own kernel takes, and one that it does not.
class RmsNormTest : public ::testing::TestWithParam<int64_t> {};

TEST_P(RmsNormTest, DividesByTheRootOfTheMeanSquare) {
  const c10::InferenceMode inference;
  const int64_t size = GetParam();
  const at::Tensor weight = at::randn({size}), x = at::randn({5, size}), delta = at::randn({5, size});
  const RmsNorm norm(weight, 1e-6);
  const auto expected = [&](const at::Tensor& lines) {
    return lines * at::rsqrt((lines * lines).mean(-1, true) + 1e-6) * weight;
  };
  EXPECT_TRUE(at::allclose(norm(x), expected(x), 1e-5, 1e-5));
  const at::Tensor sum = x.clone();
  EXPECT_TRUE(at::allclose(norm.AddAndNorm(sum, delta), expected(x + delta), 1e-5, 1e-5));
  EXPECT_TRUE(at::allclose(sum, x + delta, 1e-6, 1e-6)) << "the sum stays for the next sub-layer";
}

// Finite numbers whose squares are not: zeros would look like a result.
TEST_P(RmsNormTest, ALineThatOverflowsIsNoResultAndItsNeighboursAre) {
  const c10::InferenceMode inference;
  const int64_t size = GetParam();
  const RmsNorm norm(at::randn({size}), 1e-6);
  at::Tensor x = at::randn({3, size});
  x.select(0, 1).mul_(1e25);
  const at::Tensor y = norm(x), z = norm.AddAndNorm(x.clone(), at::randn({3, size}));
  for (const at::Tensor& out : {y, z}) {
    EXPECT_TRUE(at::isnan(out.select(0, 1)).all().item<bool>());
    EXPECT_FALSE(at::isnan(out.select(0, 0)).any().item<bool>());
    EXPECT_FALSE(at::isnan(out.select(0, 2)).any().item<bool>());
  }
}

INSTANTIATE_TEST_SUITE_P(Sizes, RmsNormTest, ::testing::Values(64, 40));

}  // namespace
}  // namespace tenon::engine
