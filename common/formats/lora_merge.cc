#include "common/formats/lora_merge.h"

#include <algorithm>
#include <map>
#include <optional>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/strip.h"
#include "common/formats/bart_config.h"
#include "common/formats/half.h"
#include "common/formats/status.h"

namespace tenon::formats {
namespace {

constexpr char kPeftRoot[] = "base_model.model.";

absl::Status Invalid(const std::string& message, const std::string& key) {
  return TenonError(Reason::kAdapterInvalid, message, key);
}

absl::Status CheckShape(const std::string& key, const TensorView& view, const std::vector<int64_t>& shape) {
  if (view.shape != shape) {
    return Invalid(absl::StrCat("tensor ", key, " has shape [", absl::StrJoin(view.shape, ", "), "], expected [",
                                absl::StrJoin(shape, ", "), "]"),
                   key);
  }
  if (!IsFloat(view.dtype)) return Invalid(absl::StrCat("tensor ", key, " is not of a float type"), key);
  return absl::OkStatus();
}

class Planner {
 public:
  Planner(const EncoderFamily* family, const LoraConfig& lora, bool classifies)
      : family_(family), lora_(lora), head_(HeadOfPeftTask(lora.task_type)), classifies_(classifies) {}

  absl::Status ReadAdapter(const Safetensors& weights);
  absl::StatusOr<MergedFile> Plan(const WeightsFile& file);
  // Puts the classifier into `file`, the last of them.
  absl::Status AddClassifier(MergedFile* file);
  absl::Status CheckAllTaken() const;

 private:
  struct Pair {
    std::string key;  // in the adapter's file, without `.lora_A.weight`
    const TensorView *a = nullptr, *b = nullptr;
    bool taken = false;
  };
  struct Saved {
    std::string key;
    const TensorView* view = nullptr;
    bool taken = false;
  };

  // One name for a tensor, whatever its file calls it: without what stands before the network's names in a larger
  // model, without LayerNorm's old names.
  std::string Canonical(const std::string& name) const;
  // What the model with a head has of the tensor's kind.
  bool IsOfClassifier(const std::string& canonical) const;
  // Whether a LoRA may stand at the weight, by its name.
  bool IsLinear(const std::string& canonical, const std::vector<int64_t>& shape) const;

  absl::Status AddPair(const std::string& module, Pair& pair, MergeStep* step);
  absl::Status PlanTensor(const std::string& canonical, MergeStep* step);
  absl::Status NoPlace(const std::string& canonical, const std::string& key) const;

  const EncoderFamily* family_;
  const LoraConfig& lora_;
  const HeadKind head_;
  const bool classifies_;
  std::string prefix_;                  // before the network's names in the adapter's file
  std::map<std::string, Pair> pairs_;   // by canonical module
  std::map<std::string, Saved> saved_;  // by canonical tensor
  DType dtype_ = DType::kF32;           // of the base
  bool has_dtype_ = false;
  // Whether the base has a table of embeddings beside its output layer, and whether the adapter changes the latter.
  bool has_table_ = false, changes_output_ = false;
};

std::string Planner::Canonical(const std::string& name) const {
  if (family_ == nullptr) return std::string(absl::StripPrefix(name, kBartTaskPrefix));
  return ModernName(absl::StripPrefix(name, family_->PrefixOf(name)));
}

bool Planner::IsOfClassifier(const std::string& canonical) const {
  const std::string module = canonical.substr(0, canonical.rfind('.'));
  return family_ != nullptr && family_->OwnsTensor(canonical) && family_->InTaskModel(module, head_);
}

bool Planner::IsLinear(const std::string& canonical, const std::vector<int64_t>& shape) const {
  if (shape.size() != 2 || !absl::EndsWith(canonical, ".weight")) return false;
  if (family_ != nullptr) return family_->OwnsTensor(canonical) && !family_->IsEmbedding(canonical);
  for (const char* table : {"embed_tokens", "embed_positions", "relative_attention_bias"}) {
    if (absl::StrContains(canonical, table)) return false;
  }
  return absl::StartsWith(canonical, "encoder.") || absl::StartsWith(canonical, "decoder.") ||
         canonical == "lm_head.weight";
}

absl::Status Planner::ReadAdapter(const Safetensors& weights) {
  for (const auto& [key, view] : weights.tensors()) {
    const bool is_a = absl::EndsWith(key, ".lora_A.weight"), is_b = absl::EndsWith(key, ".lora_B.weight");
    const bool known = absl::EndsWith(key, ".weight") || absl::EndsWith(key, ".bias");
    if (!absl::StartsWith(key, kPeftRoot) || !known) {
      return Invalid(absl::StrCat("tensor ", key, " belongs to nothing that adapter_config.json or the base names"),
                     key);
    }
    const std::string name(absl::StripPrefix(key, kPeftRoot));
    if (prefix_.empty() && family_ != nullptr) prefix_ = family_->PrefixOf(name);
    if (family_ == nullptr && absl::StartsWith(name, kBartTaskPrefix)) prefix_ = kBartTaskPrefix;
    // PEFT's copy of the base's own layer; who read the adapter first has compared it.
    if (absl::EndsWith(name, ".base_layer.weight")) continue;
    if (!is_a && !is_b) {
      saved_[Canonical(name)] = {key, &view};
      continue;
    }
    const size_t suffix = std::string(".lora_A.weight").size();
    Pair& pair = pairs_[Canonical(name.substr(0, name.size() - suffix))];
    pair.key = key.substr(0, key.size() - suffix);
    (is_a ? pair.a : pair.b) = &view;
  }
  return absl::OkStatus();
}

absl::Status Planner::AddPair(const std::string& module, Pair& pair, MergeStep* step) {
  pair.taken = true;
  for (const auto& [view, half] : {std::pair(pair.a, ".lora_A.weight"), std::pair(pair.b, ".lora_B.weight")}) {
    if (view == nullptr) return Invalid(absl::StrCat("the adapter lacks the tensor ", pair.key, half), pair.key + half);
  }
  const auto target = MatchLora(lora_, std::string(absl::StripPrefix(pair.key, kPeftRoot)));
  if (!target) {
    const std::string key = pair.key + ".lora_A.weight";
    return Invalid(absl::StrCat("tensor ", key, " stands at ", module, ", which adapter_config.json does not name"),
                   key);
  }
  if (step->shape.size() != 2) return Invalid(absl::StrCat(module, " is no linear layer of the base"), pair.key);
  RETURN_IF_ERROR(CheckShape(pair.key + ".lora_A.weight", *pair.a, {target->r, step->shape[1]}));
  RETURN_IF_ERROR(CheckShape(pair.key + ".lora_B.weight", *pair.b, {step->shape[0], target->r}));
  step->a = pair.a;
  step->b = pair.b;
  step->scale = target->scale;
  return absl::OkStatus();
}

absl::Status Planner::PlanTensor(const std::string& canonical, MergeStep* step) {
  const auto change = [&](const std::string& key) {
    if (IsFloat(step->dtype)) return absl::OkStatus();
    return Invalid(absl::StrCat("the base's tensor for ", key, " is not of a float type"), key);
  };
  if (const auto saved = saved_.find(canonical); saved != saved_.end()) {
    saved->second.taken = true;
    RETURN_IF_ERROR(change(saved->second.key));
    RETURN_IF_ERROR(CheckShape(saved->second.key, *saved->second.view, step->shape));
    step->replacement = saved->second.view;
    return absl::OkStatus();
  }
  const std::string module(absl::StripSuffix(canonical, ".weight"));
  if (const auto pair = pairs_.find(module); pair != pairs_.end() && module != canonical) {
    RETURN_IF_ERROR(change(pair->second.key));
    return AddPair(module, pair->second, step);
  }
  // PEFT's `all-linear` leaves the output layer out.
  if (!IsLinear(canonical, step->shape) || (lora_.all_linear && module == "lm_head")) return absl::OkStatus();
  const std::string hf_name = module == kBartOutput ? module : prefix_ + module;
  if (!MatchLora(lora_, hf_name)) return absl::OkStatus();
  const std::string key = absl::StrCat(kPeftRoot, hf_name, ".lora_A.weight");
  return Invalid(absl::StrCat("the adapter lacks the tensor ", key), key);
}

absl::StatusOr<MergedFile> Planner::Plan(const WeightsFile& file) {
  MergedFile merged{.name = file.name};
  for (const SafetensorsEntry& entry : file.header.entries) {
    const std::string canonical = Canonical(entry.name);
    if (classifies_ && !IsOfClassifier(canonical)) continue;
    MergeStep step{.name = classifies_ ? family_->task_prefix + canonical : entry.name,
                   .dtype = entry.dtype,
                   .shape = entry.shape,
                   .size_bytes = entry.end - entry.begin,
                   .source = file.data_begin + entry.begin};
    RETURN_IF_ERROR(PlanTensor(canonical, &step));
    has_table_ = has_table_ || canonical == "shared.weight" || absl::EndsWith(canonical, ".embed_tokens.weight");
    changes_output_ =
        changes_output_ || (canonical == "lm_head.weight" && (step.a != nullptr || step.replacement != nullptr));
    // A head is built in the dtype of the layers it stands on.
    const bool below_head = family_ != nullptr && canonical == family_->pooler + ".weight";
    if (IsFloat(entry.dtype) && (!has_dtype_ || below_head)) {
      dtype_ = entry.dtype;
      has_dtype_ = true;
    }
    merged.steps.push_back(std::move(step));
  }
  return merged;
}

absl::Status Planner::AddClassifier(MergedFile* file) {
  std::vector<MergeStep> steps;
  std::vector<std::string> names;
  for (const HeadModule& module : HeadModules(*family_, head_)) {
    for (const char* part : {".bias", ".weight"}) names.push_back(module.name + part);
  }
  for (const std::string& name : names) {
    const std::string key = kPeftRoot + name;
    const auto saved = saved_.find(name);
    if (saved == saved_.end()) return Invalid(absl::StrCat("the adapter lacks the tensor ", key), key);
    saved->second.taken = true;
    const TensorView& view = *saved->second.view;
    RETURN_IF_ERROR(CheckShape(key, view, view.shape));
    int64_t count = 1;
    for (const int64_t extent : view.shape) count *= extent;
    steps.push_back({.name = name,
                     .dtype = dtype_,
                     .shape = view.shape,
                     .size_bytes = count * ItemSize(dtype_),
                     .replacement = &view});
  }
  // Wide types come first, so that each tensor stays aligned to its own.
  const auto place = std::find_if(file->steps.begin(), file->steps.end(),
                                  [&](const MergeStep& step) { return ItemSize(step.dtype) < ItemSize(dtype_); });
  file->steps.insert(place, steps.begin(), steps.end());
  return absl::OkStatus();
}

absl::Status Planner::NoPlace(const std::string& canonical, const std::string& key) const {
  if (absl::StartsWith(canonical, "lm_head")) {
    return TenonError(Reason::kUnsupported,
                      "the adapter changes the output layer, lm_head, which this base shares with its embedding: "
                      "a merged copy would change both",
                      key);
  }
  return Invalid(absl::StrCat("tensor ", key, " changes ", canonical, ", which the base does not have"), key);
}

absl::Status Planner::CheckAllTaken() const {
  for (const auto& [module, pair] : pairs_) {
    if (!pair.taken) return NoPlace(module, pair.key + (pair.a != nullptr ? ".lora_A.weight" : ".lora_B.weight"));
  }
  for (const auto& [tensor, saved] : saved_) {
    if (!saved.taken) return NoPlace(tensor, saved.key);
  }
  // A tied base may keep its one table under the output layer's name.
  if (changes_output_ && !has_table_) return NoPlace("lm_head", absl::StrCat(kPeftRoot, "lm_head"));
  return absl::OkStatus();
}

absl::Status Begin(const WeightsFile& base, MergedFile* file) {
  std::vector<TensorToWrite> tensors;
  for (const MergeStep& step : file->steps) {
    tensors.push_back({step.name, {.dtype = step.dtype, .shape = step.shape, .size_bytes = step.size_bytes}});
  }
  ASSIGN_OR_RETURN(file->begin, BeginSafetensors(tensors, base.header.metadata));
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::vector<MergedFile>> PlanMerge(const std::vector<WeightsFile>& base, const EncoderFamily* family,
                                                  const LoraConfig& lora, const Safetensors& weights, bool classifies) {
  if (classifies && (family == nullptr || HeadModules(*family).empty())) {
    return TenonError(Reason::kUnsupported, "the adapter has labels, and its base is of no family that classifies",
                      "labels");
  }
  Planner planner(family, lora, classifies);
  RETURN_IF_ERROR(planner.ReadAdapter(weights));
  std::vector<MergedFile> files;
  for (const WeightsFile& file : base) {
    ASSIGN_OR_RETURN(MergedFile merged, planner.Plan(file));
    files.push_back(std::move(merged));
  }
  if (classifies && !files.empty()) RETURN_IF_ERROR(planner.AddClassifier(&files.back()));
  RETURN_IF_ERROR(planner.CheckAllTaken());
  for (size_t i = 0; i < files.size(); ++i) RETURN_IF_ERROR(Begin(base[i], &files[i]));
  return files;
}

}  // namespace tenon::formats
