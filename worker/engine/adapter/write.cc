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
  void AddModule(const std::string& name, const SavedModule& module) {
    Add(name + ".weight", module.weight);
    Add(name + ".bias", module.bias);
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

std::vector<formats::HeadModule> HeadOf(const AdapterTensors& adapter) {
  if (adapter.family == nullptr) return {};
  return formats::HeadModules(*adapter.family, formats::HeadOfTask(adapter.config.task));
}

bool IsChain(const std::string& module) {
  return module == kChainStart || module == kChainEnd || module == kChainTransitions;
}

bool IsOfHead(const AdapterTensors& adapter, const std::string& module) {
  if (IsChain(module)) return true;
  for (const formats::HeadModule& of_head : HeadOf(adapter)) {
    if (of_head.key == module) return true;
  }
  return false;
}

// The adapter's head, where it has one, as its family's files call it.
void AddHead(const AdapterTensors& adapter, const std::string& root, TensorList& tensors) {
  for (const formats::HeadModule& module : HeadOf(adapter)) {
    const auto saved = adapter.modules.find(module.key);
    if (saved != adapter.modules.end()) tensors.AddModule(root + module.name, saved->second);
  }
  for (const auto& [module, saved] : adapter.modules) {
    if (IsChain(module)) tensors.Add(root + module, saved.weight);
  }
}

absl::Status WriteLora(const std::filesystem::path& folder, const AdapterTensors& adapter) {
  TensorList tensors;
  for (const auto& [module, pair] : adapter.pairs) {
    const std::string key = kPeftRoot + adapter.PeftName(module);
    tensors.Add(key + ".lora_A.weight", pair.a);
    tensors.Add(key + ".lora_B.weight", pair.b);
  }
  AddHead(adapter, kPeftRoot, tensors);
  for (const auto& [module, saved] : adapter.modules) {
    if (!IsOfHead(adapter, module)) tensors.AddModule(kPeftRoot + adapter.PeftName(module), saved);
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
  AddHead(adapter, kPromptHeadRoot, tensors);
  RETURN_IF_ERROR(tensors.Write(folder / kPeftWeightsFile));
  return WriteText(folder / kPeftConfigFile, formats::WritePromptConfig(adapter.prompt));
}

absl::Status WriteBottleneck(const std::filesystem::path& folder, const AdapterTensors& adapter) {
  // A T5's head is its output layer.
  const bool writes = adapter.family == nullptr;
  const bool has_head = adapter.modules.count(writes ? "lm_head" : formats::kClassifier) > 0;
  const bool classifies = has_head && !writes;
  formats::BottleneckConfig config = adapter.bottleneck;
  config.model_class = writes       ? "T5ForConditionalGeneration"
                       : classifies ? adapter.family->ModelClass(formats::HeadOfTask(adapter.config.task))
                                    : adapter.family->plain_class;
  TensorList tensors;
  for (const auto& [module, block] : adapter.bottlenecks) {
    const std::string key =
        (classifies ? adapter.family->task_prefix : "") + BottleneckPrefix(adapter.family, module, config.name);
    tensors.AddModule(key + ".adapter_down.0", block.down);
    tensors.AddModule(key + ".adapter_up", block.up);
  }
  RETURN_IF_ERROR(tensors.Write(folder / kHubWeightsFile));
  RETURN_IF_ERROR(WriteText(folder / kPeftConfigFile, formats::WriteBottleneckConfig(config)));
  if (!has_head) return absl::OkStatus();
  TensorList head_tensors;
  if (writes) head_tensors.AddModule("lm_head", adapter.modules.at("lm_head"));
  AddHead(adapter, "", head_tensors);
  RETURN_IF_ERROR(head_tensors.Write(folder / kHubHeadFile));
  // transformers gives a model without labels of its own these two.
  const std::vector<std::string> labels =
      writes ? std::vector<std::string>{"LABEL_0", "LABEL_1"} : adapter.config.labels;
  return WriteText(folder / kHubHeadConfigFile, formats::WriteHeadConfig(config, labels));
}

absl::Status WriteHead(const std::filesystem::path& folder, const AdapterTensors& adapter) {
  TensorList tensors;
  for (const auto& [module, saved] : adapter.modules) {
    if (IsChain(module)) {
      tensors.Add(module, saved.weight);
    } else {
      tensors.AddModule(module, saved);
    }
  }
  return tensors.Write(folder / kHeadWeightsFile);
}

}  // namespace

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
