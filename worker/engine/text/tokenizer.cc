#include "worker/engine/text/tokenizer.h"

#include <utility>

#include "common/formats/files.h"
#include "common/formats/status.h"
#include "worker/engine/text/wordpiece_tokenizer.h"

namespace tenon::engine {
namespace {

constexpr int64_t kMaxBytes = 256 << 20;

bool Exists(const std::filesystem::path& file) {
  std::error_code ignored;
  return std::filesystem::exists(file, ignored);
}

}  // namespace

absl::StatusOr<std::unique_ptr<const Tokenizer>> LoadTokenizer(const std::filesystem::path& folder) {
  std::string config;
  if (Exists(folder / "tokenizer_config.json")) {
    ASSIGN_OR_RETURN(config, formats::ReadFile(folder / "tokenizer_config.json", kMaxBytes, Reason::kBaseInvalid));
  }
  const bool json = Exists(folder / "tokenizer.json");
  ASSIGN_OR_RETURN(const std::string text, formats::ReadFile(folder / (json ? "tokenizer.json" : "vocab.txt"),
                                                             kMaxBytes, Reason::kBaseInvalid));
  ASSIGN_OR_RETURN(WordPieceSpec spec, json ? ParseTokenizerJson(text, config) : ParseVocabulary(text, config));
  return WordPieceTokenizer::Create(std::move(spec));
}

absl::StatusOr<std::unique_ptr<const GenerativeTokenizer>> LoadGenerativeTokenizer(const std::filesystem::path&) {
  return TenonError(Reason::kUnsupported, "SentencePiece's tokenizers are not read yet", "tokenizer.json");
}

}  // namespace tenon::engine
