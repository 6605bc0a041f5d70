#include "worker/engine/train/new_adapter.h"

#include <ATen/CPUGeneratorImpl.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/normal.h>
#include <ATen/ops/uniform.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <cmath>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/formats/status.h"
#include "worker/engine/train/random.h"

namespace tenon::engine {
namespace {

using formats::kClassifier;

constexpr char kOutputLayer[] = "lm_head";
// The stream that draws a prompt's words; Initializer counts from 0.
constexpr uint64_t kPromptWords = 1 << 20;

class Initializer {
 public:
  Initializer(uint64_t seed, const at::Device& device) : seed_(seed), device_(device) {}

  // torch's kaiming_uniform_(a = sqrt(5)): uniform within 1 / sqrt(in).
  at::Tensor Uniform(int64_t rows, int64_t in) { return Within(rows, in, 1 / std::sqrt(static_cast<double>(in))); }
  at::Tensor Within(int64_t rows, int64_t in, double bound) {
    at::Tensor value = at::empty({rows, in}, at::kFloat);
    return value.uniform_(-bound, bound, Next()).to(device_);
  }
  at::Tensor Normal(int64_t rows, int64_t in, double deviation) {
    at::Tensor value = at::empty({rows, in}, at::kFloat);
    return value.normal_(0, deviation, Next()).to(device_);
  }
  at::Tensor Zeros(at::IntArrayRef shape) const {
    return at::zeros(shape, at::TensorOptions().dtype(at::kFloat).device(device_));
  }

 private:
  at::Generator Next() { return at::detail::createCPUGenerator(StreamKey(seed_, Stream::kInit, {count_++})); }

  uint64_t seed_;
  at::Device device_;
  uint64_t count_ = 0;
};

SavedModule NewClassifier(Initializer& init, int64_t labels, int64_t features, double initializer_range) {
  return {init.Normal(labels, features, initializer_range), init.Zeros({labels})};
}

// The head's modules that are not the encoder's: for config's labels, drawn as transformers draws them, but those below
// the output layer that the base has. The output layer is drawn first.
void AddHead(const TrainingSite& site, int64_t labels, Initializer& init, AdapterTensors& adapter) {
  for (const formats::HeadModule& module : formats::HeadModules(*site.family, site.head)) {
    SavedModule& made = adapter.modules[module.key];
    if (module.key != kClassifier) made = site.copy_linear(module.key);
    if (made.weight.defined()) continue;
    made = NewClassifier(init, module.key == kClassifier ? labels : site.hidden_size, site.hidden_size,
                         site.initializer_range);
  }
  if (!adapter.config.crf) return;
  // As pytorch-crf draws one.
  constexpr double kChainBound = 0.1;
  for (const char* name : {kChainStart, kChainEnd}) {
    adapter.modules[name].weight = init.Within(1, labels, kChainBound).flatten();
  }
  adapter.modules[kChainTransitions].weight = init.Within(labels, labels, kChainBound);
}

// Whether a name of modules_to_save is of the head, which is trained in any case.
bool NamesHead(const TrainingSite& site, const std::string& name) {
  if (!site.classifies()) return false;
  const std::vector<formats::HeadModule> head = formats::HeadModules(*site.family, site.head);
  return std::any_of(head.begin(), head.end(), [&](const auto& module) { return module.name == name; });
}

// A layer of the head that is trained whole must not be a LoRA's target as well, as PEFT would have it for one whose
// name only ends with `classifier`.
void LeaveHeadOut(const TrainingSite& site, formats::LoraConfig& lora) {
  if (!site.classifies()) return;
  for (const formats::HeadModule& module : formats::HeadModules(*site.family, site.head)) {
    if (formats::MatchLora(lora, module.name).has_value()) lora.exclude_modules.push_back(module.name);
  }
}

// The head, which is always trained whole, and what the job names beside it: linear layers alone.
absl::StatusOr<std::vector<std::string>> ModulesToSave(const TrainingSite& site, const formats::LoraConfig& lora) {
  std::vector<std::string> names;
  if (site.classifies()) names = formats::PeftHeadNames(site.head);
  for (const std::string& name : lora.modules_to_save) {
    if (std::find(names.begin(), names.end(), name) != names.end()) continue;
    bool known = NamesHead(site, name);
    for (const auto& [module, shape] : site.linear_layers) {
      const std::string hf_name = site.prefix + module;
      if (formats::SavesModule(name, hf_name)) {
        known = true;
      } else if (absl::EndsWith(hf_name, name)) {
        // PEFT compares letters, not whole names: it would train this one too.
        return TenonError(
            Reason::kUnsupported,
            absl::StrCat("modules_to_save \"", name, "\" is also the end of ", module, "; name the modules in full"),
            "modules_to_save");
      }
    }
    if (!known) {
      return TenonError(Reason::kUnsupported,
                        absl::StrCat("modules_to_save \"", name, "\" names no linear layer of the base"),
                        "modules_to_save");
    }
    names.push_back(name);
  }
  return names;
}

absl::StatusOr<AdapterTensors> NewLora(const TrainingSite& site, const formats::LoraConfig& lora, Initializer& init) {
  AdapterTensors adapter;
  adapter.lora = lora;
  adapter.lora.task_type = site.task_type;
  ASSIGN_OR_RETURN(adapter.lora.modules_to_save, ModulesToSave(site, lora));
  LeaveHeadOut(site, adapter.lora);
  // One that is the embedding, too, is none of the linear layers.
  if (!site.classifies() && site.linear_layers.count(kOutputLayer) == 0 && !lora.all_linear &&
      formats::MatchLora(adapter.lora, kOutputLayer).has_value()) {
    return TenonError(Reason::kUnsupported, "target_modules name lm_head, which is the base's embedding, too",
                      "target_modules");
  }
  for (const auto& [module, shape] : site.linear_layers) {
    const std::string hf_name = site.prefix + module;
    if (formats::SavesModule(adapter.lora, hf_name)) {
      adapter.modules[module] = site.copy_linear(module);
      continue;
    }
    // PEFT's `all-linear` leaves the output layer out.
    if (lora.all_linear && module == kOutputLayer) continue;
    const auto target = formats::MatchLora(adapter.lora, hf_name);
    if (!target.has_value()) continue;
    adapter.pairs[module] = {init.Uniform(target->r, shape.second), init.Zeros({shape.first, target->r}),
                             target->scale};
  }
  if (adapter.pairs.empty()) {
    return TenonError(Reason::kOptionInvalid, "target_modules match no layer of the base", "target_modules");
  }
  return adapter;
}

AdapterTensors NewPrompt(const TrainingSite& site, const TrainOptions& options, absl::Span<const int32_t> init_tokens,
                         Initializer& init) {
  AdapterTensors adapter;
  adapter.prompt = options.prompt;
  adapter.prompt.task_type = site.task_type;
  adapter.prompt.token_dim = site.hidden_size;
  adapter.prompt.num_layers = site.layers;
  adapter.prompt.num_attention_heads = site.heads;
  const int64_t count = options.prompt.num_virtual_tokens;
  if (options.prompt.init == formats::PromptInit::kRandom) {
    adapter.prompt_embeddings = init.Normal(count, site.hidden_size, 1);
    return adapter;
  }
  std::vector<int64_t> ids;
  CounterRandom random(StreamKey(options.seed, Stream::kInit, {kPromptWords}));
  for (int64_t i = 0; i < count; ++i) {
    ids.push_back(options.prompt.init == formats::PromptInit::kText
                      ? init_tokens[static_cast<size_t>(i) % init_tokens.size()]
                      : static_cast<int64_t>(random.Below(static_cast<uint64_t>(site.vocab_size))));
  }
  adapter.prompt_embeddings = site.copy_words(ids);
  return adapter;
}

AdapterTensors NewBottleneck(const TrainingSite& site, const formats::BottleneckConfig& config, Initializer& init) {
  constexpr double kDeviation = 0.02;
  const int64_t hidden = site.hidden_size, width = formats::BottleneckWidth(config, hidden);
  AdapterTensors adapter;
  adapter.bottleneck = config;
  adapter.bottleneck.hidden_size = hidden;
  adapter.bottleneck.model_type = site.model_type;
  for (const std::string& module : site.bottleneck_modules(config)) {
    Bottleneck& block = adapter.bottlenecks[module];
    block.down = {config.parallel ? init.Uniform(width, hidden) : init.Normal(width, hidden, kDeviation),
                  init.Zeros({width})};
    block.up = {config.parallel ? init.Zeros({hidden, width}) : init.Normal(hidden, width, kDeviation),
                init.Zeros({hidden})};
    block.scale = config.scaling;
  }
  return adapter;
}

}  // namespace

absl::StatusOr<AdapterTensors> NewAdapter(const TrainingSite& site, const TrainOptions& options,
                                          const formats::TenonConfig& config, absl::Span<const int32_t> init_tokens) {
  Initializer init(options.seed, site.device);
  AdapterTensors adapter;
  if (options.method == Method::kPromptTuning) {
    if (options.prompt.init == formats::PromptInit::kText && init_tokens.empty()) {
      return TenonError(Reason::kOptionInvalid, "init_text has no token of the base's vocabulary", "init_text");
    }
    adapter = NewPrompt(site, options, init_tokens, init);
  } else if (options.method == Method::kBottleneck) {
    adapter = NewBottleneck(site, options.bottleneck, init);
  } else if (options.method == Method::kLora) {
    ASSIGN_OR_RETURN(adapter, NewLora(site, options.lora, init));
  }
  adapter.config = config;
  adapter.family = site.family;
  adapter.prefix = site.prefix;
  if (site.classifies()) AddHead(site, static_cast<int64_t>(config.labels.size()), init, adapter);
  return adapter;
}

AdapterTensors NewHead(int64_t features, double initializer_range, uint64_t seed, const at::Device& device,
                       const formats::TenonConfig& config) {
  Initializer init(seed, device);
  AdapterTensors adapter;
  adapter.config = config;
  adapter.modules[kClassifier] =
      NewClassifier(init, static_cast<int64_t>(config.labels.size()), features, initializer_range);
  return adapter;
}

}  // namespace tenon::engine
