#include "common/formats/merged_model.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <optional>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/formats/classifier_config.h"
#include "common/formats/config_json.h"
#include "common/formats/encoder_family.h"
#include "common/formats/families/families.h"
#include "common/formats/json.h"
#include "common/formats/json_fields.h"
#include "common/formats/status.h"

namespace tenon::formats {
namespace {

constexpr char kIndex[] = "model.safetensors.index.json";
constexpr size_t kMaxConfigBytes = 16 << 20;
constexpr size_t kPiece = 1 << 20;
constexpr size_t kLengthBytes = 8;

using FileSink = std::function<absl::Status(const std::string& file, const std::string& piece)>;

bool IsWeights(const std::string& name) { return absl::EndsWith(name, ".safetensors"); }

// Reads no further than the header.
absl::StatusOr<WeightsFile> ReadHeader(const MergeInput& input, const MergeInput::File& file) {
  const Safetensors::Limits limits;
  const auto invalid = [&](const std::string& what) {
    return TenonError(Reason::kSafetensorsInvalid, absl::StrCat(file.name, ": ", what), file.name);
  };
  std::string bytes;
  std::optional<int64_t> length;
  bool done = false;
  const absl::Status read = input.read(file.name, [&](const std::string& piece) -> absl::Status {
    bytes += piece;
    if (bytes.size() < kLengthBytes) return absl::OkStatus();
    if (!length) {
      uint64_t number = 0;
      for (size_t i = 0; i < kLengthBytes; ++i)
        number |= static_cast<uint64_t>(static_cast<uint8_t>(bytes[i])) << 8 * i;
      if (number > static_cast<uint64_t>(limits.max_header_bytes)) return invalid("the header is too long");
      length = static_cast<int64_t>(number);
    }
    done = static_cast<int64_t>(bytes.size() - kLengthBytes) >= *length;
    return done ? absl::CancelledError("enough is read") : absl::OkStatus();
  });
  if (!done) {
    RETURN_IF_ERROR(read);
    return invalid("the file ends within the header");
  }
  WeightsFile weights{.name = file.name, .data_begin = static_cast<int64_t>(kLengthBytes) + *length};
  auto header =
      ParseSafetensorsHeader(bytes.data() + kLengthBytes, *length, file.size_bytes - weights.data_begin, limits);
  if (!header.ok()) return Annotate(header.status(), absl::StrCat(file.name, ": "));
  weights.header = *std::move(header);
  return weights;
}

// As torch calls it.
const char* TorchName(DType dtype) {
  return dtype == DType::kBF16 ? "bfloat16" : dtype == DType::kF16 ? "float16" : "float32";
}

absl::StatusOr<std::string> ReadText(const MergeInput& input, const std::string& name) {
  std::string text;
  RETURN_IF_ERROR(input.read(name, [&](const std::string& piece) {
    text += piece;
    if (text.size() <= kMaxConfigBytes) return absl::OkStatus();
    return TenonError(Reason::kBaseInvalid, absl::StrCat(name, " is too large"), name);
  }));
  return text;
}

// The base's config.json, as it stands and as it reads.
struct BaseText {
  std::string text;
  nlohmann::json config;
  const EncoderFamily* family = nullptr;  // nullptr: it writes texts
};

absl::StatusOr<BaseText> ReadBaseText(const MergeInput& input) {
  BaseText base;
  ASSIGN_OR_RETURN(base.text, ReadText(input, kConfigFile));
  auto config = ParseJson(base.text);
  if (!config.ok() || !config->is_object()) {
    return TenonError(Reason::kBaseInvalid, absl::StrCat(kConfigFile, " must be an object"), kConfigFile);
  }
  base.config = *std::move(config);
  JsonFields fields(base.config, kConfigFile, Reason::kBaseInvalid);
  base.family = FindFamily(fields.String("model_type", kDefaultModelType));
  RETURN_IF_ERROR(fields.status());
  return base;
}

std::string ConfigText(const MergeInput& input, const BaseText& base, const std::vector<MergedFile>& files) {
  if (input.tenon.labels.empty()) return base.text;
  const HeadKind kind = HeadOfTask(input.tenon.task);
  const std::string output = HeadModules(*base.family, kind).front().name + ".weight";
  DType dtype = DType::kF32;
  for (const MergedFile& file : files) {
    for (const MergeStep& step : file.steps) {
      if (step.name == output) dtype = step.dtype;
    }
  }
  return ClassifierConfig(base.config, base.family->ModelClass(kind), input.tenon, TorchName(dtype));
}

absl::Status CheckLabels(const MergeInput& input, const EncoderFamily* family) {
  if (input.tenon.labels.empty() || family == nullptr) return absl::OkStatus();
  const std::vector<HeadModule> modules = HeadModules(*family, HeadOfTask(input.tenon.task));
  if (modules.empty()) return absl::OkStatus();  // PlanMerge says so
  const std::string key = absl::StrCat("base_model.model.", modules.front().name, ".weight");
  const TensorView* head = input.weights->Find(key);
  const auto labels = static_cast<int64_t>(input.tenon.labels.size());
  if (head == nullptr || (head->shape.size() == 2 && head->shape[0] == labels)) return absl::OkStatus();
  return TenonError(Reason::kAdapterInvalid, absl::StrCat("tensor ", key, " does not have ", labels, " rows"), key);
}

// Which file has which tensor, for a base in several.
std::string IndexText(const std::vector<MergedFile>& files) {
  nlohmann::json map = nlohmann::json::object();
  int64_t bytes = 0;
  for (const MergedFile& file : files) {
    for (const MergeStep& step : file.steps) {
      map[step.name] = file.name;
      bytes += step.size_bytes;
    }
  }
  return nlohmann::json{{"metadata", {{"total_size", bytes}}}, {"weight_map", std::move(map)}}.dump(2) + "\n";
}

absl::Status WriteText(const std::string& name, const std::string& text, const FileSink& write) {
  for (size_t at = 0; at < text.size(); at += kPiece) RETURN_IF_ERROR(write(name, text.substr(at, kPiece)));
  return absl::OkStatus();
}

absl::Status WriteWeights(const MergeInput& input, const MergedFile& file, const FileSink& write) {
  MergeStream stream(file, [&](const std::string& piece) { return write(file.name, piece); });
  RETURN_IF_ERROR(input.read(file.name, [&](const std::string& piece) { return stream.Append(piece); }));
  return stream.Finish();
}

}  // namespace

absl::Status CheckMergeable(const std::string& method) {
  if (method == "lora") return absl::OkStatus();
  const std::string why =
      method == "prompt_tuning" ? "a soft prompt stands before the input and changes no weight"
      : method == "bottleneck"  ? "its blocks are layers of their own, with a function between that no weight can hold"
      : method == "head"
          ? "its classifier reads pooled sentence vectors, which no transformers model with a classifier does: "
            "those read the first token's state"
          : "only a LoRA changes the base's weights";
  return TenonError(Reason::kUnsupported,
                    absl::StrCat("an adapter of method ", method, " cannot be merged into its base: ", why), "merged");
}

absl::Status MergeModel(const MergeInput& input, const FileSink& write) {
  RETURN_IF_ERROR(CheckMergeable(input.tenon.method));
  if (input.tenon.task == "causal_lm") {
    return TenonError(Reason::kUnsupported,
                      "an adapter of a base with a decoder alone is not merged: export its own files", "merged");
  }
  if (input.lora.fan_in_fan_out) {
    return TenonError(Reason::kUnsupported,
                      "adapter_config.json: fan_in_fan_out is true; the base's weights are not turned",
                      "fan_in_fan_out");
  }
  ASSIGN_OR_RETURN(const BaseText base, ReadBaseText(input));
  RETURN_IF_ERROR(CheckLabels(input, base.family));
  std::vector<WeightsFile> weights;
  for (const MergeInput::File& file : input.base) {
    if (!IsWeights(file.name)) continue;
    ASSIGN_OR_RETURN(WeightsFile header, ReadHeader(input, file));
    weights.push_back(std::move(header));
  }
  ASSIGN_OR_RETURN(std::vector<MergedFile> files,
                   PlanMerge(weights, base.family, input.lora, *input.weights, !input.tenon.labels.empty()));
  // A shard of which nothing is left.
  files.erase(std::remove_if(files.begin(), files.end(), [](const MergedFile& file) { return file.steps.empty(); }),
              files.end());
  RETURN_IF_ERROR(WriteText(kConfigFile, ConfigText(input, base, files), write));
  for (const MergeInput::File& file : input.base) {
    if (file.name == kConfigFile || IsWeights(file.name)) continue;
    if (file.name == kIndex) {
      RETURN_IF_ERROR(WriteText(kIndex, IndexText(files), write));
      continue;
    }
    if (file.size_bytes == 0) RETURN_IF_ERROR(write(file.name, ""));
    RETURN_IF_ERROR(input.read(file.name, [&](const std::string& piece) { return write(file.name, piece); }));
  }
  for (const MergedFile& file : files) RETURN_IF_ERROR(WriteWeights(input, file, write));
  return absl::OkStatus();
}

}  // namespace tenon::formats
