// A bottleneck adapter's adapter_config.json and head_config.json, as AdapterHub's library `adapters` writes them.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace tenon::formats {

// AdapterHub's names of where blocks stand: after the feed-forward part of a layer, behind its residual and norm
// (Pfeiffer et al., 2020); after attention and after the feed-forward part, before both (Houlsby et al., 2019); beside
// the feed-forward part (He et al., 2021). A T5 has them in its encoder and its decoder alike.
enum class BottleneckLayout { kSeqBn, kDoubleSeqBn, kParBn };

enum class NonLinearity { kRelu, kGelu, kGeluTanh, kSilu, kTanh };

// AdapterHub's BnConfig, and the model it is for. A T5 has its norms before its sub-layers, not behind them: a block
// that would read the norm there reads the sum, and a parallel one the sub-layer's residual, which is not normalised.
// Fields that we do not support are refused by name when they are set, never ignored.
struct BottleneckConfig {
  bool after_attention = false;        // mh_adapter: self-attention
  bool after_cross_attention = false;  // cross_adapter: in a T5's decoder; no layout of AdapterHub's has it
  bool after_feed_forward = true;      // output_adapter
  bool reads_norm = true;              // original_ln_before: blocks read norm(h + residual) and not h
  bool parallel = false;               // is_parallel: they read what the sub-layer's residual is
  double reduction_factor = 16;        // hidden size / factor is the block's width
  std::string non_linearity = "relu";  // `relu`, `gelu`, `gelu_new`, `swish`, `silu`, `tanh`
  double scaling = 1;
  double dropout = 0;  // of a block's output
  int64_t hidden_size = 0;
  std::string name = "tenon";       // part of every tensor's name
  std::string model_type = "bert";  // a family of encoders, or `t5`
  std::string model_class;          // `BertForSequenceClassification`, `BertModel`, `T5ForConditionalGeneration`, ...
  std::string model_name;
};

// Reads `adapter_config.json` text. ADAPTER_INVALID or UNSUPPORTED names the key.
absl::StatusOr<BottleneckConfig> ParseBottleneckConfig(const std::string& json);
std::string WriteBottleneckConfig(const BottleneckConfig& config);

// Labels in index order of `head_config.json`. UNSUPPORTED names `config` of a head that is not that of transformers'
// own model class. A T5's head is its output layer, and the labels beside it mean nothing.
absl::StatusOr<std::vector<std::string>> ParseHeadConfig(const std::string& json);
std::string WriteHeadConfig(const BottleneckConfig& config, const std::vector<std::string>& labels);

// AdapterHub's own settings of a layout. `seq_bn`, `double_seq_bn`, `par_bn`; OPTION_INVALID for `layout` otherwise.
BottleneckConfig LayoutConfig(BottleneckLayout layout);
absl::StatusOr<BottleneckLayout> ParseLayout(const std::string& name);

// OPTION_INVALID for `non_linearity`.
absl::StatusOr<NonLinearity> ParseNonLinearity(const std::string& name);
// OPTION_INVALID names `reduction_factor` or `non_linearity`.
absl::Status CheckBottleneckOptions(const BottleneckConfig& config);

// Width of a block on states of this size: Python's `int(hidden // factor)`, at least 1.
int64_t BottleneckWidth(const BottleneckConfig& config, int64_t hidden);

}  // namespace tenon::formats
