#include "worker/engine/train/full_t5.h"

#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"
#include "common/formats/safetensors.h"
#include "common/formats/status.h"
#include "worker/engine/model/t5/reader.h"

namespace tenon::engine {
namespace {

constexpr char kJoin = ',';

// Collects modules.
class Collector {
 public:
  explicit Collector(std::map<std::string, SavedModule>& modules) : modules_(modules) {}

  void Add(const std::string& name, const at::Tensor& weight) { modules_[name].weight = weight; }
  void Add(const JointLinear& joint) {
    Add(absl::StrJoin(joint.modules(), absl::string_view(&kJoin, 1)), joint.linear().weight());
  }
  // A sub-layer's norm stands beside its products.
  void Norm(const std::string& layer, const RmsNorm& norm) { Add(layer + ".layer_norm", norm.weight()); }
  void Attention(const std::string& layer, const SelfAttentionWeights& attention) {
    Norm(layer, attention.norm);
    Add(attention.qkv);
    Add(attention.o);
  }
  void Attention(const std::string& layer, const CrossAttentionWeights& attention) {
    Norm(layer, attention.norm);
    Add(attention.q);
    Add(attention.kv);
    Add(attention.o);
  }
  void Block(const std::string& layer, const FeedForward& block) {
    Norm(layer, block.norm);
    Add(block.wi);
    Add(block.wo);
  }

 private:
  std::map<std::string, SavedModule>& modules_;
};

}  // namespace

absl::StatusOr<std::shared_ptr<const T5Model>> CopyT5(const Base& base) {
  ASSIGN_OR_RETURN(const std::shared_ptr<const T5Model> served, base.t5(base.precision()));
  ASSIGN_OR_RETURN(std::shared_ptr<const T5Model> copy,
                   T5Model::Load(served->config(), base.weights(), base.device(), Precision::kFp32,
                                 /*prepare_inference=*/false));
  base.weights().DropPages();
  return copy;
}

std::map<std::string, SavedModule> T5Modules(const T5Model& model) {
  std::map<std::string, SavedModule> modules;
  Collector collect(modules);
  collect.Add(kT5Embedding, model.embedding());
  collect.Add(T5BiasName("encoder"), model.encoder().bias().weight());
  collect.Add(T5FinalNormName("encoder"), model.encoder().final_norm().weight());
  int64_t index = 0;
  for (const T5EncoderLayer& layer : model.encoder().layers()) {
    const std::string block = absl::StrCat("encoder.block.", index++, ".layer.");
    collect.Attention(block + "0", layer.attention);
    collect.Block(block + "1", layer.feed_forward);
  }
  collect.Add(T5BiasName("decoder"), model.decoder_bias().weight());
  collect.Add(T5FinalNormName("decoder"), model.decoder_norm().weight());
  index = 0;
  for (const T5DecoderLayer& layer : model.decoder()) {
    const std::string block = absl::StrCat("decoder.block.", index++, ".layer.");
    collect.Attention(block + "0", layer.attention);
    collect.Attention(block + "1", layer.source);
    collect.Block(block + "2", layer.feed_forward);
  }
  if (!model.output_layer().is_same(model.embedding())) collect.Add(model.output());
  return modules;
}

NamedTensors T5Tensors(const std::map<std::string, SavedModule>& modules) {
  NamedTensors tensors;
  for (const auto& [names, module] : modules) {
    const std::vector<std::string> parts = absl::StrSplit(names, kJoin);
    const int64_t rows = module.weight.size(0) / static_cast<int64_t>(parts.size());
    int64_t first = 0;
    for (const std::string& name : parts) {
      tensors[name + ".weight"] = module.weight.narrow(0, first, rows);
      first += rows;
    }
  }
  return tensors;
}

}  // namespace tenon::engine
