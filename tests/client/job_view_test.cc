// Jobs as tables.
#include "client/cli/job_view.h"

#include <gmock/gmock.h>
#include <google/protobuf/text_format.h>
#include <gtest/gtest.h>

namespace tenon::cli {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

AnyJob Eval(const std::string& text) {
  AnyJob job;
  job.is_eval = true;
  EXPECT_TRUE(google::protobuf::TextFormat::ParseFromString(text, &job.eval)) << text;
  return job;
}

TEST(DescribeJob, MetricsStandBesideTheirIntervals) {
  const std::string text = DescribeJob(Eval(
      "name: 'evalJobs/e' seq2seq { models: 'bases/flan' models: 'adapters/a' dataset: 'datasets/d' text_template { "
      "input: 'say {a}' target: '{b}' } } state: JOB_STATE_SUCCEEDED results { model { base: 'bases/flan' } examples: "
      "7 metrics { name: 'loss' value: 1.5 } metrics { name: 'rouge1' value: 0.25 } intervals { name: 'rouge1' low: "
      "0.125 high: 0.5 } }"));
  EXPECT_THAT(text, HasSubstr("texts written by 2 model(s)"));
  EXPECT_THAT(text, HasSubstr("say {a}"));
  EXPECT_THAT(text, HasSubstr("bases/flan: 7 rows"));
  EXPECT_THAT(text, HasSubstr("METRIC  VALUE   95 % INTERVAL"));
  EXPECT_THAT(text, HasSubstr("loss    1.5000  -"));
  EXPECT_THAT(text, HasSubstr("rouge1  0.2500  0.1250 to 0.5000"));
}

TEST(DescribeJob, WithoutIntervalsThereIsNoColumnForThem) {
  const std::string text =
      DescribeJob(Eval("name: 'evalJobs/e' classification { adapters: 'a' dataset: 'd' } results { metrics { name: "
                       "'accuracy' value: 1 } }"));
  EXPECT_THAT(text, HasSubstr("classification by 1 adapter(s)"));
  EXPECT_THAT(text, Not(HasSubstr("INTERVAL")));
}

TEST(DescribeJob, AJobOnTextsShowsItsTemplate) {
  AnyJob job;
  job.finetune.mutable_text_template()->set_input("summarize: {dialogue}");
  job.finetune.mutable_text_template()->set_target("{summary}");
  const std::string text = DescribeJob(job);
  EXPECT_THAT(text, HasSubstr("summarize: {dialogue}"));
  EXPECT_THAT(text, HasSubstr("{summary}"));
  EXPECT_THAT(text, HasSubstr("writes"));
  EXPECT_THAT(text, Not(HasSubstr("context")));
  job.finetune.set_task(v1::TASK_EXTRACTIVE_SUMMARIZATION);
  job.finetune.mutable_sentence_scorer()->set_neighbours(2);
  const std::string scorer = DescribeJob(job);
  EXPECT_THAT(scorer, Not(HasSubstr("writes")));
  EXPECT_THAT(scorer, HasSubstr("2 sentences on either side"));
  EXPECT_THAT(DescribeJob(AnyJob()), Not(HasSubstr("reads")));
}

}  // namespace
}  // namespace tenon::cli
