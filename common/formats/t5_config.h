// What config.json says of a T5 (Raffel et al., 2020), a T5 v1.1 or a FLAN-T5: one family, whose later members gate
// their feed-forward blocks and have an output layer of their own.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

#include "absl/status/statusor.h"

namespace tenon::formats {

struct T5Config {
  std::string model_type;  // `t5`
  int64_t vocab_size = 0;
  int64_t d_model = 0;
  int64_t d_kv = 0;  // of one head; heads together may be wider or narrower than d_model
  int64_t d_ff = 0;
  int64_t num_layers = 0, num_decoder_layers = 0;
  int64_t num_heads = 0;
  int64_t relative_attention_num_buckets = 0;
  int64_t relative_attention_max_distance = 0;  // from here on all distances share a bucket
  double layer_norm_epsilon = 1e-6;
  double dropout_rate = 0.1;
  bool gated = false;      // feed_forward_proj `gated-gelu`
  std::string activation;  // `relu` or `gelu_new`

  // Whether the output layer is the embedding (tie_word_embeddings). The weights have the last word: see
  // `scale_outputs`.
  bool tied = true;
  // Whether the decoder's last states are multiplied by d_model^-0.5 before the output layer: in a T5 whose embedding
  // is its output layer, never in T5 v1.1 and FLAN. As transformers 5 decides it: by tie_word_embeddings, or, in a file
  // that it has written itself and in which every T5 is tied, by scale_decoder_outputs. An lm_head.weight in the
  // weights is used whatever is said here, as there.
  bool scale_outputs = true;

  int64_t pad_token_id = 0;
  int64_t decoder_start_token_id = 0;
  // What a summary's input begins with: task_specific_params.summarization.prefix, else `summarize: `.
  std::string summary_prefix;
};

// Reads a base's folder. BASE_INVALID names the key at fault, UNSUPPORTED the feature.
absl::StatusOr<T5Config> ReadT5Config(const std::filesystem::path& folder);

}  // namespace tenon::formats
