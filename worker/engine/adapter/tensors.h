// Tensors of one adapter. Engine-internal, torch inside.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <map>
#include <memory>
#include <string>

#include "common/formats/adapter_config.h"
#include "common/formats/bottleneck_config.h"
#include "common/formats/encoder_family.h"
#include "common/formats/prompt_config.h"
#include "worker/engine/model/panel_gemm.h"

namespace tenon::engine {

// y = base(x) + scale * B(A(x)), Hu et al. 2021. fp32.
struct LoraPair {
  at::Tensor a;  // [r, in]
  at::Tensor b;  // [out, r]
  double scale = 1;
};

// A whole module that replaces the base's (PEFT's modules_to_save): the classification head above all.
struct SavedModule {
  at::Tensor weight;  // [out, in]
  at::Tensor bias;    // [out]; undefined when it has none
};

// A small network on the states behind a sub-layer's last product (Houlsby et al., 2019), fp32:
// h + scale * up(f(down(x))), where x is h, or norm(h + residual), or for a parallel block the residual.
struct Bottleneck {
  SavedModule down;  // [width, hidden], [width]
  SavedModule up;    // [hidden, width], [hidden]
  double scale = 1;
  // Both in panels, for our own kernels, in device memory where inference takes them; `down` and `up` are then
  // undefined.
  std::shared_ptr<const PanelWeight> down_panels, up_panels;
};

// Modules of a chain of tags (spans/crf.h), each a weight alone: [labels], [labels] and [from, to]. In files the
// tensors have these names, as in pytorch-crf.
inline constexpr char kChainStart[] = "crf.start_transitions";
inline constexpr char kChainEnd[] = "crf.end_transitions";
inline constexpr char kChainTransitions[] = "crf.transitions";

// What an adapter may hold; a method fills its own part, and any of them may bring a head.
struct AdapterTensors {
  formats::TenonConfig config;
  formats::LoraConfig lora;              // of method `lora`
  formats::PromptConfig prompt;          // of method `prompt_tuning`
  formats::BottleneckConfig bottleneck;  // of method `bottleneck`
  // Of a base that only encodes: its family. And what stands before a module's name in the model of PEFT's that the
  // adapter is of, such as `bert.`.
  const formats::EncoderFamily* family = nullptr;
  std::string prefix;
  // Keys are module names without prefix: `encoder.layer.0.attention.self.query`.
  std::map<std::string, LoraPair> pairs;
  // Likewise, and what formats::HeadModules calls `classifier`, `pre_classifier`, ...
  std::map<std::string, SavedModule> modules;
  // Keys are the modules behind which they stand: see BottleneckModules.
  std::map<std::string, Bottleneck> bottlenecks;
  // Embeddings of virtual tokens (Lester et al., 2021): [virtual tokens, hidden], fp32; undefined when there are none.
  // As PEFT 0.21 runs an encoder with them: they stand in front of a row's first token, take part in attention like any
  // token, have positions from 0 (the text's go on behind them) and token type 0, and replace word embeddings, so that
  // the embeddings' norm is behind them. A row's first token is then a virtual one: a classifier reads that one and not
  // [CLS]; vectors are pooled over virtual tokens and text alike, as sentence-transformers does. In a base that writes
  // they stand in front of its encoder's input, where positions or distances count them as any token and the decoder
  // reads their states with the text's; nothing stands before what the decoder writes. A BART that scales its words'
  // embeddings does not scale these.
  at::Tensor prompt_embeddings;
  // What a file for an encoder-decoder has behind the prompt, [rows, hidden]: no model reads it. Undefined where there
  // is none, and in device memory.
  at::Tensor unread_prompt;

  // A module in that model of PEFT's: an output layer stands beside what the prefix stands for.
  std::string PeftName(const std::string& module) const { return module == "lm_head" ? module : prefix + module; }
  int64_t virtual_tokens() const { return prompt_embeddings.defined() ? prompt_embeddings.size(0) : 0; }
  int64_t Bytes() const;
  int64_t Parameters() const;
};

}  // namespace tenon::engine
