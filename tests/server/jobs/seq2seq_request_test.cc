// Jobs on texts that models write: defaults, and what is refused by name.
#include <gmock/gmock.h>
#include <google/protobuf/text_format.h>
#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "common/formats/status.h"
#include "server/jobs/eval_request.h"
#include "server/jobs/finetune_request.h"
#include "server/jobs/method_options.h"
#include "tests/server/jobs/bad_field.h"

namespace tenon::server {
namespace {

using testing::BadField;
using ::testing::ElementsAre;
using testing::ExpectNamed;
using ::testing::HasSubstr;

v1::FinetuneJob Talks() {
  v1::FinetuneJob job;
  job.set_base("flan");
  job.set_adapter("talks");
  job.set_task(v1::TASK_SEQ2SEQ);
  job.set_method(v1::METHOD_LORA);
  job.set_train_dataset("train");
  return job;
}

v1::Dataset Records(const std::vector<std::string>& fields, int64_t rows = 100) {
  v1::Dataset dataset;
  dataset.set_name("datasets/rows");
  dataset.set_kind(v1::DATASET_KIND_RECORDS);
  dataset.set_row_count(rows);
  for (const std::string& field : fields) dataset.add_fields(field);
  return dataset;
}

absl::Status Complete(v1::FinetuneJob& job, const v1::Dataset& train,
                      const std::optional<v1::Dataset>& validation = std::nullopt) {
  UnknownIn unknown = UnknownIn::kNone;
  const absl::Status status = CompleteFinetune(job, train, validation, &unknown);
  EXPECT_EQ(unknown, UnknownIn::kNone);
  return status;
}

TEST(Seq2SeqRequestTest, FillsInItsOwnDefaults) {
  auto job = NormalizeFinetune(Talks(), 1);
  ASSERT_TRUE(job.ok()) << job.status();
  EXPECT_EQ(job->text_template().input(), "{input}");
  EXPECT_EQ(job->text_template().target(), "{target}");
  EXPECT_EQ(job->training().metric_for_best(), "loss");
  EXPECT_EQ(job->training().max_target_tokens(), 128);
  FillTargets("t5", *job);
  EXPECT_THAT(job->lora().target_modules(), ElementsAre("q", "v"));
  ASSERT_TRUE(Complete(*job, Records({"input", "target"}), Records({"input", "other", "target"})).ok());
  EXPECT_TRUE(job->labels().empty());
  EXPECT_FALSE(job->training().multi_label());
  EXPECT_EQ(job->training().eval_steps(), 3) << "39 steps / 10";
  EXPECT_EQ(NormalizeFinetune(*job, 1)->SerializeAsString().size(), job->SerializeAsString().size())
      << "the echo may be sent again";
}

TEST(Seq2SeqRequestTest, OneSideOfATemplateIsEnough) {
  v1::FinetuneJob request = Talks();
  request.mutable_text_template()->set_input("summarize: {dialogue}");
  const auto job = NormalizeFinetune(request, 1);
  ASSERT_TRUE(job.ok()) << job.status();
  EXPECT_EQ(job->text_template().input(), "summarize: {dialogue}");
  EXPECT_EQ(job->text_template().target(), "{target}");
}

TEST(Seq2SeqRequestTest, OtherMethodsGoToo) {
  for (const v1::Method method : {v1::METHOD_PROMPT_TUNING, v1::METHOD_BOTTLENECK}) {
    v1::FinetuneJob request = Talks();
    request.set_method(method);
    EXPECT_TRUE(NormalizeFinetune(request, 1).ok()) << method;
  }
}

class BadSeq2Seq : public ::testing::TestWithParam<BadField> {};

TEST_P(BadSeq2Seq, IsNamed) { ExpectNamed(Talks(), GetParam()); }

using Job = v1::FinetuneJob;
INSTANTIATE_TEST_SUITE_P(
    All, BadSeq2Seq,
    ::testing::Values(BadField{"finetune_job.method", Reason::kUnsupported, "METHOD_HEAD",
                               [](Job& j) { j.set_method(v1::METHOD_HEAD); }},
                      BadField{"finetune_job.text_template.input", Reason::kFieldInvalid, "character 3",
                               [](Job& j) { j.mutable_text_template()->set_input("a {b"); }},
                      BadField{"finetune_job.text_template.target", Reason::kFieldInvalid, "has no field",
                               [](Job& j) { j.mutable_text_template()->set_target("constant"); }},
                      BadField{"finetune_job.training.metric_for_best", Reason::kOptionInvalid,
                               "loss or token_accuracy",
                               [](Job& j) { j.mutable_training()->set_metric_for_best("accuracy"); }},
                      BadField{"finetune_job.training.max_target_tokens", Reason::kOptionInvalid, "from 2",
                               [](Job& j) { j.mutable_training()->set_max_target_tokens(1); }},
                      BadField{"finetune_job.training.multi_label", Reason::kOptionInvalid,
                               "TASK_SEQUENCE_CLASSIFICATION",
                               [](Job& j) { j.mutable_training()->set_multi_label(true); }},
                      BadField{"finetune_job.text_template", Reason::kFieldInvalid, "TASK_SEQ2SEQ",
                               [](Job& j) {
                                 j.set_task(v1::TASK_SEQUENCE_CLASSIFICATION);
                                 j.mutable_text_template()->set_input("{a}");
                               }},
                      BadField{"finetune_job.training.max_target_tokens", Reason::kOptionInvalid, "TASK_SEQ2SEQ",
                               [](Job& j) {
                                 j.set_task(v1::TASK_SEQUENCE_CLASSIFICATION);
                                 j.mutable_training()->set_max_target_tokens(9);
                               }},
                      BadField{"finetune_job.training.metric_for_best", Reason::kOptionInvalid,
                               "accuracy, macro_f1 or loss", [](Job& j) {
                                 j.set_task(v1::TASK_SEQUENCE_CLASSIFICATION);
                                 j.mutable_training()->set_metric_for_best("token_accuracy");
                               }}));

TEST(Seq2SeqRequestTest, AFieldThatTheRowsLackIsNamedWithThoseThatTheyHave) {
  v1::FinetuneJob request = Talks();
  request.mutable_text_template()->set_input("{dialogue}");
  request.mutable_text_template()->set_target("{sumary}");
  auto job = NormalizeFinetune(request, 1);
  ASSERT_TRUE(job.ok());
  v1::Dataset rows = Records({"dialogue", "summary"});
  rows.add_warnings("ignored columns: topic (row 9: is missing)");
  const absl::Status status = Complete(*job, rows);
  EXPECT_EQ(GetReason(status), Reason::kFieldInvalid);
  EXPECT_EQ(GetField(status), "finetune_job.text_template.target");
  EXPECT_THAT(std::string(status.message()), HasSubstr("uses {sumary}; the data set has {dialogue}, {summary}"));
  EXPECT_THAT(std::string(status.message()), HasSubstr("datasets/rows"));
  EXPECT_THAT(std::string(status.message()), HasSubstr("topic (row 9: is missing)"));
  job->mutable_text_template()->set_target("{summary}");
  EXPECT_EQ(GetField(Complete(*job, rows, Records({"summary"}))), "finetune_job.text_template.input");
}

TEST(Seq2SeqRequestTest, AClassificationSetHasTextAndLabel) {
  v1::FinetuneJob request = Talks();
  request.mutable_text_template()->set_input("{text}");
  request.mutable_text_template()->set_target("{label}");
  auto job = NormalizeFinetune(request, 1);
  v1::Dataset old = Records({});  // stored before data sets had fields
  old.set_kind(v1::DATASET_KIND_CLASSIFICATION);
  EXPECT_TRUE(Complete(*job, old).ok());
  old.set_multi_label(true);
  EXPECT_EQ(GetField(Complete(*job, old)), "finetune_job.text_template.target");
  v1::Dataset queries = Records({});
  queries.set_kind(v1::DATASET_KIND_QUERIES);
  const absl::Status status = Complete(*job, queries);
  EXPECT_EQ(GetField(status), "finetune_job.train_dataset");
  EXPECT_THAT(std::string(status.message()), HasSubstr("DATASET_KIND_RECORDS"));
}

// --- Evaluations

v1::EvalJob Eval(const std::string& rest = "") {
  v1::EvalJob job;
  const std::string text = "seq2seq { models: 'adapters/a' dataset: 'test' " + rest + " }";
  EXPECT_TRUE(google::protobuf::TextFormat::ParseFromString(text, &job)) << text;
  return job;
}

TEST(Seq2SeqEvalRequestTest, FillsInDefaults) {
  const auto job = NormalizeEval(Eval());
  ASSERT_TRUE(job.ok()) << job.status();
  EXPECT_EQ(job->seq2seq().dataset(), "datasets/test");
  EXPECT_EQ(job->seq2seq().max_target_tokens(), 128);
  EXPECT_TRUE(job->seq2seq().use_stemmer());
  EXPECT_FALSE(job->seq2seq().has_text_template());
  EXPECT_FALSE(NormalizeEval(Eval("use_stemmer: false"))->seq2seq().use_stemmer());
  EXPECT_TRUE(NormalizeEval(Eval("models: 'b' models: 'bases/flan' labels: 'good' labels: 'not good' max_rows: 5 "
                                 "generation { num_beams: 4 max_new_tokens: 60 }"))
                  .ok());
  EXPECT_TRUE(NormalizeEval(Eval("labels: '+' labels: '-'")).ok()) << "signs are answers, too";
}

TEST(Seq2SeqEvalRequestTest, WhatIsWrongIsNamed) {
  struct Case {
    const char* rest;
    const char* field;
  };
  for (const auto& [rest, field] : std::initializer_list<Case>{
           {"models: 'a b'", "models"},
           {"models: 'bases/'", "models"},
           {"text_template { input: '{a' target: '{b}' }", "text_template.input"},
           {"text_template { input: '{a}' }", "text_template.target"},
           {"generation { top_p: 2 }", "generation.top_p"},
           {"generation { do_sample: true num_beams: 2 }", "generation.do_sample"},
           {"generation { num_return_sequences: 2 num_beams: 2 }", "generation.num_return_sequences"},
           {"generation { return_scores: true }", "generation.return_scores"},
           {"max_input_tokens: 1", "max_input_tokens"},
           {"max_input_tokens: -1", "max_input_tokens"},
           {"max_target_tokens: 1", "max_target_tokens"},
           {"max_rows: -1", "max_rows"},
           {"labels: 'good' labels: ' Good.'", "labels[1]"},
           {"labels: 'ÉTÉ' labels: '«été»'", "labels[1]"},  // as a worker compares them
           {"labels: ' '", "labels[0]"},
       }) {
    const absl::Status status = NormalizeEval(Eval(rest)).status();
    EXPECT_EQ(GetField(status), absl::StrCat("eval_job.seq2seq.", field)) << status;
  }
  v1::EvalJob none = Eval();
  none.mutable_seq2seq()->clear_models();
  EXPECT_EQ(GetReason(NormalizeEval(none).status()), Reason::kFieldRequired);
  v1::EvalJob many = Eval();
  for (int i = 0; i < 64; ++i) many.mutable_seq2seq()->add_models("a");
  EXPECT_EQ(GetField(NormalizeEval(many).status()), "eval_job.seq2seq.models");
  v1::EvalJob no_data = Eval();
  no_data.mutable_seq2seq()->clear_dataset();
  EXPECT_EQ(GetField(NormalizeEval(no_data).status()), "eval_job.seq2seq.dataset");
}

TEST(Seq2SeqEvalRequestTest, AnAssignmentFitsIntoAMessage) {
  v1::EvalJob job = Eval();
  for (int i = 0; i < 200; ++i) job.mutable_seq2seq()->add_labels(std::string(200, 'x') + std::to_string(i));
  const absl::Status status = NormalizeEval(job).status();
  EXPECT_EQ(GetField(status), "eval_job.seq2seq");
  EXPECT_THAT(std::string(status.message()), HasSubstr("24576"));
  job.mutable_seq2seq()->clear_labels();
  for (int i = 0; i < 256; ++i) job.mutable_seq2seq()->add_labels(std::to_string(i));
  EXPECT_TRUE(NormalizeEval(job).ok());
  job.mutable_seq2seq()->add_labels("one more");
  EXPECT_EQ(GetField(NormalizeEval(job).status()), "eval_job.seq2seq.labels");
}

}  // namespace
}  // namespace tenon::server
