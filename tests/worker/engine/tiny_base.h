// A tiny encoder made at test time, a BERT or of another family: random weights from a seed, a vocabulary of real
// words. No torch.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "common/formats/adapter_config.h"
#include "common/formats/bottleneck_config.h"

namespace tenon::testing {

struct TinyBase {
  std::string family = "bert";  // model_type
  int64_t hidden = 32, layers = 2, heads = 2, intermediate = 64, max_positions = 64;
  double dropout = 0.1;
  // Not empty: the family's sequence classifier with these labels (of BERT tensors named `bert.*` and `classifier.*`).
  std::vector<std::string> labels;
  uint64_t seed = 1;
};

// Writes config.json, model.safetensors, vocab.txt and tokenizer_config.json into `folder`, which is made. Fails the
// test on error.
void WriteTinyBase(const std::filesystem::path& folder, const TinyBase& base = {});

// The words of the vocabulary, without special tokens: all lower case, each one token.
const std::vector<std::string>& TinyWords();
// `count` words drawn from the vocabulary, with spaces between.
std::string TinyText(uint64_t seed, int64_t count);

struct TinyAdapter {
  int64_t r = 4;  // rank, virtual tokens, or reduction factor
  double alpha = 8;
  std::vector<std::string> target_modules = {"query", "value"};  // by the base's own names
  std::vector<std::string> labels = {"negative", "positive"};
  std::string base_digest;
  // Standard deviation of the new weights; LoRA's B is random too, so that adapters differ.
  double spread = 0.2;
  // Not zero: added to the classifier's bias of label `favourite`, so that the adapter always answers it.
  int64_t favourite = 0;
  double favour = 0;
  bool multi_label = false;
  uint64_t seed = 1;
};

// Writes a LoRA adapter for sequence classification on a tiny base: PEFT's two files and tenon.json.
void WriteTinyLora(const std::filesystem::path& folder, const TinyBase& base, const TinyAdapter& adapter);
// Writes a soft prompt of `r` virtual tokens for sequence classification: PEFT's two files and tenon.json.
void WriteTinyPrompt(const std::filesystem::path& folder, const TinyBase& base, const TinyAdapter& adapter);
// Writes a bottleneck adapter in AdapterHub's format with a classifier: its four files and tenon.json. `r` is the
// reduction factor.
void WriteTinyBottleneck(const std::filesystem::path& folder, const TinyBase& base, const TinyAdapter& adapter,
                         formats::BottleneckLayout layout);
// Writes a `head` adapter: head.safetensors and tenon.json.
void WriteTinyHead(const std::filesystem::path& folder, const TinyBase& base, const TinyAdapter& adapter);

}  // namespace tenon::testing
