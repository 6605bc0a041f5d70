#include "worker/engine/adapter/shapes.h"

#include "absl/strings/str_cat.h"

namespace tenon::engine {

std::vector<std::string> BottleneckModules(const formats::BottleneckConfig& config,
                                           const formats::EncoderConfig& base) {
  std::vector<std::string> modules;
  for (int64_t i = 0; i < base.num_hidden_layers; ++i) {
    const formats::LayerNames layer = base.family->Layer(i);
    if (config.after_attention) modules.push_back(layer.attention_output);
    if (config.after_feed_forward) modules.push_back(layer.output);
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

std::string BottleneckPrefix(const formats::EncoderFamily* family, const std::string& module, const std::string& name) {
  std::string around;
  if (family == nullptr) {
    // The block belongs to the sub-layer around the product that it stands behind: two steps further out.
    around = module.substr(0, module.rfind('.'));
    around = around.substr(0, around.rfind('.'));
  } else {
    const size_t number = family->layer_prefix.size();
    const std::string layer = module.substr(0, module.find('.', number) + 1);
    const bool attends = module.substr(layer.size()) == family->layer.attention_output;
    around = layer + (attends ? family->hub.attention : family->hub.output);
  }
  return absl::StrCat(around, ".adapters.", name);
}

}  // namespace tenon::engine
