#include "worker/engine/generate/generation_config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>

#include "common/formats/status.h"
#include "tests/common/formats/temp_folder.h"

namespace tenon::engine {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

TEST(GenerationConfig, ReadsAllThatItKnows) {
  const auto options = ParseGenerationConfig(R"({
    "max_new_tokens": 7, "min_new_tokens": 2, "max_length": 30, "min_length": 3, "num_beams": 4, "num_return_sequences": 2,
    "length_penalty": 2.0, "early_stopping": "never", "do_sample": true, "temperature": 0.5, "top_k": 9, "top_p": 0.8,
    "typical_p": 0.7, "repetition_penalty": 1.2, "no_repeat_ngram_size": 3, "bad_words_ids": [[4], [5, 6]],
    "suppress_tokens": [7], "begin_suppress_tokens": [8, 9], "forced_bos_token_id": 0, "forced_eos_token_id": 2,
    "eos_token_id": [2, 3], "pad_token_id": 1, "decoder_start_token_id": 2, "stop_strings": "###", "use_cache": true,
    "transformers_version": "5.0.0", "num_beam_groups": 1, "diversity_penalty": 0.0, "guidance_scale": null})",
                                             "generation_config.json");
  ASSERT_TRUE(options.ok()) << options.status();
  EXPECT_EQ(options->max_new_tokens, 7);
  EXPECT_EQ(options->min_new_tokens, 2);
  EXPECT_EQ(options->max_length, 30);
  EXPECT_EQ(options->min_length, 3);
  EXPECT_EQ(options->num_beams, 4);
  EXPECT_EQ(options->num_return_sequences, 2);
  EXPECT_EQ(options->length_penalty, 2.0);
  EXPECT_EQ(options->early_stopping, EarlyStopping::kNever);
  EXPECT_FALSE(options->do_sample.has_value());  // the request's alone
  EXPECT_EQ(options->temperature, 0.5);
  EXPECT_EQ(options->top_k, 9);
  EXPECT_EQ(options->top_p, 0.8);
  EXPECT_EQ(options->typical_p, 0.7);
  EXPECT_EQ(options->repetition_penalty, 1.2);
  EXPECT_EQ(options->no_repeat_ngram_size, 3);
  EXPECT_THAT(options->bad_words, ElementsAre(ElementsAre(4), ElementsAre(5, 6)));
  EXPECT_THAT(options->suppress_tokens, ElementsAre(7));
  EXPECT_THAT(options->begin_suppress_tokens, ElementsAre(8, 9));
  EXPECT_EQ(options->forced_bos_token_id, 0);
  EXPECT_THAT(options->forced_eos_token_ids, ElementsAre(2));
  EXPECT_THAT(options->eos_token_ids, ElementsAre(2, 3));
  EXPECT_EQ(options->pad_token_id, 1);
  EXPECT_EQ(options->decoder_start_token_id, 2);
  EXPECT_THAT(options->stop_strings, ElementsAre("###"));
}

TEST(GenerationConfig, RefusesByName) {
  for (const auto& [text, field, reason] : std::vector<std::tuple<const char*, const char*, Reason>>{
           {R"({"penalty_alpha": 0.6})", "penalty_alpha", Reason::kUnsupported},
           {R"({"num_beam_groups": 3})", "num_beam_groups", Reason::kUnsupported},
           {R"({"min_p": 0.1})", "min_p", Reason::kUnsupported},
           {R"({"encoder_repetition_penalty": 1.5})", "encoder_repetition_penalty", Reason::kUnsupported},
           {R"({"early_stopping": "soon"})", "early_stopping", Reason::kBaseInvalid},
           {R"({"eos_token_id": -1})", "eos_token_id", Reason::kBaseInvalid},
           {R"({"eos_token_id": [1, "2"]})", "eos_token_id", Reason::kBaseInvalid},
           {R"({"bad_words_ids": 5})", "bad_words_ids", Reason::kBaseInvalid},
           {R"({"num_beams": 0})", "num_beams", Reason::kBaseInvalid},
           {R"({"temperature": "hot"})", "temperature", Reason::kBaseInvalid},
       }) {
    const auto options = ParseGenerationConfig(text, "generation_config.json");
    ASSERT_FALSE(options.ok()) << text;
    EXPECT_EQ(GetField(options.status()), field);
    EXPECT_EQ(GetReason(options.status()), reason) << text;
    EXPECT_THAT(std::string(options.status().message()), HasSubstr("generation_config.json"));
  }
  EXPECT_EQ(GetReason(ParseGenerationConfig("[1]", "f").status()), Reason::kBaseInvalid);
  EXPECT_EQ(GetReason(ParseGenerationConfig("{", "f").status()), Reason::kBaseInvalid);
}

TEST(GenerationConfig, FallsBackOnTheModelsConfig) {
  const test::TempFolder folder;
  std::ofstream(folder / "config.json") << R"({"eos_token_id": 1, "pad_token_id": 0, "decoder_start_token_id": 0,
                                                      "num_beams": 4, "num_layers": 2})";
  auto options = ReadGenerationConfig(folder / "");
  ASSERT_TRUE(options.ok()) << options.status();
  EXPECT_THAT(options->eos_token_ids, ElementsAre(1));
  EXPECT_EQ(options->decoder_start_token_id, 0);
  EXPECT_EQ(options->num_beams, 4) << "as transformers 5 does";
  std::ofstream(folder / "generation_config.json") << R"({"eos_token_id": 5})";
  options = ReadGenerationConfig(folder / "");
  ASSERT_TRUE(options.ok()) << options.status();
  EXPECT_FALSE(options->num_beams.has_value());
  EXPECT_THAT(options->eos_token_ids, ElementsAre(5));
}

// As the published t5-small and flan-t5-small say it.
TEST(TaskConfig, ReadsWhatTheModelsConfigSaysOfOneTask) {
  const std::string config = R"({"model_type": "t5", "num_beams": 9, "task_specific_params": {
      "summarization": {"early_stopping": true, "length_penalty": 2.0, "max_length": 200, "min_length": 30,
                        "no_repeat_ngram_size": 3, "num_beams": 4, "prefix": "summarize: "},
      "translation_en_to_de": {"num_beams": 2}}})";
  const auto options = ParseTaskConfig(config, "summarization");
  ASSERT_TRUE(options.ok()) << options.status();
  EXPECT_EQ(options->early_stopping, EarlyStopping::kTrue);
  EXPECT_EQ(options->length_penalty, 2);
  EXPECT_EQ(options->max_length, 200);
  EXPECT_EQ(options->min_length, 30);
  EXPECT_EQ(options->no_repeat_ngram_size, 3);
  EXPECT_EQ(options->num_beams, 4);
  EXPECT_EQ(ParseTaskConfig(config, "translation_en_to_de")->num_beams, 2);
  const auto other = ParseTaskConfig(config, "translation_en_to_fr");
  ASSERT_TRUE(other.ok());
  EXPECT_FALSE(other->num_beams.has_value()) << "nothing set";
  EXPECT_FALSE(ParseTaskConfig("{}", "summarization")->num_beams.has_value());
  EXPECT_FALSE(ParseTaskConfig(R"({"task_specific_params": null})", "summarization")->num_beams.has_value());
}

TEST(TaskConfig, NamesWhatIsWrong) {
  const auto list = ParseTaskConfig(R"({"task_specific_params": []})", "summarization").status();
  EXPECT_EQ(GetReason(list), Reason::kBaseInvalid);
  EXPECT_EQ(GetField(list), "task_specific_params");
  EXPECT_EQ(GetField(ParseTaskConfig(R"({"task_specific_params": {"summarization": 3}})", "summarization").status()),
            "task_specific_params.summarization");
  const auto beams =
      ParseTaskConfig(R"({"task_specific_params": {"summarization": {"num_beams": 0}}})", "summarization").status();
  EXPECT_EQ(GetField(beams), "num_beams");
  EXPECT_THAT(std::string(beams.message()), HasSubstr("task_specific_params.summarization"));
  EXPECT_EQ(GetReason(ParseTaskConfig("[", "summarization").status()), Reason::kBaseInvalid);
}

TEST(TaskConfig, ReadsAFolder) {
  const test::TempFolder folder;
  std::ofstream(folder / "config.json") << R"({"task_specific_params": {"summarization": {"max_length": 60}}})";
  EXPECT_EQ(ReadTaskConfig(folder / "", "summarization")->max_length, 60);
  EXPECT_FALSE(ReadTaskConfig(folder / "missing", "summarization").ok());
}

}  // namespace
}  // namespace tenon::engine
