// What a base offers to an adapter that is to be trained in it. Engine-internal, torch inside.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "worker/engine/adapter/tensors.h"
#include "worker/engine/model/encoder.h"
#include "worker/engine/model/t5/model.h"

namespace tenon::engine {

struct TrainingSite {
  // Both are sites as they are. The network must outlive the site. `head`: of what an adapter is trained for.
  TrainingSite(const Encoder& encoder,  // NOLINT(google-explicit-constructor)
               formats::HeadKind head = formats::HeadKind::kSequence);
  TrainingSite(const T5Model& model);  // NOLINT(google-explicit-constructor)

  at::Device device;
  // PEFT's names: of the task, and what stands before a module's name in the model that does it.
  std::string task_type, prefix;
  // Whose adapters have a new classification head; nullptr for a base that writes, which has an output layer instead.
  const formats::EncoderFamily* family = nullptr;
  formats::HeadKind head = formats::HeadKind::kSequence;
  bool classifies() const { return family != nullptr; }
  int64_t hidden_size = 0, vocab_size = 0;
  int64_t layers = 0, heads = 0;  // as PEFT counts them for a prompt
  double initializer_range = 0;   // of a new head

  // Names without prefix, and [out, in]: those in the model that does the task.
  std::map<std::string, std::pair<int64_t, int64_t>> linear_layers;
  // fp32 copies of such a layer, or of a head's below its output layer, whose bias is undefined where it has none; all
  // undefined for one that the base does not have. And of tokens' embeddings.
  std::function<SavedModule(const std::string& module)> copy_linear;
  std::function<at::Tensor(const std::vector<int64_t>& ids)> copy_words;

  // Modules behind which a config has blocks, and AdapterHub's name of the kind of model that they are in.
  std::function<std::vector<std::string>(const formats::BottleneckConfig& config)> bottleneck_modules;
  std::string model_type;

  // Segments of the network (train/segments.h) but its loss, and those that read a module, ascending: the first for
  // what stands before the layers (kEmbeddings), the loss for what stands behind them.
  int64_t segments = 0;
  std::vector<int64_t> SegmentsOf(const std::string& module) const;
  // Name prefixes of numbered layers, and the segment of their layer 0.
  std::vector<std::pair<std::string, int64_t>> stacks;
  // What is read elsewhere than its name says.
  std::map<std::string, std::vector<int64_t>> readers;
};

// Where a prompt is put in, and what every family's embeddings begin with.
inline constexpr char kEmbeddings[] = "embeddings";

}  // namespace tenon::engine
