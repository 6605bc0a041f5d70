#include "worker/engine/model/encoder.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/allclose.h>
#include <ATen/ops/rand.h>
#include <ATen/ops/randn.h>
#include <gtest/gtest.h>

#include <deque>

#include "common/formats/status.h"
#include "tests/common/formats/temp_folder.h"
#include "tests/worker/engine/tiny_base.h"
#include "worker/engine/base.h"

namespace tenon::engine {
namespace {

class EncoderTest : public ::testing::Test {
 protected:
  void SetUp() override {
    testing::WriteTinyBase(folder_ / "base");
    auto base = Base::Load(folder_ / "base", {});
    ASSERT_TRUE(base.ok()) << base.status();
    base_ = *base;
    encoder_ = *base_->encoder(Precision::kFp32);
  }

  PackedBatch PackTexts(const std::vector<std::string>& texts, int64_t round_to = 1) {
    std::vector<const std::vector<int32_t>*> rows;
    for (const std::string& text : texts) rows.push_back(&ids_.emplace_back(base_->tokenizer().Encode(text, 64).ids));
    return Pack(rows, encoder_->device(), round_to);
  }
  at::Tensor Forward(const PackedBatch& batch, const ForwardHooks& hooks) {
    at::Tensor x = encoder_->Embed(batch, hooks);
    for (int64_t i = 0; i < encoder_->config().num_hidden_layers; ++i)
      x = encoder_->Layer(i, x, batch, hooks, Lines::kTokens);
    return x;
  }

  test::TempFolder folder_;
  std::shared_ptr<const Base> base_;
  std::shared_ptr<const Encoder> encoder_;
  std::deque<std::vector<int32_t>> ids_;
};

std::vector<std::string> MixedTexts() {
  std::vector<std::string> texts;
  for (const int64_t words : {3, 30, 3, 12, 31, 1, 13, 60}) texts.push_back(testing::TinyText(texts.size(), words));
  return texts;
}

TEST_F(EncoderTest, ARowDoesNotSeeItsNeighbours) {
  const std::vector<std::string> texts = MixedTexts();
  const PackedBatch batch = PackTexts(texts, 16);
  const at::Tensor together = Forward(batch, {});
  for (size_t i = 0; i < texts.size(); ++i) {
    const at::Tensor alone = Forward(PackTexts({texts[i]}), {});
    const at::Tensor row = together.narrow(0, batch.offsets[i], batch.offsets[i + 1] - batch.offsets[i]);
    EXPECT_TRUE(at::allclose(row, alone, 1e-5, 1e-5)) << texts[i];
  }
}

TEST_F(EncoderTest, InferenceKernelsAgreeWithTrainingKernels) {
  const PackedBatch batch = PackTexts(MixedTexts(), 16);
  ForwardHooks fast;
  fast.inference = true;
  const at::NoGradGuard no_grad;
  const at::Tensor plain = Forward(batch, {}).narrow(0, 0, batch.tokens());
  EXPECT_TRUE(at::allclose(Forward(batch, fast).narrow(0, 0, batch.tokens()), plain, 1e-5, 1e-5));
}

TEST_F(EncoderTest, TheLastLayerOfFirstTokensIsThatOfAllTokens) {
  const at::NoGradGuard no_grad;
  for (const auto& [round_to, inference] : std::vector<std::pair<int64_t, bool>>{{1, true}, {16, true}, {1, false}}) {
    const PackedBatch batch = PackTexts(MixedTexts(), round_to);
    // A part on every line of every module, and told what the lines are.
    ForwardHooks hooks;
    hooks.inference = inference;
    hooks.linear = [&](const std::string&, const at::Tensor& x, const at::Tensor& y, Lines lines) {
      EXPECT_EQ(x.size(0), lines == Lines::kRows ? batch.first.size(0) : batch.ids.size(0));
      return y.add_(x.sum({1}, /*keepdim=*/true) * 0.01);
    };
    at::Tensor x = encoder_->Layer(0, encoder_->Embed(batch, hooks), batch, hooks, Lines::kTokens);
    const at::Tensor of_first = encoder_->Layer(1, x, batch, hooks, Lines::kRows);
    const at::Tensor whole = FirstTokens(encoder_->Layer(1, x, batch, hooks, Lines::kTokens), batch);
    EXPECT_TRUE(at::allclose(of_first, whole, 1e-5, 1e-5)) << round_to << inference;
  }
}

TEST_F(EncoderTest, CopiesOfLinearLayersGiveTheirOutputs) {
  const PackedBatch batch = PackTexts({"the good book", "tea"});
  int seen = 0;
  ForwardHooks hooks;
  hooks.linear = [&](const std::string& module, const at::Tensor& x, const at::Tensor& y, Lines) {
    const auto [weight, bias] = encoder_->CopyLinear(module);
    EXPECT_TRUE(at::allclose(x.matmul(weight.t()) + bias, y, 1e-5, 1e-5)) << module;
    ++seen;
    return y;
  };
  encoder_->Pool(FirstTokens(Forward(batch, hooks), batch), hooks);
  EXPECT_EQ(seen, static_cast<int>(encoder_->linear_layers().size()));
}

TEST_F(EncoderTest, TheLinearHookSeesEveryLayerWithItsShapes) {
  std::map<std::string, std::pair<int64_t, int64_t>> seen;
  ForwardHooks hooks;
  hooks.linear = [&](const std::string& module, const at::Tensor& x, const at::Tensor& y, Lines) {
    EXPECT_TRUE(seen.emplace(module, std::make_pair(y.size(1), x.size(1))).second) << module;
    return y;
  };
  const PackedBatch batch = PackTexts({"the good book", "tea"});
  const at::Tensor pooled = encoder_->Pool(FirstTokens(Forward(batch, hooks), batch), hooks);
  EXPECT_EQ(pooled.size(0), 2);
  EXPECT_EQ(seen, encoder_->linear_layers());
}

TEST_F(EncoderTest, WhatTheHookAddsCountsAsIfTheWeightHadIt) {
  // A delta W x of rank 1 on one layer is undone by its negative.
  const at::Tensor a = at::randn({1, 32}), b = at::randn({32, 1});
  const PackedBatch batch = PackTexts(MixedTexts());
  double sign = 1;
  ForwardHooks hooks;
  hooks.linear = [&](const std::string& module, const at::Tensor& x, const at::Tensor& y, Lines) {
    if (module == "encoder.layer.0.attention.output.dense") return y + x.matmul(a.t()).matmul(b.t()) * sign;
    return y;
  };
  const at::Tensor plain = Forward(batch, {});
  EXPECT_FALSE(at::allclose(Forward(batch, hooks), plain, 1e-3, 1e-3));
  sign = 0;
  EXPECT_TRUE(at::allclose(Forward(batch, hooks), plain, 1e-6, 1e-6));
}

TEST_F(EncoderTest, GradientsReachAHooksTensorsAndNotTheBase) {
  at::Tensor delta = at::rand({32}).mul_(0.01).set_requires_grad(true);
  ForwardHooks hooks;
  hooks.linear = [&](const std::string& module, const at::Tensor&, const at::Tensor& y, Lines) {
    return module == "encoder.layer.0.attention.self.query" ? y + delta : y;
  };
  int dropped = 0;
  hooks.dropout = [&](const at::Tensor& x, double p) {
    ++dropped;
    EXPECT_EQ(p, x.dim() == 4 ? 0.25 : 0.5);
    return x * 1.0;
  };
  hooks.hidden_dropout = 0.5;
  hooks.attention_dropout = 0.25;
  // Rows of several groups, so that gather and restore are on the path.
  const PackedBatch batch = PackTexts(MixedTexts());
  const at::Tensor loss = PoolSentences(Forward(batch, hooks), batch, formats::Pooling::kMean, true).select(1, 0).sum();
  loss.backward();
  // Embeddings once, each layer twice and once for each group of rows.
  EXPECT_EQ(dropped, 1 + 2 * (2 + static_cast<int>(batch.groups.size())));
  ASSERT_TRUE(delta.grad().defined());
  // Against a finite difference.
  const at::NoGradGuard no_grad;
  const double step = 1e-2;
  const auto value = [&] {
    return PoolSentences(Forward(batch, hooks), batch, formats::Pooling::kMean, true).select(1, 0).sum().item<double>();
  };
  for (const int64_t i : {0, 7, 31}) {
    delta.select(0, i).add_(step);
    const double up = value();
    delta.select(0, i).sub_(2 * step);
    const double down = value();
    delta.select(0, i).add_(step);
    EXPECT_NEAR(delta.grad()[i].item<double>(), (up - down) / (2 * step), 2e-3);
  }
}

TEST_F(EncoderTest, PoolingLooksAtRealTokensAlone) {
  const PackedBatch batch = PackTexts({"tea", "the bad cheese"}, 16);
  const at::Tensor x = at::randn({batch.ids.size(0), 32});
  const at::Tensor second = x.narrow(0, batch.offsets[1], batch.offsets[2] - batch.offsets[1]);
  const at::Tensor mean = PoolSentences(x, batch, formats::Pooling::kMean, false);
  EXPECT_EQ(mean.size(0), 2);
  EXPECT_TRUE(at::allclose(mean[1], second.mean(0), 1e-6, 1e-6));
  EXPECT_TRUE(at::allclose(PoolSentences(x, batch, formats::Pooling::kMax, false)[1], second.amax({0}), 1e-6, 1e-6));
  EXPECT_TRUE(at::allclose(PoolSentences(x, batch, formats::Pooling::kCls, false)[1], second[0], 1e-6, 1e-6));
  const at::Tensor unit = PoolSentences(x, batch, formats::Pooling::kMean, true);
  EXPECT_NEAR(unit[0].norm().item<double>(), 1, 1e-6);
}

}  // namespace
}  // namespace tenon::engine
