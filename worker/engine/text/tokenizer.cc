#include "worker/engine/text/tokenizer.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "common/formats/files.h"
#include "common/formats/status.h"
#include "worker/engine/text/byte_level_tokenizer.h"
#include "worker/engine/text/t5_tokenizer.h"
#include "worker/engine/text/tokenizer_json_parts.h"
#include "worker/engine/text/wordpiece_tokenizer.h"

namespace tenon::engine {
namespace {

constexpr int64_t kMaxBytes = 256 << 20;

bool Exists(const std::filesystem::path& file) {
  std::error_code ignored;
  return std::filesystem::exists(file, ignored);
}

struct Files {
  bool json = false;  // whether `model` is tokenizer.json
  std::string name;
  std::string model;
  std::string config;  // tokenizer_config.json, or empty
};

// tokenizer.json, or else `other`, which older folders have.
absl::StatusOr<Files> ReadFiles(const std::filesystem::path& folder, const std::string& other) {
  Files files;
  if (Exists(folder / "tokenizer_config.json")) {
    ASSIGN_OR_RETURN(files.config,
                     formats::ReadFile(folder / "tokenizer_config.json", kMaxBytes, Reason::kBaseInvalid));
  }
  files.json = Exists(folder / "tokenizer.json");
  files.name = files.json ? "tokenizer.json" : other;
  ASSIGN_OR_RETURN(files.model, formats::ReadFile(folder / files.name, kMaxBytes, Reason::kBaseInvalid));
  return files;
}

// Byte pairs come in tokenizer.json, whose model says so, or in vocab.json, where there is no `other`.
absl::StatusOr<bool> HasBytePairs(const std::filesystem::path& folder, const std::string& other) {
  if (!Exists(folder / "tokenizer.json")) return !Exists(folder / other) && Exists(folder / "vocab.json");
  ASSIGN_OR_RETURN(const std::string json,
                   formats::ReadFile(folder / "tokenizer.json", kMaxBytes, Reason::kBaseInvalid));
  return tokenizer_json::ModelType(json) == "BPE";
}

}  // namespace

absl::StatusOr<std::unique_ptr<const Tokenizer>> LoadTokenizer(const std::filesystem::path& folder) {
  ASSIGN_OR_RETURN(const bool byte_pairs, HasBytePairs(folder, "vocab.txt"));
  if (byte_pairs) return ByteLevelTokenizer::Load(folder);
  ASSIGN_OR_RETURN(const Files files, ReadFiles(folder, "vocab.txt"));
  ASSIGN_OR_RETURN(WordPieceSpec spec, files.json ? ParseTokenizerJson(files.model, files.config)
                                                  : ParseVocabulary(files.model, files.config));
  return WordPieceTokenizer::Create(std::move(spec));
}

absl::StatusOr<std::unique_ptr<const GenerativeTokenizer>> LoadGenerativeTokenizer(
    const std::filesystem::path& folder) {
  ASSIGN_OR_RETURN(const bool byte_pairs, HasBytePairs(folder, "spiece.model"));
  if (byte_pairs) return ByteLevelTokenizer::Load(folder);
  ASSIGN_OR_RETURN(const Files files, ReadFiles(folder, "spiece.model"));
  ASSIGN_OR_RETURN(T5Spec spec, files.json ? ParseT5TokenizerJson(files.model, files.config)
                                           : ParseT5Spiece(files.model, files.config));
  auto tokenizer = T5Tokenizer::Create(std::move(spec));
  if (!tokenizer.ok()) return Annotate(tokenizer.status(), absl::StrCat(files.name, ": "));
  return *std::move(tokenizer);
}

}  // namespace tenon::engine
