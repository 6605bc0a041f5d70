#include <set>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/formats/causal_config.h"
#include "common/formats/config_json.h"
#include "common/formats/files.h"
#include "common/formats/json.h"
#include "common/formats/model_config.h"
#include "common/formats/sentence_config.h"
#include "common/formats/status.h"

namespace tenon::formats {
namespace {

constexpr char kWeights[] = "model.safetensors";
constexpr char kIndex[] = "model.safetensors.index.json";

using Files = std::vector<std::pair<std::string, std::filesystem::path>>;

bool IsFile(const std::filesystem::path& file) {
  std::error_code ignored;
  return std::filesystem::is_regular_file(file, ignored);
}

// What else is wrong with config.json is for whoever reads it.
std::string ModelType(const std::filesystem::path& folder) {
  const auto config = ReadConfigJson(folder);
  if (!config.ok()) return "";
  const auto type = config->find("model_type");
  return type != config->end() && type->is_string() ? type->get<std::string>() : "";
}

absl::Status Missing(const std::string& name, const std::string& hint) {
  return TenonError(Reason::kBaseInvalid, absl::StrCat(name, ": no such file", hint), name);
}

absl::Status AddShards(const std::filesystem::path& folder, Files* files) {
  ASSIGN_OR_RETURN(const std::string text, ReadFile(folder / kIndex, 64 << 20, Reason::kBaseInvalid));
  const auto json = ParseJson(text);
  const auto error = [](const std::string& what) {
    return TenonError(Reason::kBaseInvalid, absl::StrCat(kIndex, ": ", what), kIndex);
  };
  if (!json.ok()) return error(std::string(json.status().message()));
  if (!json->is_object() || !json->contains("weight_map") || !(*json)["weight_map"].is_object()) {
    return error("weight_map must be an object");
  }
  std::set<std::string> shards;
  for (const auto& [tensor, shard] : (*json)["weight_map"].items()) {
    if (!shard.is_string() || shard.get<std::string>().find_first_of("/\\") != std::string::npos) {
      return error(absl::StrCat("tensor ", tensor, ": a shard must be a file name without folders"));
    }
    shards.insert(shard.get<std::string>());
  }
  files->emplace_back(kIndex, folder / kIndex);
  for (const std::string& shard : shards) {
    if (!IsFile(folder / shard)) return Missing(shard, absl::StrCat(", but ", kIndex, " names it"));
    files->emplace_back(shard, folder / shard);
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<Files> BaseFiles(const std::filesystem::path& folder) {
  std::error_code ignored;
  if (!std::filesystem::is_directory(folder, ignored))
    return Missing(folder.filename().string(), ": a base is a folder");
  Files files;
  const auto add = [&](const char* name) {
    if (!IsFile(folder / name)) return false;
    files.emplace_back(name, folder / name);
    return true;
  };
  if (!add("config.json")) return Missing("config.json", "");
  if (IsFile(folder / kIndex) && !IsFile(folder / kWeights)) {
    RETURN_IF_ERROR(AddShards(folder, &files));
  } else if (!add(kWeights)) {
    const bool pickle = IsFile(folder / "pytorch_model.bin");
    return Missing(kWeights,
                   pickle ? "; pytorch_model.bin is a pickle, which Tenon never reads: convert it to safetensors" : "");
  }
  const std::string type = ModelType(folder);
  if (type == "t5") {
    // Each has all of the vocabulary.
    const bool whole = add("tokenizer.json");
    if (!add("spiece.model") && !whole) return Missing("spiece.model", ", and no tokenizer.json");
    for (const char* name : {"tokenizer_config.json", "special_tokens_map.json", "generation_config.json"}) add(name);
    return files;
  }
  // vocab.txt and vocab.json are in tokenizer.json too, which wins.
  if (!add("tokenizer.json") && !add("vocab.txt")) {
    if (!add("vocab.json")) return Missing("tokenizer.json", ", and no vocab.txt or vocab.json");
    if (!add("merges.txt")) return Missing("merges.txt", ", which belongs to vocab.json");
    add("added_tokens.json");
  }
  if (type == "bart" || FindCausalFamily(type) != nullptr) {
    for (const char* name : {"tokenizer_config.json", "special_tokens_map.json", "generation_config.json"}) add(name);
    return files;
  }
  for (const char* name : {"tokenizer_config.json", "special_tokens_map.json", "modules.json",
                           "sentence_bert_config.json", "config_sentence_transformers.json"}) {
    add(name);
  }
  ASSIGN_OR_RETURN(const std::filesystem::path pooling, PoolingConfigPath(folder));
  if (!pooling.empty()) {
    const bool flat = pooling.parent_path() == folder;
    const std::string name = pooling.filename().string();
    files.emplace_back(flat ? name : absl::StrCat(pooling.parent_path().filename().string(), "_", name), pooling);
  }
  return files;
}

}  // namespace tenon::formats
