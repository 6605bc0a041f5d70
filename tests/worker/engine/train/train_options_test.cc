#include "common/formats/train_options.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <map>

#include "common/formats/status.h"

namespace tenon::formats {
namespace {

TrainOptions Good() {
  TrainOptions options;
  options.lora.target_modules = {"query", "value"};
  return options;
}

struct Case {
  std::string field;
  std::function<void(TrainOptions&)> spoil;
};

TEST(TrainOptionsTest, DefaultsPass) { EXPECT_TRUE(CheckTrainOptions(Good()).ok()); }

TEST(TrainOptionsTest, EveryBadOptionIsNamed) {
  const double nan = std::nan("");
  const std::vector<Case> cases = {
      {"learning_rate", [](TrainOptions& o) { o.learning_rate = 0; }},
      {"learning_rate", [](TrainOptions& o) { o.learning_rate = -1e-3; }},
      {"learning_rate", [&](TrainOptions& o) { o.learning_rate = nan; }},
      {"learning_rate", [&](TrainOptions& o) { o.learning_rate = INFINITY; }},
      {"warmup_steps", [](TrainOptions& o) { o.warmup_steps = -1; }},
      {"batch_size", [](TrainOptions& o) { o.batch_size = 0; }},
      {"batch_size", [](TrainOptions& o) { o.batch_size = 1025; }},
      {"gradient_accumulation_steps", [](TrainOptions& o) { o.gradient_accumulation_steps = 0; }},
      {"max_steps", [](TrainOptions& o) { o.max_steps = -5; }},
      {"epochs", [](TrainOptions& o) { o.epochs = 0; }},
      {"epochs", [&](TrainOptions& o) { o.epochs = nan; }},
      {"weight_decay", [](TrainOptions& o) { o.weight_decay = -0.1; }},
      {"max_grad_norm", [](TrainOptions& o) { o.max_grad_norm = -1; }},
      {"max_input_tokens", [](TrainOptions& o) { o.max_input_tokens = 2; }},
      {"max_input_tokens", [](TrainOptions& o) { o.max_input_tokens = -1; }},
      {"max_target_tokens", [](TrainOptions& o) { o.max_target_tokens = 1; }},
      {"max_target_tokens", [](TrainOptions& o) { o.max_target_tokens = (1 << 20) + 1; }},
      {"eval_steps", [](TrainOptions& o) { o.eval_steps = -1; }},
      {"save_steps", [](TrainOptions& o) { o.save_steps = 0; }},
      {"early_stopping_patience", [](TrainOptions& o) { o.early_stopping_patience = -1; }},
      {"metric_for_best", [](TrainOptions& o) { o.metric_for_best = "rouge"; }},
      {"base_dropout", [](TrainOptions& o) { o.base_dropout = 1; }},
      {"r", [](TrainOptions& o) { o.lora.r = 0; }},
      {"r", [](TrainOptions& o) { o.lora.r = 513; }},
      {"alpha", [](TrainOptions& o) { o.lora.alpha = 0; }},
      {"dropout", [](TrainOptions& o) { o.lora.dropout = 1; }},
      {"dropout", [](TrainOptions& o) { o.lora.dropout = -0.1; }},
      {"rank_pattern", [](TrainOptions& o) { o.lora.rank_pattern["query"] = 0; }},
      {"alpha_pattern", [](TrainOptions& o) { o.lora.alpha_pattern["query"] = -1; }},
      {"target_modules", [](TrainOptions& o) { o.lora.target_modules.clear(); }},
      {"target_modules", [](TrainOptions& o) { o.lora.target_modules = {""}; }},
  };
  for (const Case& test : cases) {
    TrainOptions options = Good();
    test.spoil(options);
    const absl::Status status = CheckTrainOptions(options);
    EXPECT_EQ(GetReason(status), Reason::kOptionInvalid) << test.field;
    EXPECT_EQ(GetField(status), test.field) << status;
  }
}

TEST(TrainOptionsTest, HeadIgnoresLora) {
  TrainOptions options;
  options.method = Method::kHead;
  options.lora.r = 0;
  EXPECT_TRUE(CheckTrainOptions(options).ok());
}

TEST(TrainOptionsTest, AMetricBelongsToItsTask) {
  EXPECT_EQ(*ResolveMetric("", Learns::kClasses), "accuracy");
  EXPECT_EQ(*ResolveMetric("", Learns::kNumbers), "loss");
  EXPECT_EQ(*ResolveMetric("", Learns::kTexts), "loss");
  const std::map<Learns, std::vector<std::string>> of = {{Learns::kClasses, {"accuracy", "macro_f1", "loss"}},
                                                         {Learns::kNumbers, {"loss", "pearson", "spearman"}},
                                                         {Learns::kTexts, {"loss", "token_accuracy"}}};
  for (const auto& [learns, allowed] : of) {
    for (const char* metric : {"accuracy", "macro_f1", "loss", "pearson", "spearman", "token_accuracy", "rouge1"}) {
      const auto resolved = ResolveMetric(metric, learns);
      const bool good = std::find(allowed.begin(), allowed.end(), metric) != allowed.end();
      EXPECT_EQ(resolved.ok(), good) << metric;
      if (!good) {
        EXPECT_EQ(GetField(resolved.status()), "metric_for_best");
      }
    }
  }
  TrainOptions options = Good();
  options.metric_for_best = "token_accuracy";  // the trainer knows whether it fits
  EXPECT_TRUE(CheckTrainOptions(options).ok());
}

TEST(TrainOptionsTest, Schedules) {
  EXPECT_EQ(*ParseSchedule("cosine"), Schedule::kCosine);
  EXPECT_EQ(GetField(ParseSchedule("polynomial").status()), "schedule");
}

TEST(TrainOptionsTest, Warmup) {
  EXPECT_EQ(*ResolveWarmup(std::nullopt, std::nullopt, 100), 0);
  EXPECT_EQ(*ResolveWarmup(7, std::nullopt, 100), 7);
  EXPECT_EQ(*ResolveWarmup(std::nullopt, 0.055, 100), 6);
  EXPECT_EQ(GetReason(ResolveWarmup(7, 0.1, 100).status()), Reason::kOptionInvalid);
  EXPECT_EQ(GetField(ResolveWarmup(std::nullopt, 1.5, 100).status()), "warmup_ratio");
  EXPECT_EQ(GetField(ResolveWarmup(-1, std::nullopt, 100).status()), "warmup_steps");
}

}  // namespace
}  // namespace tenon::formats
