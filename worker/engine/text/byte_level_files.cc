// vocab.json, an object of ids by piece, and merges.txt, "left right" a line behind a line "#version: ...": what
// GPT-2's own repository has, and OPT's.
#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/formats/files.h"
#include "common/formats/json.h"
#include "common/formats/status.h"
#include "common/formats/utf8.h"
#include "worker/engine/text/byte_level_spec.h"

namespace tenon::engine {
namespace {

constexpr char kVocab[] = "vocab.json";
constexpr char kMerges[] = "merges.txt";
constexpr int64_t kMaxBytes = 256 << 20;

absl::Status Invalid(const char* file, const std::string& what) {
  return TenonError(Reason::kBaseInvalid, absl::StrCat(file, ": ", what), file);
}

absl::Status ReadMerges(const std::string& text, BytePairVocabulary* vocabulary) {
  if (!formats::IsValidUtf8(text)) return Invalid(kMerges, "is not valid UTF-8");
  int64_t number = 1;
  for (size_t at = 0; at < text.size(); ++number) {
    const size_t stop = std::min(text.find('\n', at), text.size());
    std::string line = text.substr(at, stop - at);
    if (!line.empty() && line.back() == '\r') line.pop_back();
    at = stop + 1;
    if (absl::StartsWith(line, "#version")) continue;
    auto pieces = SplitMerge(line);
    if (!pieces.has_value()) return Invalid(kMerges, absl::StrCat("line ", number, " is not two pieces"));
    vocabulary->merges.push_back(*std::move(pieces));
  }
  return absl::OkStatus();
}

// Of a file that may be missing.
absl::StatusOr<std::string> ReadIfThere(const std::filesystem::path& file) {
  std::error_code ignored;
  if (!std::filesystem::exists(file, ignored)) return std::string();
  return formats::ReadFile(file, kMaxBytes, Reason::kBaseInvalid);
}

}  // namespace

absl::StatusOr<ByteLevelSpec> ParseByteLevelFiles(const std::string& vocab, const std::string& merges,
                                                  const ByteLevelConfigFiles& config) {
  ASSIGN_OR_RETURN(const ByteLevelConfig settings, ParseByteLevelConfig(config));
  if (settings.tokenizer_class == ByteLevelClass::kFile) {
    return TenonError(Reason::kUnsupported,
                      "tokenizer_config.json: tokenizer_class must be GPT2Tokenizer, RobertaTokenizer or BartTokenizer "
                      "where there is no tokenizer.json",
                      "tokenizer_class");
  }
  const auto json = formats::ParseJson(vocab);
  if (!json.ok()) return Invalid(kVocab, std::string(json.status().message()));
  ByteLevelSpec spec;
  RETURN_IF_ERROR(ReadBytePairIds(*json, absl::StrCat(kVocab, ":"), &spec.vocabulary));
  RETURN_IF_ERROR(ReadMerges(merges, &spec.vocabulary));
  spec.add_prefix_space = settings.add_prefix_space;
  RETURN_IF_ERROR(Complete(settings, std::nullopt, &spec));
  return spec;
}

absl::StatusOr<std::unique_ptr<const ByteLevelTokenizer>> ByteLevelTokenizer::Load(
    const std::filesystem::path& folder) {
  ByteLevelConfigFiles config;
  ASSIGN_OR_RETURN(config.tokenizer_config, ReadIfThere(folder / "tokenizer_config.json"));
  ASSIGN_OR_RETURN(config.special_tokens_map, ReadIfThere(folder / "special_tokens_map.json"));
  ASSIGN_OR_RETURN(config.config, ReadIfThere(folder / "config.json"));
  std::error_code ignored;
  const bool whole = std::filesystem::exists(folder / "tokenizer.json", ignored);
  ByteLevelSpec spec;
  if (whole) {
    ASSIGN_OR_RETURN(const std::string json, ReadIfThere(folder / "tokenizer.json"));
    ASSIGN_OR_RETURN(spec, ParseByteLevelJson(json, config));
  } else {
    ASSIGN_OR_RETURN(config.added_tokens, ReadIfThere(folder / "added_tokens.json"));
    ASSIGN_OR_RETURN(const std::string vocab, formats::ReadFile(folder / kVocab, kMaxBytes, Reason::kBaseInvalid));
    ASSIGN_OR_RETURN(const std::string merges, formats::ReadFile(folder / kMerges, kMaxBytes, Reason::kBaseInvalid));
    ASSIGN_OR_RETURN(spec, ParseByteLevelFiles(vocab, merges, config));
  }
  auto tokenizer = Create(std::move(spec));
  if (!tokenizer.ok()) return Annotate(tokenizer.status(), whole ? "tokenizer.json: model: " : "merges.txt: ");
  return *std::move(tokenizer);
}

}  // namespace tenon::engine
