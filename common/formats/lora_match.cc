// PEFT's rule of which modules get LoRA, and with which rank and scale: check_target_module_exists and get_pattern_key.
#include <algorithm>
#include <cmath>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/formats/adapter_config.h"
#include "common/formats/encoder_family.h"
#include "common/formats/module_pattern.h"
#include "common/formats/status.h"

namespace tenon::formats {
namespace {

constexpr size_t kMaxPatterns = 512;

bool EndsWithDotted(const std::string& module, const std::string& name) {
  if (module == name) return true;
  return module.size() > name.size() + 1 && module.compare(module.size() - name.size(), name.size(), name) == 0 &&
         module[module.size() - name.size() - 1] == '.';
}

bool InList(const std::vector<std::string>& names, const std::string& module) {
  return std::any_of(names.begin(), names.end(), [&](const std::string& name) { return EndsWithDotted(module, name); });
}

// Whether `name` is the module, or a run of whole segments of its path.
bool OnPath(const std::string& module, const std::string& name) {
  return absl::StrCat(".", module, ".").find(absl::StrCat(".", name, ".")) != std::string::npos;
}

bool FullMatch(const std::string& pattern, const std::string& module) {
  const auto compiled = ModulePattern::Compile(pattern);
  return compiled.ok() && compiled->Matches(module);
}

bool IsSaved(const LoraConfig& config, const std::string& module) {
  const auto has = [&](const std::vector<std::string>& names) {
    return std::any_of(names.begin(), names.end(), [&](const std::string& name) { return OnPath(module, name); });
  };
  if (IsPeftHeadTask(config.task_type) && has(PeftHeadNames(HeadOfPeftTask(config.task_type)))) return true;
  return has(config.modules_to_save);
}

// A key of rank_pattern or alpha_pattern: a full match of the module, or of what stands behind a dot.
std::string KeyPattern(const std::string& key) { return absl::StrCat("(.*\\.)?(", key, ")"); }

// The first key that matches, in sorted order, which is the order of a file that PEFT wrote.
template <typename T>
T Lookup(const std::map<std::string, T>& patterns, const std::string& module, T otherwise) {
  for (const auto& [key, value] : patterns) {
    if (EndsWithDotted(module, key) || FullMatch(KeyPattern(key), module)) return value;
  }
  return otherwise;
}

bool IsTarget(const LoraConfig& config, const std::string& module) {
  if (InList(config.exclude_modules, module)) return false;
  if (!config.exclude_regex.empty() && FullMatch(config.exclude_regex, module)) return false;
  if (IsSaved(config, module)) return false;
  if (config.all_linear) return true;
  if (!config.target_regex.empty()) return FullMatch(config.target_regex, module);
  return InList(config.target_modules, module);
}

}  // namespace

absl::Status CheckLoraPatterns(const LoraConfig& config) {
  const auto check = [](const std::string& field, const std::string& pattern) {
    const absl::Status status = ModulePattern::Compile(pattern).status();
    if (status.ok()) return status;
    return TenonError(Reason::kOptionInvalid, absl::StrCat(field, ": ", std::string(status.message())), field);
  };
  // Each is compiled for every layer.
  if (config.rank_pattern.size() > kMaxPatterns || config.alpha_pattern.size() > kMaxPatterns) {
    const std::string field = config.rank_pattern.size() > kMaxPatterns ? "rank_pattern" : "alpha_pattern";
    return TenonError(Reason::kOptionInvalid, absl::StrCat(field, " has more than ", kMaxPatterns, " keys"), field);
  }
  if (!config.target_regex.empty()) RETURN_IF_ERROR(check("target_modules", config.target_regex));
  if (!config.exclude_regex.empty()) RETURN_IF_ERROR(check("exclude_modules", config.exclude_regex));
  for (const auto& [key, rank] : config.rank_pattern) RETURN_IF_ERROR(check("rank_pattern", KeyPattern(key)));
  for (const auto& [key, alpha] : config.alpha_pattern) RETURN_IF_ERROR(check("alpha_pattern", KeyPattern(key)));
  return absl::OkStatus();
}

bool SavesModule(const std::string& name, const std::string& module) {
  if (EndsWithDotted(module, name)) return true;
  const std::string block = module.substr(0, std::min(module.rfind('.'), module.size()));
  const bool plain = EndsWithDotted(block, "pooler") || EndsWithDotted(block, "intermediate");
  return plain && EndsWithDotted(block, name);
}

bool SavesModule(const LoraConfig& config, const std::string& module) {
  return std::any_of(config.modules_to_save.begin(), config.modules_to_save.end(),
                     [&](const std::string& name) { return SavesModule(name, module); });
}

std::optional<LoraTarget> MatchLora(const LoraConfig& config, const std::string& module) {
  if (!IsTarget(config, module)) return std::nullopt;
  LoraTarget target;
  target.r = Lookup(config.rank_pattern, module, config.r);
  const double alpha = Lookup(config.alpha_pattern, module, config.alpha);
  const double r = static_cast<double>(target.r);
  target.scale = alpha / (config.use_rslora ? std::sqrt(r) : r);
  return target;
}

}  // namespace tenon::formats
