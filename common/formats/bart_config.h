// What config.json says of a BART (Lewis et al., 2020), and what its checkpoints call their parts.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>

#include "absl/status/statusor.h"
#include "common/formats/encoder_family.h"
#include "common/formats/model_config.h"

namespace tenon::formats {

struct BartConfig {
  std::string model_type;  // `bart`
  int64_t vocab_size = 0;
  int64_t d_model = 0;
  int64_t encoder_layers = 0, decoder_layers = 0;
  int64_t encoder_heads = 0, decoder_heads = 0;  // each divides d_model
  int64_t encoder_ffn_dim = 0, decoder_ffn_dim = 0;
  // Tokens of a source, virtual ones among them, and of what is written with the token that it begins with.
  int64_t max_positions = 0;
  std::string activation;        // as EncoderConfig::hidden_act
  bool scale_embedding = false;  // word embeddings times d_model^0.5, in both stacks
  int64_t decoder_start_token_id = 0;
  // What a summary's input begins with: task_specific_params.summarization.prefix, else nothing.
  std::string summary_prefix;

  int64_t position_rows() const;  // of either stack's table
};

// Both tables have two rows before a text's first position, which nobody reads.
inline constexpr int64_t kBartPositionOffset = 2;
inline constexpr double kBartNormEps = 1e-5;

// Reads a base's folder. BASE_INVALID names the key at fault, UNSUPPORTED the feature.
absl::StatusOr<BartConfig> ReadBartConfig(const std::filesystem::path& folder);

// Its encoder computes what BERT's does, under other names: the description of it, and its sizes.
const EncoderFamily& BartEncoderFamily();
EncoderConfig BartEncoderConfig(const BartConfig& config);

// Modules of one layer of the decoder.
struct BartDecoderNames {
  std::string query, key, value, attention_output, attention_norm;  // of what is written so far
  std::string source_query, source_key, source_value, source_output, source_norm;
  std::string intermediate, output, output_norm;
};
BartDecoderNames BartDecoderLayer(int64_t index);

// The embedding under the names that it goes by, best first; the last one is the output layer, and stands without a
// prefix.
inline constexpr const char* kBartEmbeddings[] = {"shared", "encoder.embed_tokens", "decoder.embed_tokens", "lm_head"};
inline constexpr char kBartDecoderPositions[] = "decoder.embed_positions";
inline constexpr char kBartDecoderNorm[] = "decoder.layernorm_embedding";
// Without a prefix in every checkpoint. The bias is [1, vocab]; old files and those of the plain model lack it.
inline constexpr char kBartOutput[] = "lm_head", kBartOutputBias[] = "final_logits_bias";

// What stands before all other names in the model that writes; nothing in the plain one.
inline constexpr char kBartTaskPrefix[] = "model.";
// Which of the two a checkpoint has; `has` tells of a tensor by its full name.
std::string BartPrefix(const std::function<bool(const std::string& name)>& has);

}  // namespace tenon::formats
