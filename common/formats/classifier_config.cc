#include "common/formats/classifier_config.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "common/formats/encoder_family.h"

namespace tenon::formats {

std::string ClassifierConfig(nlohmann::json config, const std::string& model_class, const TenonConfig& head,
                             const std::string& dtype) {
  config["architectures"] = {model_class};
  config.erase("problem_type");  // of another head
  if (HeadOfTask(head.task) == HeadKind::kSequence) {
    config["problem_type"] = head.regression    ? "regression"
                             : head.multi_label ? "multi_label_classification"
                                                : "single_label_classification";
  }
  nlohmann::json names = nlohmann::json::object(), indices = nlohmann::json::object();
  for (size_t i = 0; i < head.labels.size(); ++i) {
    names[absl::StrCat(i)] = head.labels[i];
    indices[head.labels[i]] = i;
  }
  config["id2label"] = std::move(names);
  config["label2id"] = std::move(indices);
  for (const char* counted : {"num_labels", "_num_labels"}) config.erase(counted);  // the labels say it
  for (const char* type : {"dtype", "torch_dtype"}) config[type] = dtype;           // transformers 5 and 4
  return config.dump(2) + "\n";
}

}  // namespace tenon::formats
