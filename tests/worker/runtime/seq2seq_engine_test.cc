// Evaluations of written texts over the real engine and a tiny T5.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/notification.h"
#include "tests/worker/engine/tiny_t5.h"
#include "worker/engine/train/trainer.h"
#include "worker/runtime/runtime.h"

namespace tenon::runtime {
namespace {

namespace fs = std::filesystem;
using Scores = std::vector<engine::Seq2SeqScores>;

constexpr char kDigest[] = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

class Seq2SeqEngineTest : public ::testing::Test, protected AdapterSource {
 protected:
  Seq2SeqEngineTest() : root_(fs::path(::testing::TempDir()) / "seq2seq-engine") {
    fs::remove_all(root_);
    testing::WriteTinyT5(root_ / "base");
    auto runtime = Runtime::Create({.threads = 2, .max_decoder_lines = 8, .scratch = root_ / "scratch"}, this, {});
    EXPECT_TRUE(runtime.ok()) << runtime.status();
    runtime_ = *std::move(runtime);
    EXPECT_TRUE(runtime_->LoadBase(kDigest, root_ / "base").ok());
  }
  ~Seq2SeqEngineTest() override {
    runtime_.reset();
    fs::remove_all(root_);
  }
  absl::StatusOr<fs::path> Fetch(const std::string& digest) override { return root_ / digest; }

  std::vector<std::string> Generate(const std::vector<std::string>& texts, const engine::GenerationOptions& options) {
    absl::Notification done;
    std::vector<std::string> written;
    GenerationCall call{.base_digest = kDigest, .texts = texts, .options = options};
    runtime_->SubmitGeneration(std::move(call), {.delta = nullptr, .done = [&](absl::StatusOr<GenerationReply> reply) {
                                                   EXPECT_TRUE(reply.ok()) << reply.status();
                                                   for (const GenerationRow& row : reply->rows) {
                                                     written.push_back(row.sequences[0].text);
                                                   }
                                                   done.Notify();
                                                 }});
    done.WaitForNotification();
    return written;
  }
  static Seq2SeqEvalJob Job(const std::vector<std::string>& inputs, const std::vector<std::string>& targets) {
    Seq2SeqEvalJob job{.id = "e", .base_digest = kDigest, .adapter_digests = {""}};
    job.text_template = formats::TextTemplate{"{input}", "{target}"};
    for (size_t i = 0; i < inputs.size(); ++i) job.rows.push_back({{"input", inputs[i]}, {"target", targets[i]}});
    return job;
  }
  absl::StatusOr<Scores> Evaluate(Seq2SeqEvalJob job) {
    absl::Notification done;
    absl::StatusOr<Scores> result = absl::UnknownError("");
    const absl::Status started = runtime_->StartSeq2SeqEvaluation(
        std::move(job), {.progress = nullptr, .done = [&](absl::StatusOr<Scores> scores) {
                           result = std::move(scores);
                           done.Notify();
                         }});
    if (!started.ok()) return started;
    done.WaitForNotification();
    return result;
  }
  static double Metric(const engine::Seq2SeqScores& scores, const std::string& name) {
    for (const engine::NamedMetric& metric : scores.metrics) {
      if (metric.name == name) return metric.value;
    }
    ADD_FAILURE() << "no metric " << name;
    return -1;
  }

  const fs::path root_;
  std::unique_ptr<Runtime> runtime_;
};

std::vector<std::string> Letters(int rows) {
  std::vector<std::string> texts;
  for (int i = 0; i < rows; ++i) {
    std::string text;
    for (int k = 0; k <= i % 7; ++k) text += static_cast<char>('a' + (i * 5 + k * 3) % 26);
    texts.push_back(text);
  }
  return texts;
}

TEST_F(Seq2SeqEngineTest, WritesWhatGenerateWrites) {
  for (const int64_t beams : {1, 3}) {
    engine::GenerationOptions options;
    options.max_new_tokens = 9;
    options.min_new_tokens = 2;  // so that every row has a text
    options.num_beams = beams;
    const std::vector<std::string> inputs = Letters(25);
    std::vector<std::string> targets = Generate(inputs, options);
    for (std::string& target : targets) {
      if (target.find_first_not_of(' ') == std::string::npos) target = "z";
    }
    Seq2SeqEvalJob job = Job(inputs, targets);
    job.options = options;
    const auto scores = Evaluate(std::move(job));
    ASSERT_TRUE(scores.ok()) << scores.status();
    const auto made_up = std::count(targets.begin(), targets.end(), "z");
    EXPECT_GE(Metric((*scores)[0], "exact_match"), 1 - made_up / 25.0 - 1e-9);
    EXPECT_LT(made_up, 5);
  }
}

TEST_F(Seq2SeqEngineTest, ReadsTargetsTheSameInAnyCompany) {
  const std::vector<std::string> inputs = Letters(20), targets = Letters(40);
  const auto together = Evaluate(Job(inputs, {targets.begin() + 20, targets.end()}));
  ASSERT_TRUE(together.ok()) << together.status();
  double loss = 0, tokens = 0;
  for (size_t i = 0; i < inputs.size(); ++i) {
    const auto alone = Evaluate(Job({inputs[i]}, {targets[20 + i]}));
    ASSERT_TRUE(alone.ok()) << alone.status();
    // A letter is a token, and there is a blank before and an end behind.
    const double count = static_cast<double>(targets[20 + i].size()) + 2;
    loss += Metric((*alone)[0], "loss") * count;
    tokens += count;
  }
  EXPECT_GT(loss, 0);
  EXPECT_NEAR(Metric((*together)[0], "loss"), loss / tokens, 1e-5);
}

TEST_F(Seq2SeqEngineTest, AgreesWithTheTrainersOwnReadingOfItsRows) {
  const std::vector<std::string> inputs = Letters(20), targets = Letters(40);
  engine::TrainData data;
  for (size_t i = 0; i < inputs.size(); ++i) data.train_pairs.push_back({inputs[i], targets[20 + i]});
  data.validation_pairs = data.train_pairs;
  const auto base = engine::Base::Load(root_ / "base", {.digest = kDigest});
  ASSERT_TRUE(base.ok()) << base.status();
  engine::TrainOptions options;
  options.lora.target_modules = {"q", "v"};
  options.learning_rate = 1e-2;
  options.max_steps = 6;
  options.save_steps = 100;
  options.base_dropout = 0;
  options.metric_for_best = "loss";
  auto trainer = engine::Trainer::Create(*base, options, data, std::nullopt, std::nullopt);
  ASSERT_TRUE(trainer.ok()) << trainer.status();
  std::map<std::string, std::map<std::string, double>> read;  // by kind of evaluation
  for (bool done = false; !done;) {
    const auto update = (*trainer)->RunSlice();
    ASSERT_TRUE(update.ok()) << update.status();
    if (!update->has_value()) continue;
    if (const auto* evaluation = std::get_if<engine::TrainEvaluation>(&**update)) {
      read[evaluation->kind] = evaluation->metrics;
    }
    done = std::holds_alternative<engine::TrainDone>(**update);
  }
  fs::create_directories(root_ / "trained");
  ASSERT_TRUE((*trainer)->Export(root_ / "trained", "finetuneJobs/1").ok());
  ASSERT_LT(read["validation"]["loss"], read["untrained"]["loss"] - 0.01);

  Seq2SeqEvalJob job = Job(inputs, {targets.begin() + 20, targets.end()});
  job.adapter_digests = {"", "trained"};
  const auto scores = Evaluate(std::move(job));
  ASSERT_TRUE(scores.ok()) << scores.status();
  EXPECT_NEAR(Metric((*scores)[0], "loss"), read["untrained"]["loss"], 1e-4);
  EXPECT_NEAR(Metric((*scores)[1], "loss"), read["validation"]["loss"], 1e-4);
  EXPECT_NEAR(Metric((*scores)[0], "token_accuracy"), read["untrained"]["token_accuracy"], 1e-9);
  EXPECT_NEAR(Metric((*scores)[1], "token_accuracy"), read["validation"]["token_accuracy"], 1e-9);
}

}  // namespace
}  // namespace tenon::runtime
