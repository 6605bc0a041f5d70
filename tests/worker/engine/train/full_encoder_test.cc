// A whole BERT under training: what it begins as, and the gradients of every weight.
#include "worker/engine/train/full_encoder.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/allclose.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/randn.h>
#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>

#include <cmath>
#include <functional>
#include <map>

#include "absl/strings/match.h"
#include "common/formats/safetensors.h"
#include "tests/worker/engine/tiny_base.h"
#include "tests/worker/engine/train/finite_differences.h"
#include "tests/worker/engine/train/pass_check.h"
#include "tests/worker/engine/train/toy_run.h"
#include "worker/engine/train/network.h"
#include "worker/engine/train/segmented_pass.h"

namespace tenon::engine {
namespace {

using testing::Slices;

formats::TenonConfig TwoLabels() {
  formats::TenonConfig config;
  config.labels = {"a", "b"};
  return config;
}

class FullEncoderTest : public ::testing::Test {
 protected:
  void SetUp() override { Make(0.1); }

  void Make(double dropout) {
    base_ = testing::MakeToyBase(dropout);
    auto weights = CopyEncoder(*base_, TwoLabels(), 5);
    ASSERT_TRUE(weights.ok()) << weights.status();
    const auto frozen = base_->encoder(Precision::kFp32);
    ASSERT_TRUE(frozen.ok()) << frozen.status();
    auto model = TrainableAdapter::MakeWhole(*std::move(weights), **frozen, nullptr);
    ASSERT_TRUE(model.ok()) << model.status();
    model_ = std::make_unique<TrainableAdapter>(*std::move(model));
    bert_ = std::make_unique<FullEncoder>(base_->config(), model_->adapter().modules);
    dropout_ = std::make_unique<JobDropout>(7, at::Device(at::kCPU));
    network_ = std::make_unique<Network>(*bert_, *model_, DropoutRates{dropout, dropout, dropout}, dropout_.get());
    rows_ = {};
    for (int64_t i = 0; i < 6; ++i) {  // ragged
      rows_.ids.push_back(base_->tokenizer().Encode(testing::TinyText(static_cast<uint64_t>(i), 1 + 3 * i), 64).ids);
      rows_.second_types.push_back(kNoPlace);
      rows_.labels.push_back({i % 2});
    }
  }

  SegmentedPass Pass(const MicroBatch& rows, double scale) {
    return SegmentedPass(
        network_->Pass(PackRows(rows_, rows, at::kCPU), PickTargets(rows_, rows, Problem::kSingleLabel)), *model_,
        *dropout_, scale, 3);
  }
  std::map<std::string, at::Tensor> TakeGradients() {
    std::map<std::string, at::Tensor> grads;
    for (Parameter& parameter : model_->parameters()) {
      grads[parameter.name] = parameter.grad.clone();
      parameter.grad = at::Tensor();
    }
    return grads;
  }
  at::Tensor& Value(const std::string& name) {
    for (Parameter& parameter : model_->parameters()) {
      if (parameter.name == name) return parameter.value;
    }
    ADD_FAILURE() << name;
    return model_->parameters().front().value;
  }

  std::shared_ptr<const Base> base_;
  std::unique_ptr<TrainableAdapter> model_;
  std::unique_ptr<FullEncoder> bert_;
  std::unique_ptr<JobDropout> dropout_;
  std::unique_ptr<Network> network_;
  TokenRows rows_;
};

TEST_F(FullEncoderTest, BeginsAsTheBaseWithANewHead) {
  const at::NoGradGuard no_grad;
  const auto encoder = base_->encoder(Precision::kFp32);
  ASSERT_TRUE(encoder.ok());
  const PackedBatch batch = PackRows(rows_, {0, 1, 2, 3, 4, 5}, at::kCPU);
  const Network evaluating(*bert_, *model_, {}, nullptr);
  at::Tensor ours = evaluating.Embed(batch), base = (*encoder)->Embed(batch, {});
  EXPECT_TRUE(at::allclose(ours, base, 1e-5, 1e-5));
  for (int64_t i = 0; i < 3; ++i) {
    ours = evaluating.Layer(i, ours, batch);
    base = (*encoder)->Layer(i, base, batch, {}, Lines::kTokens);
    if (i == 2) base = FirstTokens(base, batch);
    EXPECT_TRUE(at::allclose(ours, base, 1e-5, 1e-5)) << i;
  }
  EXPECT_TRUE(at::allclose(bert_->Pool(ours, {}), (*encoder)->Pool(base, {}), 1e-5, 1e-5));
  EXPECT_NEAR(model_->head().weight.std().item<double>(), 0.02, 0.008);
  EXPECT_EQ(model_->head().bias.abs().max().item<double>(), 0);
}

TEST_F(FullEncoderTest, TrainsEveryWeightAndDecaysMatricesAlone) {
  int64_t count = 0;
  for (const Parameter& parameter : model_->parameters()) {
    count += parameter.value.numel();
    const bool spared = absl::EndsWith(parameter.name, ".bias") || absl::StrContains(parameter.name, "LayerNorm");
    EXPECT_EQ(parameter.decay, !spared) << parameter.name;
    EXPECT_EQ(parameter.value.scalar_type(), at::kFloat) << parameter.name;
  }
  EXPECT_EQ(count, base_->parameters() + 2 * 32 + 2);
  EXPECT_EQ(model_->lowest_segment(), 0);
}

TEST_F(FullEncoderTest, SlicedEqualsWholeBitForBit) {
  SegmentedPass sliced = Pass({0, 1, 2, 3}, 0.25);
  // Three layers forward, the head, three layers backward.
  EXPECT_EQ(Slices(sliced), 3 + 1 + 3);
  const auto parts = TakeGradients();
  SegmentedPass whole = Pass({0, 1, 2, 3}, 0.25);
  ASSERT_TRUE(whole.RunWhole().ok());
  const auto all = TakeGradients();
  EXPECT_EQ(sliced.loss(), whole.loss());
  for (const auto& [name, gradient] : all) {
    EXPECT_TRUE(at::equal(parts.at(name), gradient)) << name;
    // A key's bias moves all scores of a query alike: softmax does not see it.
    if (absl::EndsWith(name, "key.bias")) continue;
    EXPECT_GT(gradient.abs().max().item<double>(), 0) << name;
  }
}

TEST_F(FullEncoderTest, GradientsEqualFiniteDifferences) {
  Make(0);
  {
    const at::NoGradGuard no_grad;
    Value("classifier.weight").copy_(at::randn({2, 32}) * 0.3);
  }
  const MicroBatch rows = {0, 1, 2, 3, 4, 5};
  SegmentedPass pass = Pass(rows, 1);
  Slices(pass);
  const auto grads = TakeGradients();
  const at::NoGradGuard no_grad;
  const PackedBatch batch = PackRows(rows_, rows, at::kCPU);
  const auto loss = [&] {
    return SumLoss(network_->Logits(batch), PickTargets(rows_, rows, Problem::kSingleLabel)).item<double>();
  };
  for (const Parameter& parameter : model_->parameters()) {
    testing::ExpectSlopes(parameter.name, parameter.value, grads.at(parameter.name), loss,
                          {.step = 1e-2, .absolute = 5e-3, .relative = 0.02});
  }
}

TEST_F(FullEncoderTest, ThePlainPathComputesWhatTheFusedDoes) {
  Make(0);
  const MicroBatch rows = {0, 1, 2, 3, 4};
  const PackedBatch batch = PackRows(rows_, rows, at::kCPU);
  const Network evaluating(*bert_, *model_, {}, nullptr);
  const auto gradients = [&](const std::function<at::Tensor(int64_t, const at::Tensor&)>& layer) {
    const at::AutoGradMode grad(true);
    torch::autograd::variable_list values;
    for (const Parameter& parameter : model_->parameters()) values.push_back(parameter.value);
    at::Tensor x = bert_->Embed(batch, {});
    for (int64_t i = 0; i < 3; ++i) x = layer(i, x);
    if (x.size(0) > batch.first.size(0)) x = FirstTokens(x, batch);
    return torch::autograd::grad({SumLoss(evaluating.Head(x), PickTargets(rows_, rows, Problem::kSingleLabel))},
                                 values);
  };
  const auto fused = gradients([&](int64_t i, const at::Tensor& x) { return evaluating.Layer(i, x, batch); });
  const auto plain =
      gradients([&](int64_t i, const at::Tensor& x) { return bert_->Layer(i, x, batch, {}, Lines::kTokens); });
  for (size_t i = 0; i < fused.size(); ++i) {
    EXPECT_TRUE(at::allclose(fused[i], plain[i], 1e-4, 1e-5)) << model_->parameters()[i].name;
  }
}

TEST_F(FullEncoderTest, ThePaddingRowStaysAsItIs) {
  rows_.ids[1][1] = static_cast<int32_t>(base_->config().pad_token_id);
  SegmentedPass pass = Pass({0, 1}, 1);
  Slices(pass);
  const auto grads = TakeGradients();
  const at::Tensor& words = grads.at("embeddings.word_embeddings.weight");
  EXPECT_EQ(words[base_->config().pad_token_id].abs().max().item<double>(), 0);
  EXPECT_GT(words[rows_.ids[1][0]].abs().max().item<double>(), 0);
  // Every text is of type 0.
  EXPECT_EQ(grads.at("embeddings.token_type_embeddings.weight")[1].abs().max().item<double>(), 0);
}

TEST_F(FullEncoderTest, AStepIsSeenByTheNextForward) {
  const at::NoGradGuard no_grad;
  const PackedBatch batch = PackRows(rows_, {0, 1}, at::kCPU);
  const Network evaluating(*bert_, *model_, {}, nullptr);
  const at::Tensor before = evaluating.Logits(batch);
  Value("encoder.layer.1.attention.self.key.weight").mul_(1.5);
  EXPECT_FALSE(at::equal(before, evaluating.Logits(batch)));
}

TEST_F(FullEncoderTest, ABaseWithoutAPoolerGetsANewOne) {
  const std::filesystem::path folder = testing::FreshFolder("poolerless");
  testing::WriteTinyBase(folder, {});
  const auto file = formats::Safetensors::OpenModel(folder, {});
  ASSERT_TRUE(file.ok());
  std::vector<formats::TensorToWrite> kept;
  for (const auto& [name, view] : (*file)->tensors()) {
    if (!absl::StartsWith(name, "pooler.")) kept.push_back({name, view});
  }
  ASSERT_TRUE(formats::WriteSafetensors(folder / "less.safetensors", kept, {{"format", "pt"}}).ok());
  std::filesystem::rename(folder / "less.safetensors", folder / "model.safetensors");
  const auto base = Base::Load(folder, {});
  ASSERT_TRUE(base.ok()) << base.status();
  const auto one = CopyEncoder(**base, TwoLabels(), 1), same = CopyEncoder(**base, TwoLabels(), 1),
             other = CopyEncoder(**base, TwoLabels(), 2);
  ASSERT_TRUE(one.ok()) << one.status();
  const SavedModule& pooler = one->modules.at("pooler.dense");
  EXPECT_NEAR(pooler.weight.std().item<double>(), 0.02, 0.004);
  EXPECT_EQ(pooler.bias.abs().max().item<double>(), 0);
  EXPECT_TRUE(at::equal(pooler.weight, same->modules.at("pooler.dense").weight));
  EXPECT_FALSE(at::equal(pooler.weight, other->modules.at("pooler.dense").weight));
}

}  // namespace
}  // namespace tenon::engine
