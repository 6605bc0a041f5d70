// The fused functions of models that write, each against the same thing in torch's plain operators.
#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/cross_entropy_loss.h>
#include <ATen/ops/full.h>
#include <ATen/ops/gelu.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/ones_like.h>
#include <ATen/ops/rsqrt.h>
#include <ATen/ops/softmax.h>
#include <ATen/ops/tensor.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "tests/worker/engine/model/fused_check.h"
#include "worker/engine/kernels/attention.h"
#include "worker/engine/model/adapted_linear.h"
#include "worker/engine/model/fused.h"
#include "worker/engine/model/fused_attention.h"
#include "worker/engine/model/fused_rms.h"
#include "worker/engine/model/token_loss.h"

namespace tenon::engine {
namespace {

using testing::Distance;
using testing::ExpectSame;
using testing::Random;

at::Tensor PlainRms(const at::Tensor& x, const Rms& norm) {
  return x * at::rsqrt((x * x).mean(-1, true) + norm.eps) * norm.weight;
}

at::Tensor Kept(const at::Tensor& like, const DropoutMask& mask) { return Dropout(at::ones_like(like).detach(), mask); }

TEST(FusedRmsTest, TheNormAlone) {
  for (const int64_t hidden : {512, 40, 7}) {
    const Rms norm{Random({hidden}, 1), 1e-5};
    ExpectSame([&](const auto& in) { return RmsNormalized(in[0], norm); },
               [&](const auto& in) { return PlainRms(in[0], norm); }, {Random({37, hidden}, 2)});
  }
}

TEST(FusedRmsTest, BehindDropoutAndResidual) {
  for (const int64_t hidden : {512, 40, 7}) {
    const Rms norm{Random({hidden}, 1), 1e-6};
    for (const DropoutMask& mask : {DropoutMask(), DropoutMask(5, 0.3)}) {
      const auto fused = [&](const auto& in) { return DropoutAddRms(in[0], in[1], norm, mask); };
      const auto sum = [&](const auto& in) { return in[0] * Kept(in[0], mask) + in[1]; };
      const std::vector<at::Tensor> inputs = {Random({21, hidden}, 4), Random({21, hidden}, 5)};
      // Both results at once, and each of them alone.
      ExpectSame(
          [&](const auto& in) {
            const auto [x, normed] = fused(in);
            return x * 0.7 + normed;
          },
          [&](const auto& in) { return sum(in) * 0.7 + PlainRms(sum(in), norm); }, inputs);
      ExpectSame([&](const auto& in) { return fused(in).second; },
                 [&](const auto& in) { return PlainRms(sum(in), norm); }, inputs);
      ExpectSame([&](const auto& in) { return fused(in).first; }, sum, inputs);
    }
  }
}

TEST(FusedRmsTest, ItsWeightMayBeTrained) {
  for (const int64_t hidden : {512, 40, 7}) {
    const at::Tensor x = Random({21, hidden}, 1), residual = Random({21, hidden}, 2), weight = Random({hidden}, 3);
    ExpectSame(
        [&](const auto& in) {
          return RmsNormalized(in[0], {in[1], 1e-6});
        },
        [&](const auto& in) {
          return PlainRms(in[0], {in[1], 1e-6});
        },
        {x, weight});
    for (const DropoutMask& mask : {DropoutMask(), DropoutMask(5, 0.3)}) {
      const auto sum = [&](const auto& in) { return in[0] * Kept(in[0], mask) + in[1]; };
      ExpectSame(
          [&](const auto& in) {
            const auto [x, normed] = DropoutAddRms(in[0], in[1], {in[2], 1e-6}, mask);
            return x * 0.7 + normed;
          },
          [&](const auto& in) {
            return sum(in) * 0.7 + PlainRms(sum(in), {in[2], 1e-6});
          },
          {x, residual, weight});
    }
  }
}

TEST(FusedRmsTest, AnOverflowIsNotANumberInsteadOfZero) {
  const at::Tensor x = at::full({2, 16}, 1e30);
  EXPECT_TRUE(RmsNormalized(x, {Random({16}, 1), 1e-6}).isnan().all().item<bool>());
}

TEST(FusedGateTest, EqualsGeluTimesTheOtherHalf) {
  for (const int64_t size : {1024, 24, 5}) {
    for (const DropoutMask& mask : {DropoutMask(), DropoutMask(6, 0.25)}) {
      ExpectSame([&](const auto& in) { return DropoutGate(in[0], mask); },
                 [&](const auto& in) {
                   const at::Tensor y = at::gelu(in[0].narrow(1, 0, size), "tanh") * in[0].narrow(1, size, size);
                   return y * Kept(y, mask);
                 },
                 {Random({19, 2 * size}, 2) * 2});
    }
  }
}

// Rows of queries and of keys, one by one. `distances` [heads, columns] may be undefined.
struct PlainAttention {
  std::vector<int64_t> offsets, key_offsets;
  int64_t heads = 1;
  DistanceTable distances;
  bool causal = false;
  DropoutMask mask;

  static int64_t Longest(const std::vector<int64_t>& offsets) {
    int64_t longest = 0;
    for (size_t row = 1; row < offsets.size(); ++row) longest = std::max(longest, offsets[row] - offsets[row - 1]);
    return longest;
  }

  at::Tensor operator()(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v) const {
    const int64_t size = q.size(1) / heads, longest = std::max(Longest(offsets), Longest(key_offsets));
    const at::Tensor scales =
        Dropout(at::ones_like(Random({q.size(0) * heads, longest}, 0)), mask).view({q.size(0), heads, longest});
    std::vector<at::Tensor> rows;
    for (size_t row = 1; row < offsets.size(); ++row) {
      const int64_t first = offsets[row - 1], length = offsets[row] - first;
      const int64_t first_key = key_offsets[row - 1], keys = key_offsets[row] - first_key;
      std::vector<at::Tensor> contexts;
      for (int64_t head = 0; head < heads; ++head) {
        const at::Tensor own = q.narrow(0, first, length).narrow(1, head * size, size);
        const at::Tensor other = k.narrow(0, first_key, keys).narrow(1, head * size, size);
        at::Tensor scores = at::matmul(own, other.t());
        if (distances.numbers.defined()) {
          std::vector<at::Tensor> lines;
          for (int64_t i = 0; i < length; ++i) {
            lines.push_back(distances.numbers[head].narrow(0, distances.zero - i, keys).unsqueeze(0));
          }
          scores = scores + at::cat(lines);
        }
        if (causal) scores = scores + at::full({length, keys}, -std::numeric_limits<float>::infinity()).triu(1);
        at::Tensor probabilities = at::softmax(scores, -1);
        if (mask.active()) {
          probabilities = probabilities * scales.narrow(0, first, length).select(1, head).narrow(1, 0, keys);
        }
        contexts.push_back(at::matmul(probabilities, v.narrow(0, first_key, keys).narrow(1, head * size, size)));
      }
      rows.push_back(at::cat(contexts, 1));
    }
    return at::cat(rows);
  }
};

TEST(FusedAttentionTest, DistancesBothWaysAndCausal) {
  const std::vector<int64_t> offsets = {0, 1, 6, 22, 38, 55, 88, 158};
  for (const auto& [heads, size] : {std::pair<int64_t, int64_t>{3, 32}, {2, 64}, {5, 8}}) {
    const int64_t reach = 69, hidden = heads * size;
    const DistanceTable distances{Random({heads, 2 * reach + 1 + kernels::kSpareDistances}, 1), reach};
    for (const bool causal : {false, true}) {
      for (const DropoutMask& mask : {DropoutMask(), DropoutMask(8, 0.2)}) {
        const PlainAttention plain{offsets, offsets, heads, distances, causal, mask};
        ExpectSame([&, heads = heads](
                       const auto& in) { return DistanceAttention(in[0], offsets, heads, distances, causal, mask); },
                   [&](const auto& in) {
                     return plain(in[0].narrow(1, 0, hidden), in[0].narrow(1, hidden, hidden),
                                  in[0].narrow(1, 2 * hidden, hidden));
                   },
                   {Random({offsets.back(), 3 * hidden}, 2) * 0.5});
      }
    }
  }
}

TEST(FusedAttentionTest, DistancesMayBeTrained) {
  const std::vector<int64_t> offsets = {0, 1, 6, 22, 38, 55, 88};
  for (const auto& [heads, size] : {std::pair<int64_t, int64_t>{3, 32}, {5, 8}}) {
    const int64_t reach = 40, hidden = heads * size;
    for (const bool causal : {false, true}) {
      for (const DropoutMask& mask : {DropoutMask(), DropoutMask(8, 0.2)}) {
        ExpectSame(
            [&, heads = heads](const auto& in) {
              return DistanceAttention(in[0], offsets, heads, {in[1], reach}, causal, mask);
            },
            [&, heads = heads](const auto& in) {
              const PlainAttention plain{offsets, offsets, heads, {in[1], reach}, causal, mask};
              return plain(in[0].narrow(1, 0, hidden), in[0].narrow(1, hidden, hidden),
                           in[0].narrow(1, 2 * hidden, hidden));
            },
            {Random({offsets.back(), 3 * hidden}, 2) * 0.5,
             Random({heads, 2 * reach + 1 + kernels::kSpareDistances}, 1)});
      }
    }
  }
}

TEST(FusedAttentionTest, ATableThatIsTooShortIsRefused) {
  const DistanceTable distances{Random({1, 2 * 4 + 1 + kernels::kSpareDistances}, 1), 4};
  EXPECT_NO_THROW(DistanceAttention(Random({5, 48}, 2), {0, 5}, 1, distances, true, {}));
  EXPECT_THROW(DistanceAttention(Random({6, 48}, 2), {0, 6}, 1, distances, true, {}), c10::Error);
}

// More queries than keys, fewer, and one of each.
TEST(FusedAttentionTest, RowsReadOtherRows) {
  const std::vector<int64_t> offsets = {0, 3, 43, 44, 61}, sources = {0, 40, 42, 43, 60};
  for (const auto& [heads, size] : {std::pair<int64_t, int64_t>{3, 32}, {2, 64}, {4, 10}}) {
    const int64_t hidden = heads * size;
    for (const DropoutMask& mask : {DropoutMask(), DropoutMask(8, 0.2)}) {
      const PlainAttention plain{offsets, sources, heads, {}, false, mask};
      ExpectSame(
          [&, heads = heads](const auto& in) { return SourceAttention(in[0], in[1], offsets, sources, heads, mask); },
          [&](const auto& in) { return plain(in[0], in[1].narrow(1, 0, hidden), in[1].narrow(1, hidden, hidden)); },
          {Random({61, hidden}, 2) * 0.5, Random({60, 2 * hidden}, 3) * 0.5});
    }
  }
}

// Long enough for several chunks at the larger vocabulary.
TEST(TokenLossTest, EqualsCrossEntropyOfAllLogits) {
  for (const auto& [lines, vocab] : {std::pair<int64_t, int64_t>{5, 33}, {40, 300'000}, {70, 96}}) {
    const at::Tensor weight = Random({vocab, 24}, 1) * 0.5;
    std::vector<int64_t> targets;
    for (int64_t i = 0; i < lines; ++i) targets.push_back(i * 7919 % vocab);
    const at::Tensor wanted = at::tensor(targets, at::kLong);
    const auto plain = [&](const auto& in) {
      return at::cross_entropy_loss(at::linear(in[0], weight), wanted, {}, at::Reduction::Sum) / lines;
    };
    const at::Tensor x = Random({lines, 24}, 2);
    ExpectSame([&](const auto& in) { return TokenLoss(in[0], weight, targets) / lines; }, plain, {x});
    ExpectSame([&](const auto& in) { return TokenLoss(in[0], in[1], targets) / lines; },
               [&](const auto& in) {
                 return at::cross_entropy_loss(at::linear(in[0], in[1]), wanted, {}, at::Reduction::Sum) / lines;
               },
               {x, weight});
    const TokenScores scores = ScoreTokens(x, weight, targets), again = ScoreLogits(at::linear(x, weight), wanted);
    EXPECT_NEAR(scores.loss, again.loss, 1e-5 * again.loss);
    EXPECT_EQ(scores.right, again.right);
    EXPECT_NEAR(scores.loss / static_cast<double>(lines), plain(std::vector<at::Tensor>{x}).template item<double>(),
                1e-4);
  }
}

TEST(TokenLossTest, CountsTheRightOnes) {
  const at::Tensor weight = at::tensor({1.0f, 0.0f, 0.0f, 1.0f}).view({2, 2});
  const at::Tensor x = at::tensor({2.0f, 1.0f, -1.0f, 3.0f, 4.0f, 0.0f}).view({3, 2});
  EXPECT_EQ(ScoreTokens(x, weight, {0, 1, 0}).right, 3);
  EXPECT_EQ(ScoreTokens(x, weight, {1, 1, 1}).right, 1);
}

TEST(TokenLossTest, LogitsThatAreNoNumbersGiveNone) {
  const at::Tensor weight = Random({64, 8}, 1);
  for (const double bad : {std::nan(""), std::numeric_limits<double>::infinity()}) {
    at::Tensor x = Random({3, 8}, 2);
    x[1][4] = bad;
    EXPECT_FALSE(std::isfinite(TokenLoss(x, weight, {1, 2, 3}).item<double>())) << bad;
  }
}

TEST(FrozenProductTest, BothWays) {
  const at::Tensor weight = Random({48, 32}, 1), x = Random({5, 32}, 2), y = Random({5, 48}, 3);
  EXPECT_LT(Distance(FrozenProduct(x, weight, false), at::matmul(x, weight.t())), 1e-5);
  EXPECT_LT(Distance(FrozenProduct(y, weight, true), at::matmul(y, weight)), 1e-5);
  const at::Tensor narrow = weight.to(at::kBFloat16);
  EXPECT_LT(Distance(FrozenProduct(x, narrow, false), at::matmul(x, weight.t())), 0.2);
  EXPECT_EQ(FrozenProduct(y, narrow, true).scalar_type(), at::kFloat);
}

}  // namespace
}  // namespace tenon::engine
