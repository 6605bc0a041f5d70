#include "worker/link/convert_seq2seq.h"

#include <gmock/gmock.h>
#include <google/protobuf/text_format.h>
#include <gtest/gtest.h>

#include <fstream>
#include <iterator>

#include "common/formats/status.h"
#include "tests/common/formats/temp_folder.h"
#include "tests/worker/link/talks.h"
#include "worker/link/convert.h"

namespace tenon::link {
namespace {

namespace pb = internal::v1;
using ::testing::ElementsAre;
using ::testing::Pair;
using testing::Talks;
using testing::Template;

pb::EvalWork Work(const std::string& text) {
  pb::EvalWork work;
  EXPECT_TRUE(google::protobuf::TextFormat::ParseFromString(text, &work)) << text;
  return work;
}

TEST(ToSeq2SeqEvalJob, TakesEveryField) {
  const auto job = ToSeq2SeqEvalJob(
      Work("adapters {} adapters { digest: 'a1' } max_input_tokens: 9 seq2seq { text_template { input: '{dialogue}' "
           "target: '{summary}' } generation { num_beams: 4 bad_words: 'um' } max_target_tokens: 7 labels: 'h' labels: "
           "'n' use_stemmer: false max_rows: 1 }"),
      Talks());
  ASSERT_TRUE(job.ok()) << job.status();
  EXPECT_THAT(job->adapter_digests, ElementsAre("", "a1"));
  EXPECT_THAT(job->rows, ElementsAre(ElementsAre(Pair("dialogue", "hi"), Pair("summary", "h"))));
  EXPECT_EQ(job->text_template, (formats::TextTemplate{"{dialogue}", "{summary}"}));
  EXPECT_EQ(job->options.num_beams, 4);
  EXPECT_THAT(job->bad_words, ElementsAre("um"));
  EXPECT_EQ(job->max_input_tokens, 9);
  EXPECT_EQ(job->max_target_tokens, 7);
  EXPECT_THAT(job->labels, ElementsAre("h", "n"));
  EXPECT_FALSE(job->use_stemmer);
}

TEST(ToSeq2SeqEvalJob, WhatIsLeftOutIsTheDefault) {
  const auto job = ToSeq2SeqEvalJob(Work("adapters { digest: 'a1' } seq2seq { max_rows: 99 }"), Talks());
  ASSERT_TRUE(job.ok()) << job.status();
  EXPECT_EQ(job->rows.size(), 2u);
  EXPECT_FALSE(job->text_template.has_value());
  EXPECT_FALSE(job->options.num_beams.has_value());
  EXPECT_EQ(job->max_target_tokens, 128);
  EXPECT_TRUE(job->use_stemmer);
}

TEST(ToSeq2SeqEvalJob, AnOptionThatIsNoneIsNamed) {
  pb::EvalWork work = Work("adapters {} seq2seq {}");
  work.mutable_seq2seq()->mutable_generation()->set_early_stopping(static_cast<v1::EarlyStopping>(9));
  EXPECT_EQ(GetField(ToSeq2SeqEvalJob(work, Talks()).status()), "early_stopping");
}

TEST(ToEvalResult, CarriesIntervalsClassesAndCounts) {
  engine::Seq2SeqScores scores;
  scores.metrics = {{"loss", 1.5}, {"rouge1", 0.25}};
  scores.intervals = {{"rouge1", 0.2, 0.3}};
  scores.classes = {{.precision = 0.5, .recall = 0.75, .f1 = 0.6, .support = 4}, {}};
  scores.confusion = {1, 2, 3, 4};
  scores.examples = 10;
  google::protobuf::RepeatedPtrField<std::string> labels;
  *labels.Add() = "good";
  *labels.Add() = "bad";
  const v1::EvalResult result = ToEvalResult("base", "", labels, scores);
  EXPECT_EQ(result.model().base_digest(), "base");
  EXPECT_EQ(result.model().revision(), "");
  EXPECT_EQ(result.metrics(1).name(), "rouge1");
  EXPECT_DOUBLE_EQ(result.metrics(0).value(), 1.5);
  EXPECT_EQ(result.intervals(0).name(), "rouge1");
  EXPECT_DOUBLE_EQ(result.intervals(0).low(), 0.2);
  EXPECT_DOUBLE_EQ(result.intervals(0).high(), 0.3);
  EXPECT_EQ(result.classes(1).label(), "bad");
  EXPECT_DOUBLE_EQ(result.classes(0).recall(), 0.75);
  EXPECT_EQ(result.classes(0).support(), 4);
  EXPECT_THAT(result.confusion_matrix(), ElementsAre(1, 2, 3, 4));
  EXPECT_EQ(result.examples(), 10);
}

TEST(AddTemplate, KeepsWhatTheFileSaysElse) {
  const test::TempFolder folder;
  formats::TenonConfig config{.task = "seq2seq", .method = "lora"};
  config.max_input_tokens = 77;
  config.job = "finetuneJobs/a";
  const auto file = folder.Write("tenon.json", formats::WriteTenonConfig(config, true));
  ASSERT_TRUE(AddTemplate(folder.path(), Template("{a}", "{b}")).ok());
  std::ifstream in(file, std::ios::binary);
  const auto read = formats::ParseTenonConfig({std::istreambuf_iterator<char>(in), {}});
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_EQ(read->text_template, (formats::TextTemplate{"{a}", "{b}"}));
  EXPECT_EQ(read->max_input_tokens, 77);
  EXPECT_EQ(read->job, "finetuneJobs/a");
  folder.Write("tenon.json", "{}");
  EXPECT_FALSE(AddTemplate(folder.path(), Template("{a}", "{b}")).ok());
}

TEST(ToTrainOptions, OfSeq2SeqHasItsOwnDefaults) {
  v1::FinetuneJob spec;
  spec.set_base("bases/flan");
  spec.set_task(v1::TASK_SEQ2SEQ);
  spec.set_method(v1::METHOD_LORA);
  const auto defaults = ToTrainOptions(spec, 100);
  ASSERT_TRUE(defaults.ok()) << defaults.status();
  EXPECT_EQ(defaults->max_target_tokens, 128);
  EXPECT_THAT(defaults->lora.target_modules, ElementsAre("q", "v"));
  EXPECT_EQ(defaults->lora.task_type, "SEQ_2_SEQ_LM");
  spec.mutable_training()->set_metric_for_best("token_accuracy");
  spec.mutable_training()->set_max_target_tokens(9);
  const auto said = ToTrainOptions(spec, 100);
  ASSERT_TRUE(said.ok()) << said.status();
  EXPECT_EQ(said->metric_for_best, "token_accuracy");
  EXPECT_EQ(said->max_target_tokens, 9);
}

TEST(ToResult, AnAdaptersCheckGivesItsTaskAndTemplate) {
  runtime::InferenceReply reply;
  reply.adapter.task = "seq2seq";
  reply.adapter.method = "lora";
  reply.adapter.text_template = {"{a}", "{b}"};
  const auto result = ToResult(1, pb::INFERENCE_KIND_CHECK_ADAPTER, true, reply);
  EXPECT_EQ(result.task(), v1::TASK_SEQ2SEQ);
  EXPECT_EQ(result.text_template().input(), "{a}");
  EXPECT_EQ(result.text_template().target(), "{b}");
  reply.adapter.text_template.reset();
  EXPECT_FALSE(ToResult(1, pb::INFERENCE_KIND_CHECK_ADAPTER, true, reply).has_text_template());
  reply.adapter.task = "sequence_classification";
  EXPECT_EQ(ToResult(1, pb::INFERENCE_KIND_CHECK_ADAPTER, true, reply).task(), v1::TASK_SEQUENCE_CLASSIFICATION);
  reply.adapter.sentence_scorer.emplace();
  EXPECT_EQ(ToResult(1, pb::INFERENCE_KIND_CHECK_ADAPTER, true, reply).task(), v1::TASK_EXTRACTIVE_SUMMARIZATION);
}

}  // namespace
}  // namespace tenon::link
