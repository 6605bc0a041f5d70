#include "client/cli/output.h"

#include <gtest/gtest.h>

#include "common/formats/status.h"
#include "tenon/v1/inference_service.pb.h"
#include "tenon/v1/jobs.pb.h"
#include "tenon/v1/retrieval_service.pb.h"

namespace tenon::cli {
namespace {

TEST(ToJson, DefaultsAreIncludedInProtobufsMapping) {
  v1::Usage usage;
  usage.set_input_tokens(7);
  EXPECT_EQ(ToJson(usage), R"({"inputTokens":"7","outputTokens":"0"})");
}

TEST(ToJson, FieldsKeepTheirOrder) {
  v1::Classification answer;
  answer.set_label("billing");
  answer.set_score(0.5);
  EXPECT_EQ(ToJsonValue(answer).dump(),
            R"({"label":"billing","score":0.5,"classes":[],"inputTokens":0,"truncated":false,"values":[]})");
}

TEST(Table, ColumnsAlignByCodePoints) {
  Table table({"NAME", "N"});
  table.Add({"café", "1"});
  table.Add({"longer", "22"});
  EXPECT_EQ(table.ToString(), "NAME    N\ncafé    1\nlonger  22\n");
}

TEST(Table, ACellCannotBreakALineOrSpeakToTheTerminal) {
  Table table({"ID", "TEXT"});
  table.Add({"a\nb", "\033[2Jx\ty\x7f"});
  EXPECT_EQ(table.ToString(), "ID   TEXT\na b   [2Jx y\n");
}

TEST(Table, FactsHaveNoHeader) {
  Table table({});
  table.Add({"job", "finetuneJobs/a"});
  table.Add({"state", "running"});
  EXPECT_EQ(table.ToString(), "job    finetuneJobs/a\nstate  running\n");
  EXPECT_EQ(Table({"A"}).ToString(), "A\n");
}

TEST(EnumWord, LosesThePrefix) {
  EXPECT_EQ(Word(v1::JOB_STATE_SUCCEEDED), "succeeded");
  EXPECT_EQ(Word(v1::TASK_SEQUENCE_CLASSIFICATION), "sequence_classification");
  EXPECT_EQ(Word(v1::VECTOR_METRIC_DOT_PRODUCT), "dot_product");
  EXPECT_EQ(Word(v1::JobEvent::Notice::SEVERITY_WARNING), "warning");
  EXPECT_EQ(Word(v1::JOB_STATE_UNSPECIFIED), "-");
}

TEST(EnumWord, IsReadBack) {
  EXPECT_EQ(*ParseWord<v1::Method>("lora", "--method"), v1::METHOD_LORA);
  const absl::Status wrong = ParseWord<v1::Method>("magic", "--method").status();
  EXPECT_EQ(GetField(wrong), "--method");
  EXPECT_EQ(std::string(wrong.message()), "'magic' is none of head, lora, prompt_tuning, bottleneck, full.");
  EXPECT_FALSE(ParseWord<v1::Method>("unspecified", "--method").ok());
}

TEST(EnumWord, ABeginningIsEnough) {
  EXPECT_EQ(*ParseWord<v1::Task>("extractive", "--task"), v1::TASK_EXTRACTIVE_SUMMARIZATION);
  EXPECT_EQ(*ParseWord<v1::Task>("extractive_summarization", "--task"), v1::TASK_EXTRACTIVE_SUMMARIZATION);
  EXPECT_EQ(*ParseWord<v1::Method>("prompt", "--method"), v1::METHOD_PROMPT_TUNING);
  EXPECT_FALSE(ParseWord<v1::Task>("extract", "--task").ok()) << "a whole word";
  EXPECT_FALSE(ParseWord<v1::Task>("", "--task").ok());
}

TEST(Shorten, CutsAtCodePoints) {
  EXPECT_EQ(Shorten("short", 10), "short");
  EXPECT_EQ(Shorten("äöüäöü", 4), "äöü…");
  EXPECT_EQ(Shorten("two\nlines", 20), "two lines");
}

TEST(Format, BytesAndScores) {
  EXPECT_EQ(FormatBytes(0), "0 B");
  EXPECT_EQ(FormatBytes(1023), "1023 B");
  EXPECT_EQ(FormatBytes(1536), "1.5 KiB");
  EXPECT_EQ(FormatBytes(90868376), "86.7 MiB");
  EXPECT_EQ(FormatScore(0.86714), "0.8671");
  EXPECT_EQ(FormatTime(google::protobuf::Timestamp()), "-");
  EXPECT_EQ(ShortName("adapters/tickets"), "tickets");
  EXPECT_EQ(ShortName("tickets"), "tickets");
}

}  // namespace
}  // namespace tenon::cli
