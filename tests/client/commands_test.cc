// The command tree: what the design promises is there, and every command teaches.
#include <gtest/gtest.h>

#include <cstdio>
#include <set>

#include "absl/strings/str_cat.h"
#include "client/cli/command.h"
#include "common/formats/status.h"
#include "tests/common/formats/temp_folder.h"

namespace tenon::cli {
namespace {

std::vector<const CLI::App*> Children(const CLI::App& app) {
  return app.get_subcommands([](const CLI::App*) { return true; });
}

void Collect(const CLI::App& app, const std::string& path, std::map<std::string, const CLI::App*>* leaves) {
  if (Children(app).empty()) (*leaves)[path] = &app;
  for (const CLI::App* child : Children(app))
    Collect(*child, path.empty() ? child->get_name() : path + " " + child->get_name(), leaves);
}

class CommandsTest : public testing::Test {
 protected:
  CommandsTest() { AddCommands(app_, cli_); }

  // Runs a command line; its status.
  absl::Status Run(std::vector<std::string> words) {
    std::reverse(words.begin(), words.end());
    app_.parse(std::move(words));
    const absl::Status settings = cli_.ReadSettings();
    return settings.ok() ? cli_.Run() : settings;
  }

  Cli cli_;
  CLI::App app_{"", "tenon"};
};

TEST_F(CommandsTest, EveryPromisedCommandIsThere) {
  std::map<std::string, const CLI::App*> leaves;
  Collect(app_, "", &leaves);
  for (const char* path : {"up",
                           "jobs finetune",
                           "jobs evaluate",
                           "jobs list",
                           "jobs get",
                           "jobs watch",
                           "jobs cancel",
                           "classify",
                           "embed",
                           "generate",
                           "summarize",
                           "collections create",
                           "collections list",
                           "collections delete",
                           "documents add",
                           "documents delete",
                           "retrieve",
                           "adapters list",
                           "adapters get",
                           "adapters import",
                           "adapters export",
                           "adapters delete",
                           "bases list",
                           "bases add",
                           "bases pull",
                           "datasets list",
                           "datasets add",
                           "datasets check",
                           "datasets delete",
                           "workers list",
                           "status",
                           "version",
                           "completion bash",
                           "completion zsh"}) {
    EXPECT_EQ(leaves.count(path), 1u) << path;
  }
}

TEST_F(CommandsTest, EveryCommandTeachesWithAnExampleOfItself) {
  std::map<std::string, const CLI::App*> leaves;
  Collect(app_, "", &leaves);
  for (const auto& [path, command] : leaves) {
    const std::string help = command->help();
    EXPECT_NE(help.find("Example:"), std::string::npos) << path;
    EXPECT_NE(help.find("tenon " + path), std::string::npos) << path;
    for (const CLI::Option* option : command->get_options())
      EXPECT_FALSE(option->get_description().empty()) << path << " " << option->get_name();
  }
}

TEST_F(CommandsTest, OptionsOfTheProgramMayStandBehindTheCommand) {
  EXPECT_TRUE(Run({"completion", "bash", "--output", "json", "--timeout", "5s"}).ok());
  EXPECT_TRUE(cli_.json());
}

TEST_F(CommandsTest, UnknownWordsAreRefused) {
  EXPECT_THROW(Run({"jobs", "explode"}), CLI::ParseError);
  EXPECT_THROW(Run({"classify", "--no-such-option"}), CLI::ParseError);
  EXPECT_THROW(Run({"jobs"}), CLI::ParseError);
  EXPECT_THROW(Run({"status", "--output", "xml"}), CLI::ParseError);
  EXPECT_THROW(Run({"classify", "--base", "b", "--adapter", "a", "text"}), CLI::ParseError);
}

TEST_F(CommandsTest, AWordThatIsNoCommandIsNamedWithTheNearest) {
  EXPECT_THROW(Run({"jbos", "list"}), CLI::ParseError);
  EXPECT_EQ(ExplainUnknownCommand(app_), "There is no command 'tenon jbos'; did you mean 'tenon jobs'?");
  EXPECT_THROW(Run({"jobs", "lsit"}), CLI::ParseError);
  EXPECT_EQ(ExplainUnknownCommand(app_), "There is no command 'tenon jobs lsit'; did you mean 'tenon jobs list'?");
  EXPECT_THROW(Run({"jobs"}), CLI::ParseError);
  EXPECT_EQ(ExplainUnknownCommand(app_), "");
  EXPECT_THROW(Run({"classify", "--no-such-option"}), CLI::ParseError);
  EXPECT_EQ(ExplainUnknownCommand(app_), "");
}

TEST_F(CommandsTest, AFileNameThatCannotBeOneIsAnError) {
  const absl::Status status = Run({"jobs", "finetune", "--base", "b", "--adapter", "a", "--task",
                                   "sequence_classification", "--method", "lora", "--train", std::string(5000, 'x')});
  EXPECT_EQ(GetReason(status), Reason::kNotFound);
}

TEST_F(CommandsTest, AModelIsNeeded) { EXPECT_EQ(GetReason(Run({"classify", "text"})), Reason::kFieldRequired); }

TEST_F(CommandsTest, ATextIsNeeded) {
  EXPECT_EQ(GetReason(Run({"classify", "--adapter", "a"})), Reason::kFieldRequired);
}

TEST_F(CommandsTest, AnUnknownOptionNamesTheNearestOne) {
  const absl::Status status =
      Run({"jobs", "finetune", "--base", "b", "--adapter", "a", "--task", "sequence_classification", "--method", "lora",
           "--train", "t", "--set", "learnin_rate=1e-3"});
  EXPECT_EQ(GetReason(status), Reason::kOptionInvalid);
  EXPECT_NE(std::string(status.message()).find("learning_rate"), std::string::npos);
}

TEST_F(CommandsTest, OptionsOfLoraDoNotFitAHead) {
  const absl::Status status = Run({"jobs", "finetune", "--base", "b", "--adapter", "a", "--task",
                                   "sequence_classification", "--method", "head", "--train", "t", "--set", "r=8"});
  EXPECT_EQ(GetReason(status), Reason::kOptionInvalid);
  EXPECT_EQ(GetField(status), "r");
}

TEST_F(CommandsTest, NeighboursAreOfAScorerOfSentences) {
  const auto with = [](const std::string& task) {
    return std::vector<std::string>{"jobs", "finetune", "--base", "b",       "--adapter",    "a",     "--task",
                                    task,   "--method", "lora",   "--train", "no such file", "--set", "neighbours=2"};
  };
  EXPECT_EQ(GetField(Run(with("sequence_classification"))), "neighbours");
  EXPECT_EQ(GetField(Run(with("seq2seq"))), "neighbours");
  EXPECT_EQ(GetField(Run(with("extractive"))), "--train") << "the option is taken";
}

TEST_F(CommandsTest, ChosenSentencesAreNoEvaluationsTask) {
  const absl::Status status = Run({"jobs", "evaluate", "--task", "extractive", "--adapter", "a", "--data", "d"});
  EXPECT_EQ(GetReason(status), Reason::kUnsupported);
  EXPECT_EQ(GetField(status), "--task");
}

TEST_F(CommandsTest, APreviewIsOfTemplates) {
  const absl::Status status = Run({"jobs", "finetune", "--base", "b", "--adapter", "a", "--task",
                                   "sequence_classification", "--method", "lora", "--train", "t", "--preview"});
  EXPECT_EQ(GetField(status), "--preview");
}

TEST_F(CommandsTest, WhatIsMeasuredIsNeeded) {
  EXPECT_EQ(GetField(Run({"jobs", "evaluate", "--task", "seq2seq", "--data", "d"})), "--adapter");
}

class ForeignOption : public CommandsTest, public testing::WithParamInterface<std::vector<std::string>> {};

TEST_P(ForeignOption, OfWrittenTextsIsNamedElsewhere) {
  std::vector<std::string> words = {"jobs", "evaluate", "--adapter", "a", "--data", "d"};
  words.insert(words.end(), GetParam().begin(), GetParam().end());
  const absl::Status status = Run(words);
  EXPECT_EQ(GetReason(status), Reason::kFieldInvalid);
  EXPECT_NE(std::string(status.message()).find("--task seq2seq"), std::string::npos) << status;
}

INSTANTIATE_TEST_SUITE_P(
    All, ForeignOption,
    testing::Values(std::vector<std::string>{"--num-beams", "4"}, std::vector<std::string>{"--labels", "a,b"},
                    std::vector<std::string>{"--target-template", "{a}"}, std::vector<std::string>{"--max-rows", "3"},
                    std::vector<std::string>{"--max-target-tokens", "3"}, std::vector<std::string>{"--no-stemmer"}));

TEST_F(CommandsTest, ADataSetsKindIsAWord) {
  test::TempFolder folder;
  const auto file = folder.Write("a.jsonl", "{}");
  EXPECT_EQ(GetField(Run({"datasets", "check", "--kind", "poems", file.string()})), "--kind");
}

TEST_F(CommandsTest, ATaskThatDoesNotExistListsThoseThatDo) {
  const absl::Status status = Run(
      {"jobs", "finetune", "--base", "b", "--adapter", "a", "--task", "poetry", "--method", "lora", "--train", "t"});
  EXPECT_EQ(GetField(status), "--task");
  EXPECT_NE(std::string(status.message()).find("sequence_classification"), std::string::npos);
}

TEST_F(CommandsTest, CompletionKnowsEveryNounAndVerb) {
  testing::internal::CaptureStdout();
  ASSERT_TRUE(Run({"completion", "bash"}).ok());
  const std::string script = testing::internal::GetCapturedStdout();
  std::map<std::string, const CLI::App*> leaves;
  Collect(app_, "", &leaves);
  for (const auto& [path, command] : leaves) EXPECT_NE(script.find("'" + path + "')"), std::string::npos) << path;
  EXPECT_NE(script.find("complete -F _tenon tenon"), std::string::npos);
}

// The script at work in the shell it is for: what it offers behind `words`.
std::string Offered(const std::string& script, const std::string& words) {
  const test::TempFolder folder;
  const auto file = folder.Write("complete.sh", script + "COMP_WORDS=(" + words +
                                                    ")\nCOMP_CWORD=$((${#COMP_WORDS[@]}-1))\n_tenon\n"
                                                    "echo -n \"${COMPREPLY[*]}\"\n");
  FILE* shell = popen(("bash " + file.string()).c_str(), "r");
  std::string offered;
  for (int c = 0; (c = fgetc(shell)) != EOF;) offered += static_cast<char>(c);
  EXPECT_EQ(pclose(shell), 0);
  return offered;
}

TEST_F(CommandsTest, CompletionOffersWhatFitsTheCommand) {
  testing::internal::CaptureStdout();
  ASSERT_TRUE(Run({"completion", "bash"}).ok());
  const std::string script = testing::internal::GetCapturedStdout();
  EXPECT_EQ(Offered(script, "tenon summarize --method ''"), "mmr centroid lead scorer");
  EXPECT_EQ(Offered(script, "tenon jobs finetune --method ''"), "lora prompt_tuning bottleneck head full");
  EXPECT_EQ(Offered(script, "tenon generate --early-stopping ''"), "false true never");
  EXPECT_EQ(Offered(script, "tenon jobs finetune --task ''"), "sequence_classification seq2seq extractive");
  EXPECT_EQ(Offered(script, "tenon jobs evaluate --task ''"), "sequence_classification seq2seq feature_extraction");
  EXPECT_EQ(Offered(script, "tenon datasets add --kind ''"), "classification queries qrels records");
  EXPECT_EQ(Offered(script, "tenon generate --num"), "--num-beams --num-return-sequences");
  EXPECT_EQ(Offered(script, "tenon sum"), "summarize");
}

}  // namespace
}  // namespace tenon::cli
