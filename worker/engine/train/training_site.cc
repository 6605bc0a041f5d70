#include "worker/engine/train/training_site.h"

#include <algorithm>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "worker/engine/adapter/shapes.h"

namespace tenon::engine {
namespace {

std::map<std::string, std::pair<int64_t, int64_t>> TaskLayers(const Encoder& encoder, formats::HeadKind head) {
  auto layers = encoder.linear_layers();
  const formats::EncoderFamily& family = *encoder.config().family;
  if (!family.InTaskModel(family.pooler, head)) layers.erase(family.pooler);
  return layers;
}

}  // namespace

TrainingSite::TrainingSite(const Encoder& encoder, formats::HeadKind of_task)
    : device(encoder.device()),
      task_type(formats::PeftTaskOfHead(of_task)),
      prefix(encoder.config().family->task_prefix),
      family(encoder.config().family),
      head(of_task),
      hidden_size(encoder.config().hidden_size),
      vocab_size(encoder.config().vocab_size),
      layers(encoder.config().num_hidden_layers),
      heads(encoder.config().num_attention_heads),
      initializer_range(encoder.config().initializer_range),
      linear_layers(TaskLayers(encoder, of_task)),
      copy_linear([&encoder](const std::string& module) {
        auto [weight, bias] = encoder.CopyLinear(module);
        return SavedModule{std::move(weight), std::move(bias)};
      }),
      copy_words([&encoder](const std::vector<int64_t>& ids) { return encoder.CopyWords(ids); }),
      bottleneck_modules([&encoder](const auto& config) { return BottleneckModules(config, encoder.config()); }),
      model_type(family->model_type),
      segments(encoder.config().num_hidden_layers),
      stacks({{family->layer_prefix, 0}}) {}

TrainingSite::TrainingSite(const T5Model& model)
    : device(model.device()),
      task_type("SEQ_2_SEQ_LM"),
      hidden_size(model.config().d_model),
      vocab_size(model.config().vocab_size),
      layers(model.config().num_layers),
      heads(model.config().num_heads),
      linear_layers(model.linear_layers()),
      copy_linear([&model](const std::string& module) {
        return SavedModule{model.CopyLinear(module), at::Tensor()};
      }),
      copy_words([&model](const std::vector<int64_t>& ids) { return model.CopyWords(ids); }),
      bottleneck_modules([&model](const auto& config) { return BottleneckModules(config, model.config()); }),
      model_type("t5"),
      segments(model.config().num_layers + model.config().num_decoder_layers),
      stacks({{"encoder.block.", 0}, {"decoder.block.", model.config().num_layers}}) {
  const int64_t decoder = model.config().num_layers;
  std::vector<int64_t>& embedding = readers[kT5Embedding];
  embedding = {0, decoder};
  if (model.output_layer().is_same(model.embedding())) embedding.push_back(segments);
  for (int64_t i = 0; i < segments; ++i) readers[T5BiasName(i < decoder ? "encoder" : "decoder")].push_back(i);
  readers[T5FinalNormName("encoder")] = {decoder - 1};
  readers[T5FinalNormName("decoder")] = {segments - 1};
}

std::vector<int64_t> TrainingSite::SegmentsOf(const std::string& module) const {
  if (const auto found = readers.find(module); found != readers.end()) return found->second;
  if (absl::StartsWith(module, kEmbeddings)) return {0};
  for (const auto& [name, first] : stacks) {
    if (!absl::StartsWith(module, name)) continue;
    int64_t layer = 0;
    const std::string number = module.substr(name.size(), module.find('.', name.size()) - name.size());
    if (absl::SimpleAtoi(number, &layer)) return {first + layer};
  }
  return {segments};
}

}  // namespace tenon::engine
