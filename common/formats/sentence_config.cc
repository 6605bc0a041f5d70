#include "common/formats/sentence_config.h"

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/formats/files.h"
#include "common/formats/json.h"
#include "common/formats/json_fields.h"
#include "common/formats/status.h"

namespace tenon::formats {
namespace {

constexpr int64_t kMaxConfigBytes = 1 << 20;

bool Exists(const std::filesystem::path& file) {
  std::error_code ignored;
  return std::filesystem::exists(file, ignored);
}

absl::StatusOr<nlohmann::json> ReadJson(const std::filesystem::path& file) {
  const std::string name = file.filename().string();
  ASSIGN_OR_RETURN(const std::string text, ReadFile(file, kMaxConfigBytes, Reason::kBaseInvalid));
  auto json = ParseJson(text);
  if (json.ok()) return json;
  return TenonError(Reason::kBaseInvalid, absl::StrCat(name, ": ", std::string(json.status().message())), name);
}

struct Module {
  std::string kind;  // `Transformer`, `Pooling`, `Normalize`, ...
  std::string path;  // folder; empty for the base's own
};

// modules.json in its order. `type` is a Python class, whose package differs by version.
absl::StatusOr<std::vector<Module>> ReadModules(const std::filesystem::path& folder) {
  std::vector<Module> modules;
  if (!Exists(folder / "modules.json")) return modules;
  ASSIGN_OR_RETURN(const nlohmann::json json, ReadJson(folder / "modules.json"));
  const auto error = [](const std::string& what) {
    return TenonError(Reason::kBaseInvalid, absl::StrCat("modules.json: ", what), "modules.json");
  };
  if (!json.is_array()) return error("must be a list");
  for (const nlohmann::json& item : json) {
    if (!item.is_object()) return error("must be a list of objects");
    JsonFields fields(item, "modules.json", Reason::kBaseInvalid);
    const std::string type = fields.String("type", "");
    Module module{type.substr(type.rfind('.') + 1), fields.String("path", "")};
    RETURN_IF_ERROR(fields.status());
    if (module.path.find_first_of("/\\") != std::string::npos || module.path == ".." || module.path == ".") {
      return error(absl::StrCat("path ", Shown(module.path), " must be a folder's name"));
    }
    modules.push_back(std::move(module));
  }
  return modules;
}

absl::StatusOr<Pooling> ReadPooling(const std::filesystem::path& file) {
  ASSIGN_OR_RETURN(const nlohmann::json json, ReadJson(file));
  if (!json.is_object())
    return TenonError(Reason::kBaseInvalid, "1_Pooling/config.json: must be an object", "pooling_mode");
  JsonFields fields(json, "1_Pooling/config.json", Reason::kBaseInvalid);
  std::vector<std::string> modes;
  // Newer versions name the mode; older ones have a flag for each.
  if (json.contains("pooling_mode")) {
    modes.push_back(fields.String("pooling_mode", ""));
  } else {
    for (const auto& [key, value] : json.items()) {
      if (key.rfind("pooling_mode_", 0) == 0 && fields.Bool(key, false)) modes.push_back(key);
    }
  }
  RETURN_IF_ERROR(fields.status());
  if (modes.size() != 1) {
    return TenonError(Reason::kUnsupported,
                      absl::StrCat("1_Pooling/config.json: ", modes.size(), " pooling modes are set; one is supported"),
                      "pooling_mode");
  }
  const std::string& mode = modes.front();
  if (mode == "pooling_mode_mean_tokens" || mode == "mean") return Pooling::kMean;
  if (mode == "pooling_mode_cls_token" || mode == "cls") return Pooling::kCls;
  if (mode == "pooling_mode_max_tokens" || mode == "max") return Pooling::kMax;
  return TenonError(Reason::kUnsupported,
                    absl::StrCat("1_Pooling/config.json: ", mode, " is not supported; mean, cls and max are"), mode);
}

absl::StatusOr<int64_t> ReadMaxLength(const std::filesystem::path& file) {
  ASSIGN_OR_RETURN(const nlohmann::json json, ReadJson(file));
  const std::string name = file.filename().string();
  if (!json.is_object()) return TenonError(Reason::kBaseInvalid, absl::StrCat(name, ": must be an object"), name);
  JsonFields fields(json, name, Reason::kBaseInvalid);
  const int64_t length = fields.Int("max_seq_length", 0, 3, 1'000'000);
  if (fields.Bool("do_lower_case", false)) fields.Unsupported("do_lower_case", "is true, which is not supported");
  RETURN_IF_ERROR(fields.status());
  return length;
}

}  // namespace

absl::StatusOr<std::filesystem::path> PoolingConfigPath(const std::filesystem::path& folder) {
  ASSIGN_OR_RETURN(const std::vector<Module> modules, ReadModules(folder));
  for (const Module& module : modules) {
    if (module.kind != "Pooling" || module.path.empty()) continue;
    for (const auto& file : {folder / module.path / "config.json", folder / (module.path + "_config.json")}) {
      if (Exists(file)) return file;
    }
    return TenonError(Reason::kBaseInvalid,
                      absl::StrCat(module.path, "/config.json: no such file, but modules.json names it"),
                      "modules.json");
  }
  return std::filesystem::path();
}

absl::StatusOr<SentenceConfig> ReadSentenceConfig(const std::filesystem::path& folder, const SentenceConfig& defaults) {
  SentenceConfig config = defaults;
  ASSIGN_OR_RETURN(const std::vector<Module> modules, ReadModules(folder));
  for (const Module& module : modules) {
    if (module.kind == "Normalize") {
      config.normalize = true;
    } else if (module.kind != "Transformer" && module.kind != "Pooling") {
      return TenonError(Reason::kUnsupported, absl::StrCat("modules.json: module ", module.kind, " is not supported"),
                        module.kind);
    }
  }
  ASSIGN_OR_RETURN(const std::filesystem::path pooling, PoolingConfigPath(folder));
  if (!pooling.empty()) {
    ASSIGN_OR_RETURN(config.pooling, ReadPooling(pooling));
  }
  const std::filesystem::path sentence = folder / "sentence_bert_config.json";
  if (Exists(sentence)) {
    ASSIGN_OR_RETURN(config.max_seq_length, ReadMaxLength(sentence));
  }
  return config;
}

}  // namespace tenon::formats
