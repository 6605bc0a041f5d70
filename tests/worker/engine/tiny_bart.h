// A tiny BART made at test time: random weights from a seed, and a tokenizer of single letters. No torch.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

namespace tenon::testing {

struct TinyBart {
  int64_t d_model = 32, heads = 2, ffn_dim = 64, layers = 2, vocab = 64, positions = 40;
  std::string prefix = "model.";  // empty: as the model without its output layer is published
  uint64_t seed = 1;
  // Asked of each tensor before it is written: its name, or another, or none to leave it out; it may change the shape.
  std::function<std::string(const std::string& name, std::vector<int64_t>& shape)> change;
};

// Writes config.json, model.safetensors, vocab.json and merges.txt into `folder`, which is made: `<s>` is 0, `<pad>` 1,
// `</s>` 2, letters stand from 4 on. Fails the test on error.
void WriteTinyBart(const std::filesystem::path& folder, const TinyBart& base = {});

// An adapter as it comes from PEFT, without tenon.json.
struct TinyBartAdapter {
  int64_t r = 4;  // rank, or virtual tokens
  std::vector<std::string> target_modules = {"q_proj", "v_proj"};
  double spread = 0.3;
  uint64_t seed = 1;
};

// Each makes `folder`, and fails the test on error.
void WriteTinyBartLora(const std::filesystem::path& folder, const TinyBart& base, const TinyBartAdapter& adapter = {});
void WriteTinyBartPrompt(const std::filesystem::path& folder, const TinyBart& base,
                         const TinyBartAdapter& adapter = {});

}  // namespace tenon::testing
