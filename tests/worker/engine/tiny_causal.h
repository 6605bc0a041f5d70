// A tiny GPT-2 or OPT made at test time: random weights from a seed, and a byte-level tokenizer of single letters. No
// torch.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

namespace tenon::testing {

struct TinyCausal {
  bool opt = false;        // else GPT-2
  bool norm_first = true;  // OPT's alone
  int64_t word_size = 32;  // OPT's alone
  int64_t hidden = 32, heads = 2, layers = 2, wide = 64, vocab = 64, positions = 48;
  uint64_t seed = 1;
  // Asked of each tensor before it is written: its name, or another, or none to leave it out; it may change the shape.
  std::function<std::string(const std::string& name, std::vector<int64_t>& shape)> change;
};

// Writes config.json, model.safetensors, vocab.json and merges.txt into `folder`, which is made: `</s>` is 1, letters
// stand from 2 on. Fails the test on error.
void WriteTinyCausal(const std::filesystem::path& folder, const TinyCausal& base = {});

// An adapter as it comes from PEFT, without tenon.json.
struct TinyCausalAdapter {
  int64_t r = 4;  // rank, or virtual tokens
  // Beside a layer's queries, keys and values: on the feed-forward block's first layer, too.
  bool wide = false;
  double spread = 0.3;
  uint64_t seed = 1;
};

// Each makes `folder`, and fails the test on error.
void WriteTinyCausalLora(const std::filesystem::path& folder, const TinyCausal& base,
                         const TinyCausalAdapter& adapter = {});
void WriteTinyCausalPrompt(const std::filesystem::path& folder, const TinyCausal& base,
                           const TinyCausalAdapter& adapter = {});

}  // namespace tenon::testing
