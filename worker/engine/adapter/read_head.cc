#include "worker/engine/adapter/read_head.h"

#include "absl/strings/str_cat.h"
#include "common/formats/encoder_family.h"
#include "common/formats/status.h"

namespace tenon::engine {

bool HasHead(const AdapterFile& file, const std::string& root, const AdapterSite& site) {
  return site.family() != nullptr && !site.family()->head.model_class.empty() &&
         file.Has(absl::StrCat(root, formats::HeadModules(*site.family(), site.head).front().name, ".weight"));
}

absl::Status TakeHead(AdapterFile& file, const std::string& root, int64_t labels, const AdapterSite& site,
                      AdapterTensors& adapter) {
  const formats::EncoderFamily* family = site.family();
  if (family == nullptr || family->head.model_class.empty()) {
    return InvalidAdapter(
        absl::StrCat("the adapter is for classes, which no model of type ", site.model_type(), " gives"), "task_type");
  }
  if (site.head == formats::HeadKind::kSequence && !site.takes_head) {
    return InvalidAdapter("the adapter's classifier reads the pooler's output, and the base has no pooler",
                          family->head.dense);
  }
  for (const formats::HeadModule& module : formats::HeadModules(*family, site.head)) {
    const int64_t out = module.key == formats::kClassifier ? labels : site.hidden_size;
    ASSIGN_OR_RETURN(adapter.modules[module.key], file.TakeModule(root + module.name, out, site.hidden_size));
  }
  return site.crf ? TakeChain(file, root, adapter) : absl::OkStatus();
}

absl::Status TakeChain(AdapterFile& file, const std::string& root, AdapterTensors& adapter) {
  const int64_t labels = adapter.modules.at(formats::kClassifier).weight.size(0);
  for (const char* name : {kChainStart, kChainEnd}) {
    ASSIGN_OR_RETURN(adapter.modules[name].weight, file.Take(root + name, {labels}));
  }
  ASSIGN_OR_RETURN(adapter.modules[kChainTransitions].weight, file.Take(root + kChainTransitions, {labels, labels}));
  return absl::OkStatus();
}

}  // namespace tenon::engine
