// A tiny T5 made at test time: random weights from a seed, and a tokenizer of single letters. No torch.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "common/formats/bottleneck_config.h"

namespace tenon::testing {

struct TinyT5 {
  int64_t d_model = 32, d_kv = 16, d_ff = 64, heads = 2, layers = 2, vocab = 64;
  // FLAN's form: gated feed-forward blocks and an output layer of its own; else T5's.
  bool flan = true;
  uint64_t seed = 1;
  // Asked of each tensor before it is written: its name, or another, or none to leave it out; it may change the shape.
  std::function<std::string(const std::string& name, std::vector<int64_t>& shape)> change;
};

// Writes config.json, model.safetensors and a tokenizer.json of SentencePiece's unigram kind into `folder`, which is
// made: `</s>` is 1, letters stand from 4 on. Fails the test on error.
void WriteTinyT5(const std::filesystem::path& folder, const TinyT5& base = {});

// An adapter as it comes from PEFT or AdapterHub, without tenon.json.
struct TinyT5Adapter {
  int64_t r = 4;  // rank, virtual tokens, or reduction factor
  std::vector<std::string> target_modules = {"q", "v"};
  int64_t submodules = 2;  // a prompt's: 2 gives as many rows again, which nobody reads
  formats::BottleneckLayout layout = formats::BottleneckLayout::kSeqBn;
  bool after_cross_attention = false;
  // AdapterHub saves the base's output layer beside a bottleneck: a copy of this base's file, or nothing.
  std::filesystem::path output_layer_of;
  double spread = 0.3;
  uint64_t seed = 1;
};

// Each makes `folder`, and fails the test on error.
void WriteTinyT5Lora(const std::filesystem::path& folder, const TinyT5& base, const TinyT5Adapter& adapter = {});
void WriteTinyT5Prompt(const std::filesystem::path& folder, const TinyT5& base, const TinyT5Adapter& adapter = {});
void WriteTinyT5Bottleneck(const std::filesystem::path& folder, const TinyT5& base, const TinyT5Adapter& adapter = {});

}  // namespace tenon::testing
