// How much one slice of a run takes of a large model.
#include "worker/engine/train/train_loop.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/full_like.h>
#include <gtest/gtest.h>

#include <string>
#include <utility>
#include <vector>

namespace tenon::engine {
namespace {

constexpr int64_t kFeatures = int64_t{5} << 20;  // two labels' weights take three slices of 4 Mi elements

// Two steps of one slice each, and an evaluation behind each that is better than the last one.
class LargeLearner final : public Learner {
 public:
  explicit LargeLearner(TrainableAdapter adapter) : adapter_(std::move(adapter)) {}

  absl::StatusOr<bool> Prepare() override { return false; }
  absl::StatusOr<std::optional<StepResult>> TrainSlice(int64_t) override {
    for (Parameter& parameter : adapter_.parameters()) {
      parameter.grad = at::full_like(parameter.value.detach(), 1e-3);
    }
    return StepResult{.loss = 1, .examples = 1, .tokens = 1};
  }
  bool evaluates() const override { return true; }
  std::optional<Metrics> EvaluationSlice() override { return Metrics{{"loss", --loss_}}; }
  TrainableAdapter& adapter() override { return adapter_; }
  int64_t total_steps() const override { return 2; }
  absl::Status Write(const std::filesystem::path&, const AdapterTensors& best) const override {
    written_ = best.modules.at("classifier").weight;
    return absl::OkStatus();
  }

  mutable at::Tensor written_;

 private:
  TrainableAdapter adapter_;
  double loss_ = 10;
};

TEST(TrainLoopTest, WhatGoesOverAllWeightsIsCutIntoSlices) {
  formats::TenonConfig config;
  config.labels = {"a", "b"};
  auto head = TrainableAdapter::MakeHead(kFeatures, 0.02, 1, at::kCPU, config, nullptr);
  ASSERT_TRUE(head.ok()) << head.status();
  TrainOptions options;
  options.metric_for_best = "loss";
  options.eval_steps = 1;
  options.save_steps = 1;
  options.max_grad_norm = 1;
  auto owned = std::make_unique<LargeLearner>(*std::move(head));
  LargeLearner& learner = *owned;
  TrainLoop loop(options, std::move(owned), nullptr);
  // Slices without news before each of a run's news.
  std::vector<std::pair<std::string, int>> heard;
  for (int silent = 0; heard.empty() || heard.back().first != "done";) {
    const auto update = loop.RunSlice();
    ASSERT_TRUE(update.ok()) << update.status();
    if (!update->has_value()) {
      ++silent;
      continue;
    }
    const char* names[] = {"step", "evaluation", "checkpoint", "done"};
    heard.emplace_back(names[(*update)->index()], std::exchange(silent, 0));
  }
  // Once through the norm, once through the update, whose last slice has news, once through the copy of the best.
  constexpr int kParts = 3, kTraining = 1;
  const std::vector<std::pair<std::string, int>> expected = {{"evaluation", 1},  // behind the preparation
                                                             {"step", kTraining + 2 * kParts - 1},
                                                             {"evaluation", 0},
                                                             {"checkpoint", kParts},
                                                             {"step", kTraining + 2 * kParts - 1},
                                                             {"evaluation", 0},
                                                             {"done", kParts}};
  EXPECT_EQ(heard, expected);
  ASSERT_TRUE(loop.Export("", "").ok());
  EXPECT_TRUE(at::equal(learner.written_, learner.adapter().head().weight));
}

}  // namespace
}  // namespace tenon::engine
