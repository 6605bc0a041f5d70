#include "worker/engine/adapter/shapes.h"

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"

namespace tenon::engine {

std::vector<std::string> BottleneckModules(const formats::BottleneckConfig& config, int64_t layers) {
  std::vector<std::string> modules;
  for (int64_t i = 0; i < layers; ++i) {
    const std::string layer = absl::StrCat("encoder.layer.", i, ".");
    if (config.after_attention) modules.push_back(layer + "attention.output.dense");
    if (config.after_feed_forward) modules.push_back(layer + "output.dense");
  }
  return modules;
}

std::vector<std::string> BottleneckModules(const formats::BottleneckConfig& config, const formats::T5Config& base) {
  std::vector<std::string> modules;
  const auto add_stack = [&](const std::string& stack, int64_t blocks, bool crosses) {
    for (int64_t i = 0; i < blocks; ++i) {
      const std::string layer = absl::StrCat(stack, ".block.", i, ".layer.");
      if (config.after_attention) modules.push_back(layer + "0.SelfAttention.o");
      if (config.after_cross_attention && crosses) modules.push_back(layer + "1.EncDecAttention.o");
      if (config.after_feed_forward) modules.push_back(absl::StrCat(layer, crosses ? 2 : 1, ".DenseReluDense.wo"));
    }
  };
  add_stack("encoder", base.num_layers, /*crosses=*/false);
  add_stack("decoder", base.num_decoder_layers, /*crosses=*/true);
  return modules;
}

std::string BottleneckPrefix(const std::string& module, const std::string& name) {
  // The block belongs to the sub-layer around the product that it stands behind: in a T5 that is one step further out.
  std::string around = module.substr(0, module.rfind('.'));
  if (absl::StrContains(module, ".block.")) around = around.substr(0, around.rfind('.'));
  return absl::StrCat(around, ".adapters.", name);
}

}  // namespace tenon::engine
