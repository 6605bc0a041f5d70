#include "worker/engine/adapter/write.h"

#include <ATen/ops/cat.h>

#include <utility>
#include <vector>

#include "common/formats/files.h"
#include "common/formats/safetensors.h"
#include "common/formats/status.h"
#include "worker/engine/model/torch_util.h"

namespace tenon::engine {
namespace {

// Keeps the fp32 copies alive until the file is written.
class TensorList {
 public:
  void Add(const std::string& name, const at::Tensor& tensor) {
    if (!tensor.defined()) return;
    at::Tensor copy = tensor.detach().to(at::Device(at::kCPU), at::kFloat).contiguous();
    formats::TensorToWrite write;
    write.name = name;
    write.view.dtype = formats::DType::kF32;
    write.view.shape = copy.sizes().vec();
    write.view.data = static_cast<const uint8_t*>(copy.const_data_ptr());
    write.view.size_bytes = TensorBytes(copy);
    copies_.push_back(std::move(copy));
    writes_.push_back(std::move(write));
  }
  absl::Status Write(const std::filesystem::path& file) const {
    return formats::WriteSafetensors(file, writes_, {{"format", "pt"}});
  }

 private:
  std::vector<at::Tensor> copies_;
  std::vector<formats::TensorToWrite> writes_;
};

absl::Status WriteText(const std::filesystem::path& file, const std::string& text) {
  return formats::WriteFileDurably(file, {{text.data(), text.size()}});
}

absl::Status WriteLora(const std::filesystem::path& folder, const AdapterTensors& adapter) {
  const std::string prefix = PeftPrefix(adapter.lora.task_type);
  TensorList tensors;
  for (const auto& [module, pair] : adapter.pairs) {
    tensors.Add(prefix + module + ".lora_A.weight", pair.a);
    tensors.Add(prefix + module + ".lora_B.weight", pair.b);
  }
  for (const auto& [module, saved] : adapter.modules) {
    const std::string name = (module == "classifier" ? std::string("base_model.model.") : prefix) + module;
    tensors.Add(name + ".weight", saved.weight);
    tensors.Add(name + ".bias", saved.bias);
  }
  RETURN_IF_ERROR(tensors.Write(folder / kPeftWeightsFile));
  return WriteText(folder / kPeftConfigFile, formats::WriteLoraConfig(adapter.lora));
}

absl::Status WritePrompt(const std::filesystem::path& folder, const AdapterTensors& adapter) {
  TensorList tensors;
  at::Tensor rows = adapter.prompt_embeddings;
  if (adapter.unread_prompt.defined()) {
    rows = at::cat({rows.detach().to(at::Device(at::kCPU), at::kFloat), adapter.unread_prompt});
  }
  tensors.Add(kPromptTensor, rows);
  if (const auto head = adapter.modules.find("classifier"); head != adapter.modules.end()) {
    tensors.Add(std::string(kPromptClassifier) + ".weight", head->second.weight);
    tensors.Add(std::string(kPromptClassifier) + ".bias", head->second.bias);
  }
  RETURN_IF_ERROR(tensors.Write(folder / kPeftWeightsFile));
  return WriteText(folder / kPeftConfigFile, formats::WritePromptConfig(adapter.prompt));
}

absl::Status WriteBottleneck(const std::filesystem::path& folder, const AdapterTensors& adapter) {
  // A T5's head is its output layer.
  const bool writes = adapter.bottleneck.model_type == "t5";
  const std::string head_name = writes ? "lm_head" : "classifier";
  const auto head = adapter.modules.find(head_name);
  const bool has_head = head != adapter.modules.end(), classifies = has_head && !writes;
  formats::BottleneckConfig config = adapter.bottleneck;
  config.model_class = writes       ? "T5ForConditionalGeneration"
                       : classifies ? "BertForSequenceClassification"
                                    : "BertModel";
  TensorList tensors;
  for (const auto& [module, block] : adapter.bottlenecks) {
    const std::string key = (classifies ? "bert." : "") + BottleneckPrefix(module, config.name);
    tensors.Add(key + ".adapter_down.0.weight", block.down.weight);
    tensors.Add(key + ".adapter_down.0.bias", block.down.bias);
    tensors.Add(key + ".adapter_up.weight", block.up.weight);
    tensors.Add(key + ".adapter_up.bias", block.up.bias);
  }
  RETURN_IF_ERROR(tensors.Write(folder / kHubWeightsFile));
  RETURN_IF_ERROR(WriteText(folder / kPeftConfigFile, formats::WriteBottleneckConfig(config)));
  if (!has_head) return absl::OkStatus();
  TensorList head_tensors;
  head_tensors.Add(head_name + ".weight", head->second.weight);
  head_tensors.Add(head_name + ".bias", head->second.bias);
  RETURN_IF_ERROR(head_tensors.Write(folder / kHubHeadFile));
  // transformers gives a model without labels of its own these two.
  const std::vector<std::string> labels =
      writes ? std::vector<std::string>{"LABEL_0", "LABEL_1"} : adapter.config.labels;
  return WriteText(folder / kHubHeadConfigFile, formats::WriteHeadConfig(config, labels));
}

absl::Status WriteHead(const std::filesystem::path& folder, const AdapterTensors& adapter) {
  TensorList tensors;
  for (const auto& [module, saved] : adapter.modules) {
    tensors.Add(module + ".weight", saved.weight);
    tensors.Add(module + ".bias", saved.bias);
  }
  return tensors.Write(folder / kHeadWeightsFile);
}

}  // namespace

std::string PeftPrefix(const std::string& task_type) {
  return task_type == "SEQ_CLS" ? "base_model.model.bert." : "base_model.model.";
}

absl::Status WriteAdapter(const std::filesystem::path& folder, const AdapterTensors& adapter) {
  return Guarded([&]() -> absl::Status {
    const std::string& method = adapter.config.method;
    RETURN_IF_ERROR(method == "head"            ? WriteHead(folder, adapter)
                    : method == "prompt_tuning" ? WritePrompt(folder, adapter)
                    : method == "bottleneck"    ? WriteBottleneck(folder, adapter)
                                                : WriteLora(folder, adapter));
    return WriteText(folder / kTenonFile, formats::WriteTenonConfig(adapter.config, /*with_job=*/true));
  });
}

}  // namespace tenon::engine
