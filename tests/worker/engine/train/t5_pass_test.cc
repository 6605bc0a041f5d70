// The way of pairs through a T5: cut and whole, fused and plain, against differences of the loss.
#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/allclose.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/randn.h>
#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>

#include <cmath>
#include <string>
#include <vector>

#include "common/formats/status.h"
#include "tests/worker/engine/train/finite_differences.h"
#include "tests/worker/engine/train/pass_check.h"
#include "tests/worker/engine/train/toy_run.h"
#include "worker/engine/train/segmented_pass.h"
#include "worker/engine/train/seq2seq_task.h"

namespace tenon::engine {
namespace {

using testing::Slices;

class T5PassTest : public ::testing::Test {
 protected:
  struct Choice {
    bool flan = true;
    double dropout = 0;
    std::vector<std::string> targets = {"q", "v"};
    std::string regex;
    std::vector<std::string> saved;
    Precision precision = Precision::kFp32;
    Method method = Method::kLora;
    std::string layout = "seq_bn";
  };

  void Make(const Choice& choice) {
    base_ = testing::MakeToyT5(choice.flan);
    model_ = *base_->t5(choice.precision);
    options_ = testing::ToyT5Options();
    options_.lora.target_modules = choice.targets;
    options_.lora.target_regex = choice.regex;
    options_.lora.modules_to_save = choice.saved;
    options_.lora.dropout = choice.dropout;
    options_.base_dropout = choice.dropout;
    options_.method = choice.method;
    options_.prompt.num_virtual_tokens = 5;
    options_.bottleneck = formats::LayoutConfig(*formats::ParseLayout(choice.layout));
    options_.bottleneck.reduction_factor = 8;
    options_.bottleneck.dropout = choice.dropout;
    // Smooth and not steep, so that differences of the loss tell its slope.
    if (options_.bottleneck.non_linearity == "relu") options_.bottleneck.non_linearity = "gelu";
    if (options_.bottleneck.parallel) options_.bottleneck.scaling = 0.5;
    auto adapter = TrainableAdapter::Make(*model_, options_, {}, nullptr);
    ASSERT_TRUE(adapter.ok()) << adapter.status();
    data_ = *TokenizePairs(testing::ToyPairs(12, 7), base_->tokenizer(), 64, 16, [] { return false; });
    task_ = std::make_unique<Seq2SeqTask>(model_, options_, data_, *std::move(adapter));
    const at::NoGradGuard no_grad;
    for (Parameter& parameter : parameters()) {
      const double size = std::sqrt(static_cast<double>(parameter.value.sizes().back()));
      parameter.value.add_(at::randn(parameter.value.sizes()) * (0.3 / size));
    }
  }

  std::vector<Parameter>& parameters() { return task_->adapter().parameters(); }
  SegmentedPass Pass(const MicroBatch& rows, double scale, int64_t micro_batch) {
    return SegmentedPass(task_->Pass(rows), task_->adapter(), task_->dropout(), scale, micro_batch);
  }
  std::vector<at::Tensor> TakeGradients() { return testing::TakeGradients(parameters()); }
  void ExpectSlicedEqualsWhole() {
    testing::ExpectSlicedEqualsWhole(parameters(), [this] { return Pass({0, 1, 5, 8}, 0.25, 5); });
  }
  // By differences of the validation's loss, which takes no way through autograd.
  void ExpectFiniteDifferences() {
    MicroBatch rows;
    for (int64_t row = 0; row < data_->validation.size(); ++row) rows.push_back(row);
    auto swapped = std::make_shared<PairData>(PairData{data_->validation, data_->validation});
    int64_t tokens = 0;
    for (const auto& target : swapped->train.targets) tokens += static_cast<int64_t>(target.size());
    auto adapter = TrainableAdapter::Make(*model_, options_, {}, nullptr);
    ASSERT_TRUE(adapter.ok());
    {
      const at::NoGradGuard no_grad;
      for (size_t i = 0; i < parameters().size(); ++i) adapter->parameters()[i].value.copy_(parameters()[i].value);
    }
    Seq2SeqTask task(model_, options_, swapped, *std::move(adapter));
    SegmentedPass pass(task.Pass(rows), task.adapter(), task.dropout(), 1.0 / static_cast<double>(tokens), 0);
    Slices(pass);
    const auto loss = [&] {
      for (;;) {
        if (const auto metrics = task.EvaluationSlice()) return metrics->at("loss");
      }
    };
    EXPECT_NEAR(pass.loss(), loss(), 1e-4);
    // Scores are not scaled: their curves are sharp, and the step is small.
    for (const Parameter& parameter : task.adapter().parameters()) {
      testing::ExpectSlopes(parameter.name, parameter.value, parameter.grad, loss,
                            {.step = 2e-3, .absolute = 4e-3, .relative = 0.03});
    }
  }

  std::shared_ptr<const Base> base_;
  std::shared_ptr<const T5Model> model_;
  TrainOptions options_;
  std::shared_ptr<const PairData> data_;
  std::unique_ptr<Seq2SeqTask> task_;
};

TEST_F(T5PassTest, SlicedEqualsWholeBitForBit) {
  for (const bool flan : {false, true}) {
    SCOPED_TRACE(flan);
    Make({.flan = flan, .dropout = 0.1});
    EXPECT_EQ(task_->adapter().lowest_segment(), 0);
    ExpectSlicedEqualsWhole();
    // Two layers of each stack forward, the loss, and all of them backward.
    SegmentedPass pass = Pass({0, 1}, 0.5, 0);
    EXPECT_EQ(Slices(pass), 4 + 1 + 4);
    TakeGradients();
    Make({.flan = flan, .dropout = 0.1, .precision = Precision::kBf16});
    ExpectSlicedEqualsWhole();
  }
}

TEST_F(T5PassTest, EveryLinearLayerAndTheOutput) {
  Make({.dropout = 0.1, .targets = {"q", "k", "v", "o", "wi_0", "wi_1", "wo", "lm_head"}});
  EXPECT_EQ(task_->adapter().adapter().pairs.size(), 2u * 7 + 2u * 11 + 1);
  ExpectSlicedEqualsWhole();
  Make({.flan = false, .dropout = 0.1, .targets = {"q", "k", "v", "o", "wi", "wo"}});
  ExpectSlicedEqualsWhole();
}

TEST_F(T5PassTest, SavedModulesAreTrainedWhole) {
  Make({.dropout = 0.1, .saved = {"decoder.block.1.layer.1.EncDecAttention.k", "wi_1", "lm_head"}});
  EXPECT_EQ(task_->adapter().adapter().modules.size(), 1u + 4 + 1);
  ExpectSlicedEqualsWhole();
}

TEST_F(T5PassTest, NothingIsDoneBelowTheLowestAdapter) {
  // In the encoder's last layer: its gradient comes through every decoder layer.
  Make({.dropout = 0.1, .regex = "encoder.*block\\.1.*\\.q"});
  EXPECT_EQ(task_->adapter().lowest_segment(), 1);
  ExpectSlicedEqualsWhole();
  SegmentedPass upper = Pass({0, 1}, 0.5, 0);
  EXPECT_EQ(Slices(upper), 4 + 1 + 3);
  TakeGradients();
  // In the decoder: the encoder is never differentiated.
  Make({.dropout = 0.1, .regex = "decoder.*EncDecAttention\\.[kv]"});
  EXPECT_EQ(task_->adapter().lowest_segment(), 2);
  ExpectSlicedEqualsWhole();
  SegmentedPass decoder = Pass({0, 1}, 0.5, 0);
  EXPECT_EQ(Slices(decoder), 4 + 1 + 2);
  TakeGradients();
  Make({.dropout = 0.1, .regex = "lm_head"});
  ExpectSlicedEqualsWhole();
  SegmentedPass output = Pass({0, 1}, 0.5, 0);
  EXPECT_EQ(Slices(output), 4 + 1);
}

TEST_F(T5PassTest, GradientsEqualFiniteDifferences) {
  Make({.flan = false, .targets = {"q", "k", "v", "o", "wi", "wo"}});
  ExpectFiniteDifferences();
  Make({.targets = {"q", "k", "v", "o", "wi_0", "wi_1", "wo", "lm_head"}});
  ExpectFiniteDifferences();
}

// The two ways through a layer, on the same machine.
TEST_F(T5PassTest, ThePlainPathComputesWhatTheFusedDoes) {
  const std::vector<Choice> choices = {{.flan = false, .targets = {"q", "k", "v", "o", "wi", "wo"}},
                                       {.targets = {"q", "k", "v", "o", "wi_0", "wo"}, .saved = {"wi_1"}},
                                       {.method = Method::kPromptTuning},
                                       {.method = Method::kBottleneck, .layout = "double_seq_bn"},
                                       {.method = Method::kBottleneck, .layout = "par_bn"}};
  for (size_t choice = 0; choice < choices.size(); ++choice) {
    SCOPED_TRACE(choice);
    Make(choices[choice]);
    ForwardHooks hooks = task_->adapter().Hooks(nullptr, model_->device());
    const T5Training fused(*model_, hooks);
    hooks.fused = nullptr;
    const T5Training plain(*model_, hooks);
    const std::vector<int32_t> one = {5, 9, 7, 1}, two = {11, 1}, three = {8, 8, 21, 13, 12, 19, 4, 4, 1};
    const std::vector<int64_t> next = {6, 7, 1, 20, 1, 9, 9, 9, 9, 1};
    const std::vector<int32_t> first = {0, 6, 7}, second = {0, 20}, third = {0, 9, 9, 9, 9};
    const int64_t virtual_tokens = task_->adapter().adapter().virtual_tokens();
    const auto gradients = [&](const T5Training& training) {
      const T5Rows sources = training.Sources({&one, &two, &three}, virtual_tokens);
      const T5Rows targets = training.Targets({&first, &second, &third});
      at::Tensor x = training.EmbedSources(sources);
      for (int64_t i = 0; i < 2; ++i) x = training.EncoderLayer(i, x, sources);
      const at::Tensor source = x;
      x = training.EmbedTargets(targets);
      for (int64_t i = 0; i < 2; ++i) x = training.DecoderLayer(i, x, targets, source, sources);
      torch::autograd::variable_list wanted;
      for (const Parameter& parameter : parameters()) wanted.push_back(parameter.value);
      const at::Tensor loss = training.Loss(x, next);
      auto grads = torch::autograd::grad({loss}, wanted);
      grads.push_back(loss.detach());
      const at::NoGradGuard no_grad;
      const TokenScores scores = training.Score(x, next);
      EXPECT_NEAR(scores.loss, loss.item<double>(), 1e-4 * scores.loss);
      return grads;
    };
    const auto a = gradients(fused), b = gradients(plain);
    for (size_t i = 0; i < a.size(); ++i) {
      const double size = b[i].abs().max().item<double>();
      EXPECT_LT((a[i] - b[i]).abs().max().item<double>(), 1e-3 * size + 1e-5)
          << (i < parameters().size() ? parameters()[i].name : "loss");
    }
  }
}

TEST_F(T5PassTest, APromptIsReachedThroughBothStacks) {
  Make({.method = Method::kPromptTuning});
  ASSERT_EQ(parameters().size(), 1u);
  EXPECT_EQ(parameters()[0].name, "prompt_embeddings");
  EXPECT_EQ(task_->adapter().lowest_segment(), 0);
  EXPECT_EQ(task_->adapter().adapter().prompt.task_type, "SEQ_2_SEQ_LM");
  EXPECT_EQ(formats::PromptRows(task_->adapter().adapter().prompt), 5);
  ExpectFiniteDifferences();
  for (const Precision precision : {Precision::kFp32, Precision::kBf16}) {
    Make({.dropout = 0.1, .precision = precision, .method = Method::kPromptTuning});
    ExpectSlicedEqualsWhole();
  }
}

TEST_F(T5PassTest, BottlenecksOfEveryLayout) {
  for (const char* layout : {"seq_bn", "double_seq_bn", "par_bn"}) {
    SCOPED_TRACE(layout);
    Make({.method = Method::kBottleneck, .layout = layout});
    EXPECT_EQ(task_->adapter().adapter().bottleneck.model_type, "t5");
    const size_t blocks = std::string(layout) == "double_seq_bn" ? 8 : 4;
    EXPECT_EQ(parameters().size(), blocks * 4);
    EXPECT_EQ(task_->adapter().lowest_segment(), 0);
    ExpectFiniteDifferences();
    for (const Precision precision : {Precision::kFp32, Precision::kBf16}) {
      Make({.dropout = 0.1, .precision = precision, .method = Method::kBottleneck, .layout = layout});
      ExpectSlicedEqualsWhole();
    }
  }
}

TEST_F(T5PassTest, OtherMicroBatchOtherMasks) {
  Make({.dropout = 0.2});
  SegmentedPass one = Pass({0, 1, 2}, 1, 1), two = Pass({0, 1, 2}, 1, 2), again = Pass({0, 1, 2}, 1, 1);
  Slices(one);
  Slices(two);
  Slices(again);
  EXPECT_NE(one.loss(), two.loss());
  EXPECT_EQ(one.loss(), again.loss());
}

// Target tokens count, in whatever micro-batch they stand; rows do not.
TEST_F(T5PassTest, AccumulationIsOneLargeBatchByToken) {
  Make({});
  MicroBatch rows;
  for (int64_t row = 0; row < 12; ++row) rows.push_back(row);
  const double scale = 1 / static_cast<double>(task_->Terms(rows));
  EXPECT_EQ(task_->Terms(rows), 6 * (4 + 6));  // "up" and "down", each with its space and its end
  SegmentedPass together = Pass(rows, scale, 0);
  Slices(together);
  const std::vector<at::Tensor> whole = TakeGradients();
  double loss = 0;
  for (const MicroBatch& part :
       {MicroBatch{0}, MicroBatch{1, 2, 3}, MicroBatch{4, 5}, MicroBatch{6, 7, 8, 9, 10, 11}}) {
    SegmentedPass one = Pass(part, scale, 0);
    Slices(one);
    loss += one.loss();
  }
  const std::vector<at::Tensor> parts = TakeGradients();
  EXPECT_NEAR(loss, together.loss(), 1e-5 * loss);
  for (size_t i = 0; i < whole.size(); ++i) {
    EXPECT_LT((whole[i] - parts[i]).abs().max().item<double>(), 1e-4) << parameters()[i].name;
  }
}

// The loss is cut into parts, and so are its slices.
TEST_F(T5PassTest, ManyTargetTokensAreSeveralSlices) {
  Make({.dropout = 0.1});
  MicroBatch rows;
  for (int64_t i = 0; i < 60; ++i) rows.push_back(i % 12);  // 300 tokens
  SegmentedPass pass = Pass(rows, 1, 0);
  EXPECT_EQ(Slices(pass), 4 + 2 + 4);
  const double sliced = pass.loss();
  const std::vector<at::Tensor> parts = TakeGradients();
  SegmentedPass whole = Pass(rows, 1, 0);
  ASSERT_TRUE(whole.RunWhole().ok());
  EXPECT_EQ(sliced, whole.loss());
  const std::vector<at::Tensor> all = TakeGradients();
  for (size_t i = 0; i < all.size(); ++i) EXPECT_TRUE(at::equal(parts[i], all[i])) << parameters()[i].name;
}

TEST_F(T5PassTest, WeightsThatAreNoNumbersAreReported) {
  Make({});
  {
    const at::NoGradGuard no_grad;
    parameters().back().value.fill_(NAN);
  }
  SegmentedPass pass = Pass({0, 1}, 0.5, 0);
  absl::Status status;
  for (int i = 0; i < 10 && status.ok(); ++i) status = pass.Advance().status();
  EXPECT_EQ(GetReason(status), Reason::kLossNotFinite);
}

TEST_F(T5PassTest, ANewAdapterIsPeftsForThisTask) {
  Make({});
  const AdapterTensors& adapter = task_->adapter().adapter();
  EXPECT_EQ(adapter.lora.task_type, "SEQ_2_SEQ_LM");
  EXPECT_TRUE(adapter.modules.empty());
  EXPECT_TRUE(adapter.lora.modules_to_save.empty());
  EXPECT_EQ(adapter.pairs.size(), 2u * 2 + 2u * 4);
  EXPECT_EQ(adapter.pairs.count("decoder.block.1.layer.1.EncDecAttention.v"), 1u);
}

TEST_F(T5PassTest, ASavedModuleStartsAsTheBases) {
  Make({});
  for (const auto& [module, shape] : model_->linear_layers()) {
    const at::Tensor copy = model_->CopyLinear(module);
    ASSERT_TRUE(copy.defined()) << module;
    EXPECT_EQ(copy.size(0), shape.first) << module;
    EXPECT_EQ(copy.size(1), shape.second) << module;
  }
  EXPECT_FALSE(model_->CopyLinear("encoder.block.9.layer.0.SelfAttention.q").defined());
  const T5DecoderLayer& layer = model_->decoder()[1];
  EXPECT_TRUE(at::equal(model_->CopyLinear("decoder.block.1.layer.1.EncDecAttention.v"),
                        layer.source.kv.linear().weight().narrow(0, 32, 32)));
  EXPECT_TRUE(at::equal(model_->CopyWords({3, 9, 3}), model_->CopyWords({3, 9, 3})));
  EXPECT_TRUE(at::equal(model_->CopyWords({9})[0], model_->embedding()[9]));
}

}  // namespace
}  // namespace tenon::engine
