// Each fused function against the same thing in torch's plain operators: values and gradients.
#include "worker/engine/model/fused.h"

#include <ATen/CPUGeneratorImpl.h>
#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/gelu.h>
#include <ATen/ops/layer_norm.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/ones_like.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/relu.h>
#include <ATen/ops/softmax.h>
#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>

#include <cmath>
#include <functional>

#include "tests/worker/engine/model/fused_check.h"
#include "worker/engine/model/adapted_linear.h"
#include "worker/engine/model/fused_attention.h"
#include "worker/engine/model/parallel.h"

namespace tenon::engine {
namespace {

using testing::Distance;
using testing::ExpectSame;
using testing::Random;
using Function = testing::FusedFunction;

TEST(FusedTest, DropoutAddNormWithAndWithoutBiasAndMask) {
  for (const int64_t hidden : {384, 40, 7}) {
    const FrozenNorm norm{Random({hidden}, 1), Random({hidden}, 2), 1e-5};
    const at::Tensor bias = Random({hidden}, 3);
    for (const DropoutMask& mask : {DropoutMask(), DropoutMask(5, 0.3)}) {
      ExpectSame([&](const auto& in) { return DropoutAddNorm(in[0], bias, in[1], norm, mask); },
                 [&](const auto& in) {
                   const at::Tensor scales = Dropout(at::ones_like(in[0]).detach(), mask);
                   return at::layer_norm((in[0] + bias) * scales + in[1], {hidden}, norm.weight, norm.shift, 1e-5);
                 },
                 {Random({21, hidden}, 4), Random({21, hidden}, 5)});
    }
    ExpectSame([&](const auto& in) { return DropoutAddNorm(in[0], {}, in[1], norm, {}); },
               [&](const auto& in) { return at::layer_norm(in[0] + in[1], {hidden}, norm.weight, norm.shift, 1e-5); },
               {Random({3, hidden}, 4), Random({3, hidden}, 5)});
  }
}

TEST(FusedTest, BiasActivation) {
  const at::Tensor bias = Random({50}, 1);
  const auto check = [&](Activation activation, const Function& plain) {
    ExpectSame([&](const auto& in) { return BiasActivation(in[0], bias, activation); }, plain,
               {Random({19, 50}, 2) * 3});
  };
  check(Activation::kGelu, [&](const auto& in) { return at::gelu(in[0] + bias); });
  check(Activation::kGeluTanh, [&](const auto& in) { return at::gelu(in[0] + bias, "tanh"); });
  check(Activation::kRelu, [&](const auto& in) { return at::relu(in[0] + bias); });
  check(Activation::kNone, [&](const auto& in) { return in[0] + bias; });
}

// What RaggedAttention's mask multiplies the probabilities of one row and head with.
at::Tensor Scales(const DropoutMask& mask, int64_t first, int64_t length, int64_t tokens, int64_t longest,
                  int64_t heads, int64_t head) {
  const at::Tensor all = Dropout(at::ones_like(Random({tokens * heads, longest}, 0)), mask);
  return all.view({tokens, heads, longest}).narrow(0, first, length).select(1, head).narrow(1, 0, length);
}

at::Tensor PlainAttention(const at::Tensor& qkv, const std::vector<int64_t>& offsets, int64_t heads,
                          const DropoutMask& mask) {
  const int64_t hidden = qkv.size(1) / 3, size = hidden / heads;
  int64_t longest = 0;
  for (size_t row = 1; row < offsets.size(); ++row) longest = std::max(longest, offsets[row] - offsets[row - 1]);
  std::vector<at::Tensor> rows;
  for (size_t row = 1; row < offsets.size(); ++row) {
    const int64_t first = offsets[row - 1], length = offsets[row] - first;
    std::vector<at::Tensor> contexts;
    for (int64_t head = 0; head < heads; ++head) {
      const auto part = [&](int64_t which) {
        return qkv.narrow(0, first, length).narrow(1, which * hidden + head * size, size);
      };
      const at::Tensor scores = at::matmul(part(0), part(1).t()) / std::sqrt(static_cast<double>(size));
      at::Tensor probabilities = at::softmax(scores, -1);
      if (mask.active()) {
        probabilities = probabilities * Scales(mask, first, length, qkv.size(0), longest, heads, head);
      }
      contexts.push_back(at::matmul(probabilities, part(2)));
    }
    rows.push_back(at::cat(contexts, 1));
  }
  return at::cat(rows);
}

TEST(FusedTest, RaggedAttentionOfManyLengthsAndHeadSizes) {
  const std::vector<int64_t> offsets = {0, 1, 6, 22, 38, 55, 88, 158};
  for (const auto& [heads, size] : {std::pair<int64_t, int64_t>{3, 32}, {2, 64}, {5, 8}, {2, 20}}) {
    const at::Tensor bias = Random({3 * heads * size}, 1);
    for (const DropoutMask& mask : {DropoutMask(), DropoutMask(8, 0.2)}) {
      ExpectSame([&, heads = heads](const auto& in) { return RaggedAttention(in[0], bias, offsets, heads, mask); },
                 [&, heads = heads](const auto& in) { return PlainAttention(in[0] + bias, offsets, heads, mask); },
                 {Random({offsets.back(), 3 * heads * size}, 2)});
    }
  }
}

TEST(FusedTest, LargeScoresDoNotOverflow) {
  const at::Tensor qkv = Random({30, 3 * 32}, 1) * 60;
  const at::Tensor y = RaggedAttention(qkv, {}, {0, 13, 30}, 1, {});
  EXPECT_LT(Distance(y, PlainAttention(qkv, {0, 13, 30}, 1, {})), 1e-2);
}

TEST(AdaptedLinearTest, EqualsTheProductAndItsAdapters) {
  const at::Tensor weight = Random({36, 16}, 1) * 0.3;
  for (const DropoutMask& mask : {DropoutMask(), DropoutMask(9, 0.4)}) {
    const auto fused = [&](const auto& in) {
      return AdaptedLinear(in[0], weight, {{in[1], in[2], 2.0, 0, mask}, {in[3], in[4], 0.5, 24, mask}});
    };
    const auto plain = [&](const auto& in) {
      const at::Tensor x = in[0] * Dropout(at::ones_like(in[0]).detach(), mask);
      const at::Tensor y = at::linear(in[0], weight);
      const at::Tensor first = at::matmul(at::matmul(x, in[1].t()), in[2].t()) * 2.0;
      const at::Tensor last = at::matmul(at::matmul(x, in[3].t()), in[4].t()) * 0.5;
      return at::cat({y.narrow(1, 0, 12) + first, y.narrow(1, 12, 12), y.narrow(1, 24, 12) + last}, 1);
    };
    ExpectSame(fused, plain,
               {Random({13, 16}, 2), Random({4, 16}, 3), Random({12, 4}, 4), Random({2, 16}, 5), Random({12, 2}, 6)});
  }
}

TEST(AdaptedLinearTest, ABf16WeightMultipliesAsItsRoundedSelf) {
  const at::Tensor weight = Random({24, 32}, 1).to(at::kBFloat16), x = Random({9, 32}, 2);
  const at::Tensor exact = at::linear(x, weight.to(at::kFloat));
  const double allowed =
      HowBf16Multiplies() != Bf16Product::kWidened ? 0.2 : 1e-5;  // x is rounded to 8 bits as well, and the sum
  EXPECT_LT(Distance(AdaptedLinear(x, weight, {}), exact), allowed);
  EXPECT_EQ(AdaptedLinear(x, weight, {}).scalar_type(), at::kFloat);
}

TEST(ParallelTest, EveryPlaceOnce) {
  std::vector<int> seen(1000, 0);
  ParallelFor(1000, 16, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) ++seen[static_cast<size_t>(i)];
  });
  EXPECT_EQ(seen, std::vector<int>(1000, 1));
  ParallelFor(0, 1, [](int64_t, int64_t) { FAIL(); });
}

}  // namespace
}  // namespace tenon::engine
