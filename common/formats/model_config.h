// What a Hugging Face folder says of a base: config.json and the sentence-transformers files beside it.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace tenon::formats {

enum class Pooling { kMean, kCls, kMax };

// How sentence-transformers turns token states into a vector: modules.json, 1_Pooling/config.json (or the flattened
// names `modules.json`, `1_Pooling_config.json` that a base's manifest stores), sentence_bert_config.json.
struct SentenceConfig {
  Pooling pooling = Pooling::kMean;
  bool normalize = false;
  // Tokens a text is cut to, special tokens included; 0 when the files do not say.
  int64_t max_seq_length = 0;
};

struct EncoderFamily;  // common/formats/encoder_family.h

// Which of transformers' heads stands on an encoder: a classifier of whole rows, which reads the first token's state
// through a dense layer; or one layer on every token's state, that gives each token classes (TokenClassification), or
// tells how likely an answer begins and ends there (QuestionAnswering).
enum class HeadKind { kSequence, kTokens, kAnswers };

// An encoder's config.json, by BERT's names; what a family calls otherwise is its description's affair. Values here are
// those of transformers' BertConfig.
struct EncoderConfig {
  const EncoderFamily* family = nullptr;  // never nullptr in a config that was read
  int64_t vocab_size = 30522;
  int64_t hidden_size = 768;
  int64_t num_hidden_layers = 12;
  int64_t num_attention_heads = 12;
  int64_t intermediate_size = 3072;
  int64_t max_position_embeddings = 512;  // rows of the table
  int64_t position_offset = 0;            // its row of a text's first token
  int64_t type_vocab_size = 2;
  double layer_norm_eps = 1e-12;
  double hidden_dropout_prob = 0.1;
  double attention_probs_dropout_prob = 0.1;
  double classifier_dropout = -1;   // -1: hidden_dropout_prob
  double token_dropout = -1;        // before a head on every token; -1: as classifier_dropout
  double answer_dropout = 0;        // likewise, before one that finds answers
  double initializer_range = 0.02;  // standard deviation of new weights
  bool scales_words = false;        // word embeddings times hidden_size^0.5
  std::string hidden_act = "gelu";  // (erf), `gelu_new`, `relu`
  int64_t pad_token_id = 0;
  std::vector<std::string> architectures;
  // Labels of the base's own head in index order (`id2label`); empty when it has none (architectures decide). Of one
  // that finds answers AnswerLabels().
  std::vector<std::string> labels;
  HeadKind head_kind = HeadKind::kSequence;  // of that head
  bool multi_label = false;                  // problem_type
  // The same: that head gives numbers, of which `labels` are the names.
  bool regression = false;
  SentenceConfig sentence;
  // What stands before the encoder's names in transformers' model without a head.
  std::string plain_prefix;
  // A linear layer that pooled vectors go through, by its name in full, and its width; empty and 0 where there is none.
  std::string projection;
  int64_t projection_dim = 0;

  // Tokens that a row may have, virtual ones among them.
  int64_t max_tokens() const { return max_position_embeddings - position_offset; }
  // Whether a second token type, which a pair's second text is of, is missing where tokens have types.
  bool one_type() const;
  // Floats of a sentence vector.
  int64_t vector_size() const { return projection.empty() ? hidden_size : projection_dim; }
};

// UNSUPPORTED: a pair's second text on a base for which `one_type()` is true.
absl::Status OneTypeError(const std::string& field);

// Reads a base's folder, whose config.json must be of a family of encoders. BASE_INVALID names the file and key at
// fault; UNSUPPORTED the family, or what the engine does not run (other position embeddings, decoders, ...).
absl::StatusOr<EncoderConfig> ReadEncoderConfig(const std::filesystem::path& folder);

// Files of a Hugging Face folder that make a base of any family, as (name in the manifest, path on disk); other files
// are left out. Folder parts become `_`-free flat names: `1_Pooling/config.json` is `1_Pooling_config.json`.
// BASE_INVALID names a missing one.
absl::StatusOr<std::vector<std::pair<std::string, std::filesystem::path>>> BaseFiles(
    const std::filesystem::path& folder);

}  // namespace tenon::formats
