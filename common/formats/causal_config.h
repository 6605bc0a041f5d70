// A language model that is a decoder alone: its prompt is the beginning of what it writes. GPT-2 (Radford et al., 2019)
// and OPT (Zhang et al., 2022) run one network, and are described as families of encoders are (encoder_family.h):
// whoever needs to know reads the description and never asks which family it is.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace tenon::formats {

class JsonFields;
struct CausalConfig;

// Modules of one layer; in a description, what stands behind its number. A weight is [out, in], or where the family's
// are `turned` [in, out]. The norms are named by the sub-layer that they belong to: they stand before it, or behind it
// where the config says so.
struct CausalLayerNames {
  std::vector<std::string> qkv;  // queries, keys and values: a module each, or one for all
  std::string attention_output, attention_norm;
  std::string intermediate, output, output_norm;
};

// Names are without what stands before the decoder.
struct CausalFamily {
  std::string model_type;    // config.json's
  std::string model_class;   // of transformers, with its output layer
  std::string plain_class;   // without
  std::string task_prefix;   // before the decoder's names in the first: `transformer.`
  std::string plain_prefix;  // in the second

  std::string words, positions, final_norm;
  std::string project_in, project_out;  // between word embeddings and wider or narrower states; empty: never
  std::string layer_prefix;
  CausalLayerNames layer;
  bool turned = false;  // linear layers are transformers' Conv1D
  // Ends of tensors' names that old checkpoints have beside the network: masks, which no version reads.
  std::vector<std::string> buffers;

  std::vector<std::string> lora_targets;  // PEFT's own choice

  // Reads config.json into the sizes and switches below, and refuses what is not supported.
  std::function<void(JsonFields& fields, CausalConfig& config)> read;

  // Full names of layer `index`'s modules, from 0.
  CausalLayerNames Layer(int64_t index) const;
};

struct CausalConfig {
  const CausalFamily* family = nullptr;  // never nullptr in a config that was read
  int64_t vocab_size = 0;
  int64_t hidden_size = 0;
  int64_t word_size = 0;  // of a word embedding, and of what the output layer reads
  int64_t num_layers = 0, num_heads = 0;
  int64_t intermediate_size = 0;
  int64_t max_tokens = 0;       // of a sequence, virtual tokens among them: its positions are a table
  int64_t position_offset = 0;  // rows of the table before that of a sequence's first token
  bool norm_first = true;       // norms before the sub-layers, else behind them
  bool final_norm = true;       // one more behind the last layer
  double layer_norm_eps = 1e-5;
  std::string activation;  // `gelu` (erf), `gelu_new`, `relu`
  // Whether the output layer is the embedding. An lm_head.weight in the weights is used whatever is said here, as by
  // transformers 5.
  bool tied = true;

  bool projects() const { return word_size != hidden_size; }
};

// nullptr: no such family.
const CausalFamily* FindCausalFamily(const std::string& model_type);

// Reads a base's folder, whose config.json must be of such a family. BASE_INVALID names the key at fault, UNSUPPORTED
// the feature.
absl::StatusOr<CausalConfig> ReadCausalConfig(const std::filesystem::path& folder);

// What stands before the decoder's tensors in a checkpoint: whichever of both prefixes `has` (a tensor of this full
// name) finds the embeddings behind, the first where it finds none.
std::string FindPrefix(const CausalFamily& family, const std::function<bool(const std::string& name)>& has);

// For the families' descriptions: sizes that every family has, checked against each other.
void CheckCausalSizes(JsonFields& fields, const std::string& hidden_key, const std::string& heads_key,
                      const CausalConfig& config);
// The activation under `key`.
std::string ReadCausalActivation(JsonFields& fields, const std::string& key, const std::string& otherwise);

CausalFamily Gpt2Family();
CausalFamily OptFamily();

}  // namespace tenon::formats
