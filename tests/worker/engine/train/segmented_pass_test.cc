#include "worker/engine/train/segmented_pass.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/allclose.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/randn.h>
#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>

#include <functional>
#include <numeric>

#include "common/formats/status.h"
#include "tests/worker/engine/tiny_base.h"
#include "tests/worker/engine/train/finite_differences.h"
#include "tests/worker/engine/train/pass_check.h"
#include "tests/worker/engine/train/toy_run.h"
#include "worker/engine/train/network.h"

namespace tenon::engine {
namespace {

using testing::Slices;

// A network on a tiny base whose adapter is not the zero it starts as.
class PassTest : public ::testing::Test {
 protected:
  void SetUp() override { Make({"query", "value"}, 0.1); }

  void Make(const std::vector<std::string>& targets, double dropout, const std::string& regex = "",
            Precision precision = Precision::kFp32, const std::vector<std::string>& saved = {}) {
    base_ = testing::MakeToyBase(dropout);
    encoder_ = *base_->encoder(precision);
    TrainOptions options = testing::ToyOptions();
    options.lora.target_modules = targets;
    options.lora.target_regex = regex;
    options.lora.dropout = dropout;
    options.lora.modules_to_save = saved;
    MakeOf(options, dropout);
  }

  void MakePrompt(double dropout, Precision precision = Precision::kFp32) {
    base_ = testing::MakeToyBase(dropout);
    encoder_ = *base_->encoder(precision);
    TrainOptions options = testing::ToyOptions();
    options.method = Method::kPromptTuning;
    options.prompt.num_virtual_tokens = 5;
    MakeOf(options, dropout);
  }

  void MakeBottleneck(const std::string& layout, double dropout, Precision precision = Precision::kFp32) {
    base_ = testing::MakeToyBase(dropout);
    encoder_ = *base_->encoder(precision);
    TrainOptions options = testing::ToyOptions();
    options.method = Method::kBottleneck;
    options.bottleneck = formats::LayoutConfig(*formats::ParseLayout(layout));
    options.bottleneck.reduction_factor = 8;
    // Smooth and not steep, so that differences of the loss tell its slope.
    if (options.bottleneck.non_linearity == "relu") options.bottleneck.non_linearity = "gelu";
    if (options.bottleneck.parallel) options.bottleneck.scaling = 0.5;
    options.bottleneck.dropout = dropout;
    MakeOf(options, dropout);
  }

  void MakeOf(const TrainOptions& options, double dropout) {
    formats::TenonConfig config;
    config.labels = {"a", "b"};
    auto adapter = TrainableAdapter::Make(*encoder_, options, config, nullptr);
    ASSERT_TRUE(adapter.ok()) << adapter.status();
    adapter_ = std::make_unique<TrainableAdapter>(*std::move(adapter));
    const at::NoGradGuard no_grad;
    for (Parameter& parameter : adapter_->parameters()) {
      parameter.value.copy_(at::randn(parameter.value.sizes()) * 0.2);
    }
    dropout_ = std::make_unique<JobDropout>(7, at::Device(at::kCPU));
    const DropoutRates rates{dropout, dropout, dropout};
    network_ = std::make_unique<Network>(*encoder_, *adapter_, rates, dropout_.get());
    rows_.ids.clear();
    rows_.labels.clear();
    rows_.second_types.clear();
    for (int64_t i = 0; i < 8; ++i) {  // ragged
      rows_.ids.push_back(base_->tokenizer().Encode(testing::TinyText(static_cast<uint64_t>(i), 1 + 3 * i), 64).ids);
      rows_.second_types.push_back(kNoPlace);
      rows_.labels.push_back({i % 2});
    }
  }

  PackedBatch Packed(const MicroBatch& rows) {
    return PackRows(rows_, rows, encoder_->device(), adapter_->adapter().virtual_tokens());
  }
  SegmentedPass Pass(const MicroBatch& rows, double scale, int64_t micro_batch) {
    return SegmentedPass(network_->Pass(Packed(rows), PickTargets(rows_, rows, Problem::kSingleLabel)), *adapter_,
                         *dropout_, scale, micro_batch);
  }
  std::vector<at::Tensor> TakeGradients() { return testing::TakeGradients(adapter_->parameters()); }
  void ExpectSlicedEqualsWhole() {
    testing::ExpectSlicedEqualsWhole(adapter_->parameters(), [this] { return Pass({0, 1, 2, 3}, 0.25, 5); });
  }

  // Gradients by differences of the loss, every parameter, a few elements each.
  void ExpectFiniteDifferences() {
    const MicroBatch rows = {0, 1, 2, 3, 4, 5};
    SegmentedPass pass = Pass(rows, 1, 0);
    Slices(pass);
    const std::vector<at::Tensor> grads = TakeGradients();
    const auto loss = [&] {
      const at::NoGradGuard no_grad;
      return SumLoss(network_->Logits(Packed(rows)), PickTargets(rows_, rows, Problem::kSingleLabel)).item<double>();
    };
    for (size_t i = 0; i < grads.size(); ++i) {
      const Parameter& parameter = adapter_->parameters()[i];
      testing::ExpectSlopes(parameter.name, parameter.value, grads[i], loss, {.step = 1e-2, .absolute = 5e-3});
    }
  }
  // Logits and gradients by the operators that other devices use.
  void ExpectPlainEqualsFused() {
    const PackedBatch batch = Packed({0, 1, 2, 3});
    const Targets targets = PickTargets(rows_, {0, 1, 2, 3}, Problem::kSingleLabel);
    ForwardHooks hooks;
    hooks.linear = adapter_->Hook(nullptr);
    hooks.prompts = adapter_->Prompts();
    hooks.blocks = adapter_->Blocks(nullptr);
    hooks.has_block = [this](const std::string& module) { return adapter_->HasBlock(module); };
    const auto gradients = [&](const std::function<at::Tensor()>& logits) {
      const at::AutoGradMode grad(true);
      torch::autograd::variable_list values;
      for (const Parameter& parameter : adapter_->parameters()) values.push_back(parameter.value);
      return torch::autograd::grad({SumLoss(logits(), targets)}, values);
    };
    const Network evaluating(*encoder_, *adapter_, {}, nullptr);
    const auto fused = gradients([&] {
      at::Tensor x = evaluating.Embed(batch);
      for (int64_t i = 0; i < 3; ++i) x = evaluating.Layer(i, x, batch);
      return evaluating.Head(x);
    });
    const auto plain = gradients([&] {
      at::Tensor x = encoder_->Embed(batch, hooks);
      for (int64_t i = 0; i < 3; ++i) x = encoder_->Layer(i, x, batch, hooks, Lines::kTokens);
      return at::linear(encoder_->Pool(FirstTokens(x, batch), hooks), adapter_->head().weight, adapter_->head().bias);
    });
    for (size_t i = 0; i < fused.size(); ++i) {
      EXPECT_TRUE(at::allclose(fused[i], plain[i], 1e-4, 1e-5)) << adapter_->parameters()[i].name;
    }
  }

  std::shared_ptr<const Base> base_;
  std::shared_ptr<const Encoder> encoder_;
  std::unique_ptr<TrainableAdapter> adapter_;
  std::unique_ptr<JobDropout> dropout_;
  std::unique_ptr<Network> network_;
  TokenRows rows_;
};

TEST_F(PassTest, SlicedEqualsWholeBitForBit) { ExpectSlicedEqualsWhole(); }

TEST_F(PassTest, SlicedEqualsWholeInBf16) {
  Make({"query", "value"}, 0.1, "", Precision::kBf16);
  ExpectSlicedEqualsWhole();
}

TEST_F(PassTest, SlicedEqualsWholeOnEveryLinearLayer) {
  Make({"query", "key", "value", "dense"}, 0.1);
  EXPECT_EQ(adapter_->adapter().pairs.count("pooler.dense"), 1u);
  ExpectSlicedEqualsWhole();
}

TEST_F(PassTest, NothingIsDoneBelowTheLowestAdapter) {
  Make({}, 0.1, ".*layer\\.1\\..*query");
  EXPECT_EQ(adapter_->lowest_segment(), 1);
  ExpectSlicedEqualsWhole();
  // Three layers forward, the head, two layers backward.
  SegmentedPass pass = Pass({0, 1}, 0.5, 0);
  EXPECT_EQ(Slices(pass), 3 + 1 + 2);
}

TEST_F(PassTest, SavedModulesAreTrainedWhole) {
  Make({"2.attention.self.query"}, 0.1, "", Precision::kFp32, {"pooler", "layer.1.attention.output.dense"});
  EXPECT_EQ(adapter_->adapter().modules.size(), 3u);
  EXPECT_EQ(adapter_->lowest_segment(), 1);
  EXPECT_EQ(adapter_->adapter().lora.modules_to_save,
            (std::vector<std::string>{"classifier", "score", "pooler", "layer.1.attention.output.dense"}));
  ExpectSlicedEqualsWhole();
}

TEST_F(PassTest, ASavedModuleStartsAsTheBases) {
  formats::TenonConfig config;
  config.labels = {"a", "b"};
  TrainOptions options = testing::ToyOptions();
  options.lora.modules_to_save = {"0.attention.self.key", "pooler.dense", "0.attention.self.query"};
  options.lora.target_modules = {"query", "value"};
  auto fresh = TrainableAdapter::Make(*encoder_, options, config, nullptr);
  ASSERT_TRUE(fresh.ok()) << fresh.status();
  EXPECT_EQ(fresh->adapter().pairs.count("encoder.layer.0.attention.self.query"), 0u);  // not both
  Network with(*encoder_, *fresh, {}, nullptr);
  const PackedBatch batch = PackRows(rows_, {0, 1, 5}, encoder_->device());
  options.lora.modules_to_save.clear();
  auto plain = TrainableAdapter::Make(*encoder_, options, config, nullptr);
  ASSERT_TRUE(plain.ok());
  const at::NoGradGuard no_grad;
  for (Parameter& parameter : fresh->parameters()) {  // the same head
    if (parameter.name == "classifier.weight") parameter.value.copy_(plain->head().weight);
  }
  EXPECT_TRUE(at::allclose(with.Logits(batch), Network(*encoder_, *plain, {}, nullptr).Logits(batch), 1e-5, 1e-6));
}

TEST_F(PassTest, OtherMicroBatchOtherMasks) {
  SegmentedPass one = Pass({0, 1, 2}, 1, 1), two = Pass({0, 1, 2}, 1, 2), again = Pass({0, 1, 2}, 1, 1);
  Slices(one);
  Slices(two);
  Slices(again);
  EXPECT_NE(one.loss(), two.loss());
  EXPECT_EQ(one.loss(), again.loss());
}

TEST_F(PassTest, GradientsEqualFiniteDifferences) {
  Make({"query", "value", "dense"}, 0);
  ExpectFiniteDifferences();
}

TEST_F(PassTest, APromptIsReachedThroughEveryLayer) {
  MakePrompt(0);
  EXPECT_EQ(adapter_->lowest_segment(), 0);
  ASSERT_EQ(adapter_->parameters().size(), 3u);
  EXPECT_EQ(adapter_->parameters()[0].name, "prompt_embeddings");
  ExpectFiniteDifferences();
  MakePrompt(0.1);
  ExpectSlicedEqualsWhole();
  // Three layers forward, the head, three layers backward.
  SegmentedPass pass = Pass({0, 1}, 0.5, 0);
  EXPECT_EQ(Slices(pass), 3 + 1 + 3);
  MakePrompt(0.1, Precision::kBf16);
  ExpectSlicedEqualsWhole();
}

TEST_F(PassTest, BottlenecksOfEveryLayout) {
  for (const char* layout : {"seq_bn", "double_seq_bn", "par_bn"}) {
    SCOPED_TRACE(layout);
    MakeBottleneck(layout, 0);
    EXPECT_EQ(adapter_->lowest_segment(), 0);
    EXPECT_EQ(adapter_->parameters().size(), (std::string(layout) == "double_seq_bn" ? 6u : 3u) * 4 + 2);
    ExpectFiniteDifferences();
    ExpectPlainEqualsFused();
    MakeBottleneck(layout, 0.1);
    ExpectSlicedEqualsWhole();
    MakeBottleneck(layout, 0.1, Precision::kBf16);
    ExpectSlicedEqualsWhole();
  }
}

TEST_F(PassTest, ThePlainPathComputesWhatTheFusedDoes) {
  MakePrompt(0);
  ExpectPlainEqualsFused();
  Make({"query", "value", "dense"}, 0);
  ExpectPlainEqualsFused();
}

TEST_F(PassTest, APromptBeginsAsItsOptionsSay) {
  TrainOptions options = testing::ToyOptions();
  options.method = Method::kPromptTuning;
  options.prompt.num_virtual_tokens = 5;
  formats::TenonConfig config;
  config.labels = {"a", "b"};
  const auto made = [&](formats::PromptInit init, uint64_t seed) {
    options.prompt.init = init;
    options.seed = seed;
    return TrainableAdapter::Make(*encoder_, options, config, nullptr, {7, 9})->adapter().prompt_embeddings.detach();
  };
  const at::Tensor random = made(formats::PromptInit::kRandom, 1);
  EXPECT_NEAR(random.std().item<double>(), 1, 0.2);
  EXPECT_FALSE(at::equal(random, made(formats::PromptInit::kRandom, 2)));
  // A text's embeddings, over again until there are enough.
  EXPECT_TRUE(at::equal(made(formats::PromptInit::kText, 1), encoder_->CopyWords({7, 9, 7, 9, 7})));
  options.prompt.init = formats::PromptInit::kText;
  const absl::Status nothing = TrainableAdapter::Make(*encoder_, options, config, nullptr, {}).status();
  EXPECT_EQ(GetReason(nothing), Reason::kOptionInvalid) << "a text of characters that the vocabulary lacks";
  EXPECT_EQ(GetField(nothing), "init_text");
  const at::Tensor words = made(formats::PromptInit::kVocabulary, 1);
  EXPECT_TRUE(at::equal(words, made(formats::PromptInit::kVocabulary, 1)));
  EXPECT_FALSE(at::equal(words, made(formats::PromptInit::kVocabulary, 2)));
  std::vector<int64_t> all(static_cast<size_t>(encoder_->config().vocab_size));
  std::iota(all.begin(), all.end(), 0);
  const at::Tensor vocabulary = encoder_->CopyWords(all);
  for (int64_t i = 0; i < 5; ++i) {
    EXPECT_EQ((vocabulary - words[i]).abs().sum(1).min().item<double>(), 0) << i;
  }
}

TEST_F(PassTest, AccumulationDoesNotChangeTheGradient) {
  Make({"query", "value"}, 0);
  SegmentedPass together = Pass({0, 1, 2, 3, 4, 5, 6, 7}, 1.0 / 8, 0);
  Slices(together);
  const std::vector<at::Tensor> whole = TakeGradients();
  double loss = 0;
  for (int64_t row = 0; row < 8; ++row) {
    SegmentedPass one = Pass({row}, 1.0 / 8, row);
    Slices(one);
    loss += one.loss();
  }
  const std::vector<at::Tensor> parts = TakeGradients();
  EXPECT_NEAR(loss, together.loss(), 1e-5);
  for (size_t i = 0; i < whole.size(); ++i) {
    EXPECT_LT((whole[i] - parts[i]).abs().max().item<double>(), 1e-5) << adapter_->parameters()[i].name;
  }
}

TEST_F(PassTest, InfiniteWeightsAreReported) {
  const at::NoGradGuard no_grad;
  adapter_->parameters().back().value.fill_(NAN);
  SegmentedPass pass = Pass({0, 1}, 0.5, 0);
  absl::Status status;
  for (int i = 0; i < 10 && status.ok(); ++i) status = pass.Advance().status();
  EXPECT_EQ(GetReason(status), Reason::kLossNotFinite);
}

TEST_F(PassTest, NewAdapterChangesNothing) {
  formats::TenonConfig config;
  config.labels = {"a", "b"};
  TrainOptions options = testing::ToyOptions();
  auto fresh = TrainableAdapter::Make(*encoder_, options, config, nullptr);
  ASSERT_TRUE(fresh.ok());
  const LinearHook hook = fresh->Hook(nullptr);
  const at::Tensor x = at::randn({5, 32}), y = at::randn({5, 32});
  EXPECT_TRUE(at::equal(hook("encoder.layer.0.attention.self.query", x, y, Lines::kTokens), y));
  const at::Tensor& a = fresh->adapter().pairs.at("encoder.layer.0.attention.self.query").a;
  EXPECT_LE(a.abs().max().item<double>(), 1 / std::sqrt(32.0));
  EXPECT_GT(a.abs().max().item<double>(), 0.8 / std::sqrt(32.0));
  EXPECT_NEAR(fresh->head().weight.std().item<double>(), 0.02, 0.008);
  EXPECT_EQ(fresh->head().bias.abs().max().item<double>(), 0);
}

}  // namespace
}  // namespace tenon::engine
