// A whole T5 under training: what it begins as, and the gradients of every weight.
#include "worker/engine/train/full_t5.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/equal.h>
#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>

#include <cmath>
#include <cstring>
#include <set>

#include "absl/strings/match.h"
#include "common/formats/safetensors.h"
#include "tests/worker/engine/train/finite_differences.h"
#include "tests/worker/engine/train/pass_check.h"
#include "tests/worker/engine/train/toy_run.h"
#include "worker/engine/train/segmented_pass.h"
#include "worker/engine/train/seq2seq_task.h"

namespace tenon::engine {
namespace {

using testing::Slices;

class FullT5Test : public ::testing::TestWithParam<bool> {
 protected:
  // The parameter: FLAN's shape, whose output layer is its own, or T5's, whose embedding is both.
  bool flan() const { return GetParam(); }

  void Make(double dropout) {
    base_ = testing::MakeToyT5(flan());
    auto network = CopyT5(*base_);
    ASSERT_TRUE(network.ok()) << network.status();
    network_ = *std::move(network);
    auto model = TrainableAdapter::MakeWhole({.modules = T5Modules(*network_)}, *network_, nullptr);
    ASSERT_TRUE(model.ok()) << model.status();
    TrainOptions options = testing::ToyT5Options();
    options.method = Method::kFull;
    options.base_dropout = dropout;
    const auto pairs = *TokenizePairs(testing::ToyPairs(12, 0), base_->tokenizer(), 64, 16, [] { return false; });
    auto data = std::make_shared<PairData>(PairData{pairs->train, pairs->train});
    task_ = std::make_unique<Seq2SeqTask>(network_, options, data, *std::move(model));
  }

  std::vector<Parameter>& parameters() { return task_->adapter().parameters(); }
  SegmentedPass Pass(const MicroBatch& rows, double scale) {
    return SegmentedPass(task_->Pass(rows), task_->adapter(), task_->dropout(), scale, 3);
  }
  std::vector<at::Tensor> TakeGradients() { return testing::TakeGradients(parameters()); }
  // Of all rows, by target token; without autograd.
  double Loss() {
    for (;;) {
      if (const auto metrics = task_->EvaluationSlice()) return metrics->at("loss");
    }
  }

  std::shared_ptr<const Base> base_;
  std::shared_ptr<const T5Model> network_;
  std::unique_ptr<Seq2SeqTask> task_;
};

INSTANTIATE_TEST_SUITE_P(Shapes, FullT5Test, ::testing::Bool(),
                         [](const auto& test) { return test.param ? "Flan" : "Tied"; });

TEST_P(FullT5Test, BeginsAsTheBaseUnderTheFilesNames) {
  Make(0);
  const NamedTensors tensors = T5Tensors(T5Modules(*network_));
  std::set<std::string> names;
  for (const auto& [name, view] : base_->weights().tensors()) {
    names.insert(name);
    ASSERT_EQ(tensors.count(name), 1u) << name;
    const at::Tensor& tensor = tensors.at(name);
    ASSERT_EQ(tensor.sizes().vec(), view.shape) << name;
    EXPECT_EQ(std::memcmp(tensor.const_data_ptr(), view.data, static_cast<size_t>(view.size_bytes)), 0) << name;
  }
  EXPECT_EQ(tensors.size(), names.size());
  EXPECT_EQ(names.count("lm_head.weight"), flan() ? 1u : 0u);
}

TEST_P(FullT5Test, TrainsEveryWeightAndDecaysMatricesAlone) {
  Make(0.1);
  int64_t count = 0;
  for (const Parameter& parameter : parameters()) {
    count += parameter.value.numel();
    const bool spared =
        absl::StrContains(parameter.name, "layer_norm") || absl::StrContains(parameter.name, "relative_attention_bias");
    EXPECT_EQ(parameter.decay, !spared) << parameter.name;
    EXPECT_EQ(parameter.value.scalar_type(), at::kFloat) << parameter.name;
  }
  EXPECT_EQ(count, base_->parameters());
  EXPECT_EQ(task_->adapter().lowest_segment(), 0);
  EXPECT_FALSE((*base_->t5(Precision::kFp32))->embedding().requires_grad()) << "the base serves on";
}

TEST_P(FullT5Test, SlicedEqualsWhole) {
  Make(0.1);
  SegmentedPass sliced = Pass({0, 1, 5, 8}, 0.25);
  EXPECT_EQ(Slices(sliced), 4 + 1 + 4);
  const auto parts = TakeGradients();
  SegmentedPass whole = Pass({0, 1, 5, 8}, 0.25);
  ASSERT_TRUE(whole.RunWhole().ok());
  const auto all = TakeGradients();
  EXPECT_EQ(sliced.loss(), whole.loss());
  for (size_t i = 0; i < all.size(); ++i) {
    const double size = all[i].abs().max().item<double>();
    EXPECT_GT(size, 0) << parameters()[i].name;
    // What several segments read is added up in another order.
    if (parameters()[i].segments.size() > 1) {
      EXPECT_LT((parts[i] - all[i]).abs().max().item<double>(), 1e-5 * size) << parameters()[i].name;
    } else {
      EXPECT_TRUE(at::equal(parts[i], all[i])) << parameters()[i].name;
    }
  }
}

// Autograd's own, through plain operators alone.
TEST_P(FullT5Test, GradientsEqualPlainAutograds) {
  Make(0);
  ForwardHooks hooks = task_->adapter().Hooks(nullptr, network_->device());
  const T5Training fused(*network_, hooks);
  hooks.fused = nullptr;
  const T5Training plain(*network_, hooks);
  const std::vector<int32_t> one = {5, 9, 7, 1}, two = {11, 1}, three = {8, 8, 21, 13, 12, 19, 4, 4, 1};
  const std::vector<int64_t> next = {6, 7, 1, 20, 1, 9, 9, 9, 9, 1};
  const std::vector<int32_t> first = {0, 6, 7}, second = {0, 20}, third = {0, 9, 9, 9, 9};
  const auto gradients = [&](const T5Training& training) {
    const T5Rows sources = training.Sources({&one, &two, &three}, 0);
    const T5Rows targets = training.Targets({&first, &second, &third});
    at::Tensor x = training.EmbedSources(sources);
    for (int64_t i = 0; i < 2; ++i) x = training.EncoderLayer(i, x, sources);
    const at::Tensor source = x;
    x = training.EmbedTargets(targets);
    for (int64_t i = 0; i < 2; ++i) x = training.DecoderLayer(i, x, targets, source, sources);
    torch::autograd::variable_list wanted;
    for (const Parameter& parameter : parameters()) wanted.push_back(parameter.value);
    return torch::autograd::grad({training.Loss(x, next)}, wanted);
  };
  const auto a = gradients(fused), b = gradients(plain);
  for (size_t i = 0; i < a.size(); ++i) {
    const double size = b[i].abs().max().item<double>();
    EXPECT_LT((a[i] - b[i]).abs().max().item<double>(), 1e-3 * size + 1e-5) << parameters()[i].name;
  }
}

TEST_P(FullT5Test, GradientsEqualFiniteDifferences) {
  Make(0);
  MicroBatch rows;
  for (int64_t row = 0; row < 12; ++row) rows.push_back(row);
  SegmentedPass pass = Pass(rows, 1 / static_cast<double>(task_->Terms(rows)));
  Slices(pass);
  EXPECT_NEAR(pass.loss(), Loss(), 1e-4);
  const auto grads = TakeGradients();
  for (size_t i = 0; i < grads.size(); ++i) {
    testing::ExpectSlopes(parameters()[i].name, parameters()[i].value, grads[i], [this] { return Loss(); },
                          {.step = 2e-3, .absolute = 4e-3, .relative = 0.03});
  }
}

TEST_P(FullT5Test, AStepIsSeenByTheNextForward) {
  Make(0);
  for (Parameter& parameter : parameters()) {
    const double before = Loss();
    const at::NoGradGuard no_grad;
    parameter.value.mul_(1.5);
    EXPECT_NE(Loss(), before) << parameter.name;
  }
}

}  // namespace
}  // namespace tenon::engine
