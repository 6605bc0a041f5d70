#include "worker/engine/adapter/adapter.h"

#include <ATen/TensorOperators.h>

#include <utility>

#include "worker/engine/adapter/read.h"
#include "worker/engine/adapter/tensors.h"
#include "worker/engine/model/bart/model.h"
#include "worker/engine/model/causal/model.h"
#include "worker/engine/model/encoder.h"
#include "worker/engine/model/row_inference.h"
#include "worker/engine/model/t5/model.h"
#include "worker/engine/model/torch_util.h"

namespace tenon::engine {

namespace {

int64_t ModuleBytes(const SavedModule& module) { return TensorBytes(module.weight) + TensorBytes(module.bias); }
int64_t ModuleParameters(const SavedModule& module) {
  return module.weight.numel() + (module.bias.defined() ? module.bias.numel() : 0);
}

}  // namespace

int64_t AdapterTensors::Bytes() const {
  int64_t bytes = 0;
  for (const auto& [name, pair] : pairs) bytes += TensorBytes(pair.a) + TensorBytes(pair.b);
  for (const auto& [name, module] : modules) bytes += ModuleBytes(module);
  for (const auto& [name, block] : bottlenecks) {
    bytes += ModuleBytes(block.down) + ModuleBytes(block.up);
    for (const auto* panels : {&block.down_panels, &block.up_panels}) bytes += *panels ? (*panels)->Bytes() : 0;
  }
  return bytes + TensorBytes(prompt_embeddings) + TensorBytes(unread_prompt);
}

int64_t AdapterTensors::Parameters() const {
  int64_t parameters = 0;
  for (const at::Tensor* rows : {&prompt_embeddings, &unread_prompt}) parameters += rows->defined() ? rows->numel() : 0;
  for (const auto& [name, pair] : pairs) parameters += pair.a.numel() + pair.b.numel();
  for (const auto& [name, module] : modules) parameters += ModuleParameters(module);
  for (const auto& [name, block] : bottlenecks) {
    parameters += ModuleParameters(block.down) + ModuleParameters(block.up);
  }
  return parameters;
}

HostAdapter::HostAdapter(std::unique_ptr<AdapterTensors> tensors) : tensors_(std::move(tensors)) {}
HostAdapter::~HostAdapter() = default;

absl::StatusOr<std::shared_ptr<const HostAdapter>> HostAdapter::Load(const std::filesystem::path& folder,
                                                                     const Base& base) {
  return Guarded([&]() -> absl::StatusOr<std::shared_ptr<const HostAdapter>> {
    AdapterTensors tensors;
    if (base.decoder_only()) {
      ASSIGN_OR_RETURN(const auto model, base.causal(base.precision()));
      ASSIGN_OR_RETURN(tensors, ReadAdapter(folder, {.causal = &model->config(),
                                                     .output_layer = model->output_layer(),
                                                     .hidden_size = model->config().word_size,
                                                     .base_digest = base.digest(),
                                                     .linear_layers = model->linear_layers()}));
    } else if (base.generates()) {
      ASSIGN_OR_RETURN(const auto model, base.encoder_decoder(base.precision()));
      AdapterSite site{.output_layer = model->output_layer(),
                       .hidden_size = model->hidden_size(),
                       .base_digest = base.digest(),
                       .linear_layers = model->linear_layers()};
      if (const auto* t5 = dynamic_cast<const T5Model*>(model.get())) site.writer = &t5->config();
      if (const auto* bart = dynamic_cast<const BartModel*>(model.get())) site.bart = &bart->config();
      ASSIGN_OR_RETURN(tensors, ReadAdapter(folder, site));
    } else {
      ASSIGN_OR_RETURN(const auto encoder, base.encoder(base.precision()));
      ASSIGN_OR_RETURN(tensors, ReadAdapter(folder, {.encoder = &base.config(),
                                                     .hidden_size = base.config().hidden_size,
                                                     .sentence = base.sentence(),
                                                     .takes_head = encoder->takes_head(),
                                                     .base_digest = base.digest(),
                                                     .linear_layers = encoder->linear_layers()}));
    }
    return std::make_shared<const HostAdapter>(std::make_unique<AdapterTensors>(std::move(tensors)));
  });
}

const formats::TenonConfig& HostAdapter::config() const { return tensors_->config; }
int64_t HostAdapter::bytes() const { return tensors_->Bytes(); }
const AdapterTensors& HostAdapter::tensors() const { return *tensors_; }
int64_t HostAdapter::virtual_tokens() const { return tensors_->virtual_tokens(); }

std::optional<Crf> HostAdapter::crf() const {
  if (!tensors_->config.crf) return std::nullopt;
  const auto numbers = [&](const char* module) {
    const at::Tensor values = tensors_->modules.at(module).weight.contiguous();
    return std::vector<float>(values.const_data_ptr<float>(), values.const_data_ptr<float>() + values.numel());
  };
  return Crf{numbers(kChainStart), numbers(kChainEnd), numbers(kChainTransitions)};
}

int64_t HostAdapter::num_labels() const {
  const auto head = tensors_->modules.find(formats::kClassifier);
  return head == tensors_->modules.end() ? 0 : head->second.weight.size(0);
}

namespace {

// Of the states that an adapter's tensors meet.
absl::StatusOr<at::ScalarType> StatesType(const Base& base) {
  if (base.decoder_only()) {
    ASSIGN_OR_RETURN(const auto model, base.causal(base.precision()));
    return model->inference_dtype();
  }
  if (base.generates()) {
    ASSIGN_OR_RETURN(const auto model, base.encoder_decoder(base.precision()));
    return model->inference_dtype();
  }
  ASSIGN_OR_RETURN(const auto encoder, base.encoder(base.precision()));
  return encoder->inference_dtype();
}

std::shared_ptr<const PanelWeight> InPanels(const at::Tensor& weight, const at::Tensor& bias) {
  return std::make_shared<const PanelWeight>(PackPanels(weight, bias, PanelFormat::kFp32));
}

}  // namespace

absl::StatusOr<std::shared_ptr<const DeviceAdapter>> DeviceAdapter::Place(std::shared_ptr<const HostAdapter> host,
                                                                          const Base& base) {
  return Guarded([&]() -> absl::StatusOr<std::shared_ptr<const DeviceAdapter>> {
    const at::Device device = TorchDevice(base.device());
    ASSIGN_OR_RETURN(const at::ScalarType type, StatesType(base));
    auto tensors = std::make_unique<AdapterTensors>(host->tensors());
    for (auto& [name, pair] : tensors->pairs) {
      // The scale goes into B once, so that serving adds plain products.
      // Its transpose is what lies in order: a rank's outputs are neighbours, as AddLowRank reads them.
      pair.b = (pair.b * pair.scale).to(device, type).t().contiguous().t();
      pair.a = pair.a.to(device, type).contiguous();
      pair.scale = 1;
    }
    for (auto& [name, module] : tensors->modules) {
      // Heads stay fp32: they are small, and logits gain from it.
      const at::ScalarType kept = name == formats::kClassifier ? at::kFloat : type;
      module.weight = module.weight.to(device, kept);
      if (module.bias.defined()) module.bias = module.bias.to(device, kept);
    }
    for (auto& [name, block] : tensors->bottlenecks) {
      const at::Tensor weight = block.up.weight * block.scale, bias = block.up.bias * block.scale;
      block.scale = 1;
      if (device.is_cpu() && type == at::kFloat && PanelWeight::Supported()) {
        block.down_panels = InPanels(block.down.weight, block.down.bias);
        block.up_panels = InPanels(weight, bias);
        block.down = block.up = {};
        continue;
      }
      block.down = {block.down.weight.to(device, type), block.down.bias.to(device, type)};
      block.up = {weight.to(device, type), bias.to(device, type)};
    }
    at::Tensor& prompt = tensors->prompt_embeddings;
    if (prompt.defined()) prompt = prompt.to(device, type).contiguous();
    tensors->unread_prompt = at::Tensor();
    auto placed = std::shared_ptr<DeviceAdapter>(new DeviceAdapter());
    placed->host_ = std::move(host);
    placed->tensors_ = std::move(tensors);
    return std::shared_ptr<const DeviceAdapter>(std::move(placed));
  });
}

DeviceAdapter::~DeviceAdapter() = default;
int64_t DeviceAdapter::bytes() const { return tensors_->Bytes(); }
const AdapterTensors& DeviceAdapter::tensors() const { return *tensors_; }

}  // namespace tenon::engine
