// adapter_config.json as Hugging Face PEFT writes it, and tenon.json, which stands beside it.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "absl/status/statusor.h"
#include "common/formats/model_config.h"
#include "common/formats/text_template.h"

namespace tenon::formats {

// PEFT's LoraConfig. Fields that we do not support are refused by name when they are set, never ignored.
struct LoraConfig {
  int64_t r = 8;
  double alpha = 8;
  double dropout = 0;
  // Suffix list; or one regular expression (`target_regex`); or `all-linear`. Exactly one is set.
  std::vector<std::string> target_modules;
  std::string target_regex;
  bool all_linear = false;
  bool default_targets = false;  // the file names none: they are PEFT's choice for the model
  // Modules left out, by the same two rules.
  std::vector<std::string> exclude_modules;
  std::string exclude_regex;
  std::map<std::string, int64_t> rank_pattern;
  std::map<std::string, double> alpha_pattern;
  bool use_rslora = false;
  bool fan_in_fan_out = false;  // the layers' own weights are [in, out]; a LoRA's never are
  std::vector<std::string> modules_to_save;
  // `SEQ_CLS`, `TOKEN_CLS`, `QUESTION_ANS`, `FEATURE_EXTRACTION`, `SEQ_2_SEQ_LM`, `CAUSAL_LM` or empty.
  std::string task_type;
  std::string base_model_name_or_path;
};

// Reads `adapter_config.json` text. ADAPTER_INVALID or UNSUPPORTED names the key.
absl::StatusOr<LoraConfig> ParseLoraConfig(const std::string& json);
// PEFT opens what this writes. Sorted keys, two spaces.
std::string WriteLoraConfig(const LoraConfig& config);

// Whether the regular expressions of `config` can be matched here; OPTION_INVALID with the field. Parsed configs are
// checked.
absl::Status CheckLoraPatterns(const LoraConfig& config);

// What LoRA one module gets by PEFT's rule, or nothing. `module` is the Hugging Face name, such as
// `bert.encoder.layer.0.attention.self.query`. Key patterns match like PEFT's: a full match or behind a dot.
// With `all_linear` the caller asks for linear modules alone.
struct LoraTarget {
  int64_t r = 0;
  double scale = 0;  // alpha / r, or alpha / sqrt(r)
};
std::optional<LoraTarget> MatchLora(const LoraConfig& config, const std::string& module);

// Whether `modules_to_save` has this linear layer trained and kept whole: by a suffix of its name, or by that of the
// pooler or feed-forward block around it, which holds nothing else. `module` as above.
bool SavesModule(const LoraConfig& config, const std::string& module);
// The same for one name of `modules_to_save`.
bool SavesModule(const std::string& name, const std::string& module);

// How a classifier reads a text's sentences when it scores them for a summary.
struct SentenceScorer {
  static constexpr int64_t kMostNeighbours = 64;
  int64_t neighbours = 3;  // sentences before and behind the one that is scored, each

  friend bool operator==(const SentenceScorer&, const SentenceScorer&) = default;
};

// tenon.json: what PEFT's file cannot say.
struct TenonConfig {
  // `sequence_classification`, `token_classification`, `question_answering`, `feature_extraction`, `seq2seq` or
  // `causal_lm`.
  std::string task;
  std::string method;               // `lora`, `prompt_tuning`, `bottleneck` or `head`
  std::vector<std::string> labels;  // in index order; of question_answering AnswerLabels()
  bool multi_label = false;
  // Of token_classification: the tags of a text are chosen together, by a linear chain (crf.h of the engine).
  bool crf = false;
  // The head gives numbers (transformers' problem_type `regression`), and `labels` are the names of its outputs.
  bool regression = false;
  std::string base_digest;
  // Features a `head` adapter reads, and vectors of a feature_extraction adapter.
  Pooling pooling = Pooling::kMean;
  bool normalize = false;
  int64_t max_input_tokens = 0;
  // Of a seq2seq adapter that was trained on rows of named fields.
  std::optional<TextTemplate> text_template;
  // Of a sequence_classification adapter of two labels that was trained to choose a summary's sentences.
  std::optional<SentenceScorer> sentence_scorer;
  std::string job;  // `finetuneJobs/{id}`; left out of the digest
};
absl::StatusOr<TenonConfig> ParseTenonConfig(const std::string& json);
// Sorted keys; `with_job` false gives the text whose digest counts.
std::string WriteTenonConfig(const TenonConfig& config, bool with_job);

}  // namespace tenon::formats
