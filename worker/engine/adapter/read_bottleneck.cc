#include "worker/engine/adapter/read_bottleneck.h"

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/formats/files.h"
#include "common/formats/status.h"
#include "worker/engine/adapter/adapter_file.h"
#include "worker/engine/adapter/write.h"

namespace tenon::engine {
namespace {

constexpr int64_t kMaxConfigBytes = 4 << 20;
constexpr char kTask[] = "bert.";  // before the encoder's names in a model with a head

bool Exists(const std::filesystem::path& file) {
  std::error_code error;
  return std::filesystem::exists(file, error);
}

absl::StatusOr<std::string> ReadText(const std::filesystem::path& file) {
  return formats::ReadFile(file, kMaxConfigBytes, Reason::kAdapterInvalid);
}

absl::StatusOr<Bottleneck> TakeBlock(AdapterFile& file, const std::string& key, int64_t width, int64_t hidden,
                                     double scale) {
  Bottleneck block;
  ASSIGN_OR_RETURN(block.down, file.TakeModule(key + ".adapter_down.0", width, hidden));
  ASSIGN_OR_RETURN(block.up, file.TakeModule(key + ".adapter_up", hidden, width));
  block.scale = scale;
  return block;
}

absl::Status ReadHead(const std::filesystem::path& folder, const AdapterSite& site, std::vector<std::string>* labels,
                      AdapterTensors& adapter) {
  ASSIGN_OR_RETURN(const std::string text, ReadText(folder / kHubHeadConfigFile));
  ASSIGN_OR_RETURN(*labels, formats::ParseHeadConfig(text));
  ASSIGN_OR_RETURN(AdapterFile file, AdapterFile::Open(folder / kHubHeadFile));
  const auto count = static_cast<int64_t>(labels->size());
  ASSIGN_OR_RETURN(adapter.modules["classifier"], file.TakeModule("classifier", count, site.encoder->hidden_size));
  return file.CheckAllTaken();
}

}  // namespace

std::string BottleneckPrefix(const std::string& module, const std::string& name) {
  // The block belongs to the module around the product that it stands behind.
  return absl::StrCat(module.substr(0, module.rfind('.')), ".adapters.", name);
}

std::vector<std::string> BottleneckModules(const formats::BottleneckConfig& config, int64_t layers) {
  std::vector<std::string> modules;
  for (int64_t i = 0; i < layers; ++i) {
    const std::string layer = absl::StrCat("encoder.layer.", i, ".");
    if (config.after_attention) modules.push_back(layer + "attention.output.dense");
    if (config.after_feed_forward) modules.push_back(layer + "output.dense");
  }
  return modules;
}

bool IsAdapterHub(const std::filesystem::path& folder) {
  return Exists(folder / kHubWeightsFile) || Exists(folder / kHubPickle);
}

absl::StatusOr<AdapterTensors> ReadBottleneck(const std::filesystem::path& folder, const AdapterSite& site,
                                              std::vector<std::string>* labels) {
  for (const char* pickle : {kHubPickle, kHubHeadPickle}) {
    if (Exists(folder / pickle)) {
      return TenonError(Reason::kUnsupported,
                        absl::StrCat(pickle, " is a pickle, which is never read: save with use_safetensors=True"),
                        pickle);
    }
  }
  ASSIGN_OR_RETURN(const std::string text, ReadText(folder / kPeftConfigFile));
  AdapterTensors adapter;
  ASSIGN_OR_RETURN(adapter.bottleneck, formats::ParseBottleneckConfig(text));
  const formats::BottleneckConfig& config = adapter.bottleneck;
  const int64_t hidden = site.encoder->hidden_size;
  if (config.hidden_size != 0 && config.hidden_size != hidden) {
    return InvalidAdapter(
        absl::StrCat("adapter_config.json: hidden_size is ", config.hidden_size, ", the base has ", hidden),
        "hidden_size");
  }
  ASSIGN_OR_RETURN(AdapterFile file, AdapterFile::Open(folder / kHubWeightsFile));
  const bool with_task = !file.tensors().empty() && absl::StartsWith(file.tensors().begin()->first, kTask);
  const int64_t width = formats::BottleneckWidth(config, hidden);
  for (const std::string& module : BottleneckModules(config, site.encoder->num_hidden_layers)) {
    const std::string key = (with_task ? kTask : "") + BottleneckPrefix(module, config.name);
    ASSIGN_OR_RETURN(adapter.bottlenecks[module], TakeBlock(file, key, width, hidden, config.scaling));
  }
  RETURN_IF_ERROR(file.CheckAllTaken());
  if (Exists(folder / kHubHeadFile)) RETURN_IF_ERROR(ReadHead(folder, site, labels, adapter));
  return adapter;
}

}  // namespace tenon::engine
