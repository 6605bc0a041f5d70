// `tenon generate` and `tenon summarize` against a server that repeats what it was asked.
#include "client/generate.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <memory>
#include <nlohmann/json.hpp>
#include <thread>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/synchronization/mutex.h"
#include "absl/synchronization/notification.h"
#include "client/cli/command.h"
#include "common/formats/status.h"
#include "tests/client/in_process_server.h"
#include "tests/common/formats/temp_folder.h"

namespace tenon::cli {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

// Writes each text in capitals; keeps the last requests.
class Capitals final : public v1::InferenceService::Service {
 public:
  grpc::Status Generate(grpc::ServerContext*, const v1::GenerateRequest* request,
                        v1::GenerateResponse* response) override {
    {
      absl::MutexLock lock(&mutex_);
      generate_ = *request;
    }
    for (const std::string& text : request->texts()) {
      auto* generation = response->add_generations();
      for (int i = 0; i < std::max(1, request->generation().num_return_sequences()); ++i) {
        auto* output = generation->add_outputs();
        output->set_text(absl::AsciiStrToUpper(text));
        output->set_score(-0.5 * (i + 1));
        output->set_finish_reason(v1::FINISH_REASON_EOS);
      }
      generation->set_input_tokens(static_cast<int>(text.size()));
      generation->set_output_tokens(2);
      generation->set_truncated(text.size() > 10);
    }
    response->mutable_model()->set_base(request->base());
    if (request->generation().has_temperature()) response->add_ignored_options("temperature");
    return grpc::Status::OK;
  }

  grpc::Status Summarize(grpc::ServerContext*, const v1::SummarizeRequest* request,
                         v1::SummarizeResponse* response) override {
    {
      absl::MutexLock lock(&mutex_);
      summarize_ = *request;
    }
    for (const std::string& text : request->texts()) {
      auto* summary = response->add_summaries();
      summary->set_summary(text.substr(0, text.find('.') + 1));
      summary->set_kind(v1::Summary::EXTRACTIVE);
      summary->add_sentences(0);
      summary->set_input_tokens(static_cast<int>(text.size()));
    }
    response->mutable_model()->set_base(request->base());
    return grpc::Status::OK;
  }

  grpc::Status StreamGenerate(grpc::ServerContext* context, const v1::StreamGenerateRequest* request,
                              grpc::ServerWriter<v1::StreamGenerateResponse>* writer) override {
    v1::StreamGenerateResponse message;
    for (const auto piece : absl::StrSplit(request->text(), ' ')) {
      message.set_text(absl::StrCat(absl::AsciiStrToUpper(std::string(piece)), " "));
      writer->Write(message);
    }
    if (!broken.ok()) return ToGrpcStatus(broken);
    if (hold) {
      shown.Notify();
      while (!context->IsCancelled()) absl::SleepFor(absl::Milliseconds(1));
    }
    message.clear_text();
    if (complete) message.mutable_generation()->add_outputs()->set_text(absl::AsciiStrToUpper(request->text()));
    message.add_ignored_options("top_k");
    writer->Write(message);
    return grpc::Status::OK;
  }

  v1::GenerateRequest generate() {
    absl::MutexLock lock(&mutex_);
    return generate_;
  }
  v1::SummarizeRequest summarize() {
    absl::MutexLock lock(&mutex_);
    return summarize_;
  }

  absl::Status broken;
  bool hold = false;
  bool complete = true;
  absl::Notification shown;

 private:
  absl::Mutex mutex_;
  v1::GenerateRequest generate_ ABSL_GUARDED_BY(mutex_);
  v1::SummarizeRequest summarize_ ABSL_GUARDED_BY(mutex_);
};

class GenerateTest : public testing::Test {
 protected:
  struct Ended {
    absl::Status status;
    std::string out, err;
    std::vector<nlohmann::json> lines() const {
      std::vector<nlohmann::json> lines;
      for (const auto line : absl::StrSplit(out, '\n', absl::SkipEmpty())) {
        lines.push_back(nlohmann::json::parse(std::string(line)));
      }
      return lines;
    }
  };
  // A command line of its own, as a process would run it.
  Ended Run(std::vector<std::string> words) {
    clis_.push_back(std::make_unique<Cli>());  // a test's other thread may hold it a little longer
    Cli& cli = *clis_.back();
    CLI::App app("", "tenon");
    AddCommands(app, cli);
    words.insert(words.begin(), {"--server", server_.address()});
    std::reverse(words.begin(), words.end());
    app.parse(std::move(words));
    cli_ = &cli;
    testing::internal::CaptureStdout();
    testing::internal::CaptureStderr();
    Ended ended;
    ended.status = cli.ReadSettings();
    if (ended.status.ok()) ended.status = cli.Run();
    ended.out = testing::internal::GetCapturedStdout();
    ended.err = testing::internal::GetCapturedStderr();
    return ended;
  }

  Capitals service_;
  InProcessServer server_{{&service_}};
  test::TempFolder folder_;
  std::vector<std::unique_ptr<Cli>> clis_;
  std::atomic<Cli*> cli_ = nullptr;
};

TEST_F(GenerateTest, OneTextIsAnsweredByTheTextAlone) {
  const Ended ended = Run({"generate", "--base", "flan", "how are you"});
  EXPECT_TRUE(ended.status.ok()) << ended.status;
  EXPECT_EQ(ended.out, "HOW ARE YOU\n");
  EXPECT_EQ(ended.err, "Warning: 1 of 1 text was not read to the end.\n");
}

TEST_F(GenerateTest, WhatATerminalWouldObeyIsNotPrinted) {
  EXPECT_EQ(Run({"generate", "--base", "flan", "a\x1b[2Jb\n\tc"}).out, "A [2JB\n\tC\n");
}

TEST_F(GenerateTest, SeveralTextsOrOutputsAreATable) {
  const Ended texts = Run({"generate", "--base", "flan", "one", "two"});
  EXPECT_EQ(texts.out,
            "TEXT  OUTPUT  SCORE    END\n"
            "one   ONE     -0.5000  eos\n"
            "two   TWO     -0.5000  eos\n");
  EXPECT_EQ(texts.err, "");
  const Ended outputs = Run({"generate", "--base", "flan", "one", "--num-beams", "2", "--num-return-sequences", "2"});
  EXPECT_THAT(outputs.out, HasSubstr("one   ONE     -1.0000  eos\n"));
}

TEST_F(GenerateTest, OptionsThatDidNothingAreNamed) {
  const Ended ended = Run({"generate", "--base", "flan", "--temperature", "0.5", "one"});
  EXPECT_EQ(ended.err, "Warning: without effect beside the other options: temperature.\n");
}

TEST_F(GenerateTest, EveryFieldHasItsOption) {
  const Ended ended = Run({"generate",
                           "--adapter=a",
                           "--max-new-tokens=50",
                           "--min-new-tokens=2",
                           "--max-length=60",
                           "--min-length=3",
                           "--num-beams=4",
                           "--num-return-sequences=2",
                           "--length-penalty=-1.5",
                           "--early-stopping=never",
                           "--do-sample",
                           "--temperature=0.7",
                           "--top-k=0",
                           "--top-p=0.9",
                           "--typical-p=0.8",
                           "--seed=18446744073709551615",
                           "--repetition-penalty=1.2",
                           "--no-repeat-ngram-size=3",
                           "--bad-words=one",
                           "--bad-words",
                           "two, three",
                           "--stop",
                           "\n\n",
                           "--forced-bos-token-id=5",
                           "--return-scores",
                           "--max-input-tokens=100",
                           "the text"});
  ASSERT_TRUE(ended.status.ok()) << ended.status;
  const v1::GenerateRequest sent = service_.generate();
  EXPECT_EQ(sent.adapter(), "a");
  EXPECT_THAT(sent.texts(), ElementsAre("the text"));
  EXPECT_EQ(sent.max_input_tokens(), 100);
  const v1::GenerationConfig& config = sent.generation();
  const auto* descriptor = v1::GenerationConfig::descriptor();
  for (int i = 0; i < descriptor->field_count(); ++i) {
    const auto* field = descriptor->field(i);
    const auto* reflection = config.GetReflection();
    EXPECT_TRUE(field->is_repeated() ? reflection->FieldSize(config, field) > 0 : reflection->HasField(config, field))
        << field->name() << " has no option";
  }
  EXPECT_EQ(config.length_penalty(), -1.5);
  EXPECT_EQ(config.early_stopping(), v1::EARLY_STOPPING_NEVER);
  EXPECT_EQ(config.top_k(), 0);
  EXPECT_EQ(config.seed(), 18446744073709551615u);
  EXPECT_THAT(config.bad_words(), ElementsAre("one", "two, three"));
  EXPECT_THAT(config.stop_strings(), ElementsAre("\n\n"));
}

TEST_F(GenerateTest, WhatIsNotGivenIsLeftToTheBase) {
  ASSERT_TRUE(Run({"generate", "--base", "flan", "one"}).status.ok());
  EXPECT_EQ(service_.generate().generation().ByteSizeLong(), 0u);
}

TEST_F(GenerateTest, AValueThatCannotBeReadIsNamed) {
  EXPECT_EQ(GetField(Run({"generate", "--base", "b", "--num-beams", "many", "t"}).status), "num_beams");
  EXPECT_EQ(GetField(Run({"generate", "--base", "b", "--seed", "-1", "t"}).status), "seed");
  EXPECT_EQ(GetField(Run({"generate", "--base", "b", "--early-stopping", "now", "t"}).status), "--early-stopping");
  EXPECT_EQ(GetField(Run({"summarize", "--base", "b", "--method", "best", "t"}).status), "--method");
  EXPECT_EQ(GetField(Run({"summarize", "--base", "b", "--relevance", "much", "t"}).status), "relevance");
}

TEST_F(GenerateTest, JsonIsOneObjectALineInTheOrderOfTheInput) {
  std::string rows;
  for (int i = 0; i < 100; ++i) absl::StrAppend(&rows, "{\"id\":", i, ",\"text\":\"text ", i, "\"}\n");
  const auto file = folder_.Write("rows.jsonl", rows);
  const Ended ended = Run({"generate", "--base", "flan", "--input", file.string(), "--output", "json"});
  ASSERT_TRUE(ended.status.ok()) << ended.status;
  const auto lines = ended.lines();
  ASSERT_EQ(lines.size(), 100u);
  for (int i = 0; i < 100; ++i) {
    EXPECT_EQ(lines[i]["id"], i);
    EXPECT_EQ(lines[i]["outputs"][0]["text"], absl::StrCat("TEXT ", i));
    EXPECT_EQ(lines[i]["outputs"][0]["finishReason"], "FINISH_REASON_EOS");
    EXPECT_EQ(lines[i]["outputs"][0]["score"], -0.5);
    EXPECT_EQ(lines[i]["model"]["base"], "flan");
    EXPECT_EQ(lines[i]["usage"]["inputTokens"], std::to_string(i < 10 ? 6 : 7));
    EXPECT_EQ(lines[i]["usage"]["outputTokens"], "2");
  }
  EXPECT_EQ(ended.err, "");
}

TEST_F(GenerateTest, AStreamIsPrintedAsItComes) {
  const Ended ended = Run({"generate", "--base", "flan", "--stream", "how are you"});
  EXPECT_TRUE(ended.status.ok()) << ended.status;
  EXPECT_EQ(ended.out, "HOW ARE YOU \n");
  EXPECT_EQ(ended.err, "Warning: without effect beside the other options: top_k.\n");
}

TEST_F(GenerateTest, AStreamInJsonIsALineForEachMessage) {
  const auto lines = Run({"generate", "--base", "flan", "--stream", "how are", "--output", "json"}).lines();
  ASSERT_EQ(lines.size(), 3u);
  EXPECT_EQ(lines[0]["text"], "HOW ");
  EXPECT_EQ(lines[2]["generation"]["outputs"][0]["text"], "HOW ARE");
}

TEST_F(GenerateTest, AStreamTakesOneText) {
  const Ended ended = Run({"generate", "--base", "flan", "--stream", "one", "two"});
  EXPECT_EQ(GetField(ended.status), "--stream");
}

TEST_F(GenerateTest, AStreamThatBreaksKeepsWhatWasShown) {
  service_.broken = TenonError(Reason::kWorkerLost, "The worker was lost.");
  const Ended ended = Run({"generate", "--base", "flan", "--stream", "how are"});
  EXPECT_EQ(ended.out, "HOW ARE \n");
  EXPECT_EQ(GetReason(ended.status), Reason::kWorkerLost);
}

TEST_F(GenerateTest, AStreamWithoutItsLastMessageIsAnError) {
  service_.complete = false;
  EXPECT_EQ(Run({"generate", "--base", "flan", "--stream", "how"}).status.code(), absl::StatusCode::kDataLoss);
}

TEST_F(GenerateTest, CtrlCEndsAStream) {
  service_.hold = true;
  std::thread ctrl_c([this] {
    service_.shown.WaitForNotification();
    cli_.load()->calls().Cancel();
  });
  const Ended ended = Run({"generate", "--base", "flan", "--stream", "how are"});
  ctrl_c.join();
  EXPECT_EQ(ExitCode(ended.status), 130);
}

TEST_F(GenerateTest, ASummaryAloneOrATableOfThem) {
  EXPECT_EQ(Run({"summarize", "--base", "minilm", "First. Second."}).out, "First.\n");
  EXPECT_EQ(Run({"summarize", "--base", "minilm", "First. Second.", "Third. Fourth."}).out,
            "TEXT            SUMMARY  KIND\n"
            "First. Second.  First.   extractive\n"
            "Third. Fourth.  Third.   extractive\n");
}

TEST_F(GenerateTest, SummariesInJson) {
  const auto lines = Run({"summarize", "--base", "minilm", "First. Second.", "--output", "json"}).lines();
  ASSERT_EQ(lines.size(), 1u);
  EXPECT_EQ(lines[0]["summary"], "First.");
  EXPECT_EQ(lines[0]["kind"], "EXTRACTIVE");
  EXPECT_EQ(lines[0]["sentences"], nlohmann::json::array({0}));
  EXPECT_EQ(lines[0]["truncated"], false);
  EXPECT_EQ(lines[0]["model"]["base"], "minilm");
  EXPECT_EQ(lines[0]["usage"]["inputTokens"], "14");
  EXPECT_EQ(lines[0]["usage"]["outputTokens"], "0");
}

TEST_F(GenerateTest, SummarizeSendsItsOptions) {
  ASSERT_TRUE(Run({"summarize", "--base", "minilm", "--max-sentences", "2", "--method", "centroid", "--relevance",
                   "0.25", "--combine-chunks", "--max-input-tokens", "99", "--num-beams", "4", "--stop", "x", "text"})
                  .status.ok());
  const v1::SummarizeRequest sent = service_.summarize();
  EXPECT_EQ(sent.extractive().max_sentences(), 2);
  EXPECT_EQ(sent.extractive().method(), v1::EXTRACTIVE_METHOD_CENTROID);
  EXPECT_EQ(sent.extractive().relevance(), 0.25);
  EXPECT_TRUE(sent.combine_chunks());
  EXPECT_EQ(sent.max_input_tokens(), 99);
  EXPECT_EQ(sent.generation().num_beams(), 4);
  EXPECT_THAT(sent.generation().stop_strings(), ElementsAre("x"));
}

TEST_F(GenerateTest, AModelAndATextAreNeeded) {
  for (const char* command : {"generate", "summarize"}) {
    EXPECT_EQ(GetReason(Run({command, "text"}).status), Reason::kFieldRequired) << command;
    EXPECT_EQ(GetField(Run({command, "--base", "b"}).status), "--input") << command;
  }
}

}  // namespace
}  // namespace tenon::cli
