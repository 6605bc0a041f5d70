#include "worker/engine/adapter/read_bottleneck.h"

#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/formats/files.h"
#include "common/formats/status.h"
#include "worker/engine/adapter/adapter_file.h"
#include "worker/engine/adapter/read_head.h"
#include "worker/engine/adapter/write.h"

namespace tenon::engine {
namespace {

// Before a T5's names in a model with a head of its own.
constexpr char kT5Task[] = "transformer.";

bool Exists(const std::filesystem::path& file) {
  std::error_code error;
  return std::filesystem::exists(file, error);
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
  ASSIGN_OR_RETURN(const std::string text, ReadConfigText(folder / kHubHeadConfigFile));
  ASSIGN_OR_RETURN(std::vector<std::string> named, formats::ParseHeadConfig(text));
  ASSIGN_OR_RETURN(AdapterFile file, AdapterFile::Open(folder / kHubHeadFile));
  if (site.generates()) {
    const at::Tensor& own = site.output_layer;
    ASSIGN_OR_RETURN(at::Tensor layer, file.Take("lm_head.weight", {own.size(0), own.size(1)}));
    if (!site.IsOutputLayer(layer)) adapter.modules["lm_head"].weight = std::move(layer);
    return file.CheckAllTaken();
  }
  RETURN_IF_ERROR(TakeHead(file, "", static_cast<int64_t>(named.size()), site, adapter));
  *labels = std::move(named);
  return file.CheckAllTaken();
}

// The sizes that the config says, and the kind of model.
absl::Status CheckBase(const formats::BottleneckConfig& config, const AdapterSite& site) {
  const std::string type = site.model_type();
  if (site.bart != nullptr) {
    return TenonError(Reason::kUnsupported, "bottleneck adapters on a base of model type bart are not supported",
                      "model_type");
  }
  if (config.model_type != type) {
    return InvalidAdapter(
        absl::StrCat("adapter_config.json: model_type is ", config.model_type, ", the base is of ", type),
        "model_type");
  }
  if (config.hidden_size == 0 || config.hidden_size == site.hidden_size) return absl::OkStatus();
  return InvalidAdapter(
      absl::StrCat("adapter_config.json: hidden_size is ", config.hidden_size, ", the base has ", site.hidden_size),
      "hidden_size");
}

}  // namespace

bool IsAdapterHub(const std::filesystem::path& folder) {
  return Exists(folder / kHubWeightsFile) || Exists(folder / kHubPickle);
}

absl::StatusOr<AdapterTensors> ReadBottleneck(const std::filesystem::path& folder, AdapterSite& site,
                                              std::vector<std::string>* labels) {
  for (const char* pickle : {kHubPickle, kHubHeadPickle}) {
    if (Exists(folder / pickle)) {
      return TenonError(Reason::kUnsupported,
                        absl::StrCat(pickle, " is a pickle, which is never read: save with use_safetensors=True"),
                        pickle);
    }
  }
  ASSIGN_OR_RETURN(const std::string text, ReadConfigText(folder / kPeftConfigFile));
  AdapterTensors adapter;
  ASSIGN_OR_RETURN(adapter.bottleneck, formats::ParseBottleneckConfig(text));
  const formats::BottleneckConfig& config = adapter.bottleneck;
  RETURN_IF_ERROR(CheckBase(config, site));
  for (const formats::HeadKind kind : {formats::HeadKind::kTokens, formats::HeadKind::kAnswers}) {
    if (site.family() != nullptr && config.model_class == site.family()->ModelClass(kind)) site.head = kind;
  }
  const int64_t hidden = site.hidden_size;
  ASSIGN_OR_RETURN(AdapterFile file, AdapterFile::Open(folder / kHubWeightsFile));
  const std::string task = site.generates() ? kT5Task : site.family()->task_prefix;
  const bool with_task = !file.tensors().empty() && absl::StartsWith(file.tensors().begin()->first, task);
  const int64_t width = formats::BottleneckWidth(config, hidden);
  for (const std::string& module :
       site.generates() ? BottleneckModules(config, *site.writer) : BottleneckModules(config, *site.encoder)) {
    const std::string key = (with_task ? task : "") + BottleneckPrefix(site.family(), module, config.name);
    ASSIGN_OR_RETURN(adapter.bottlenecks[module], TakeBlock(file, key, width, hidden, config.scaling));
  }
  RETURN_IF_ERROR(file.CheckAllTaken());
  if (Exists(folder / kHubHeadFile)) RETURN_IF_ERROR(ReadHead(folder, site, labels, adapter));
  return adapter;
}

}  // namespace tenon::engine
