// spiece.model, what T5's own repositories have.
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/formats/status.h"
#include "worker/engine/text/sentencepiece_model.h"
#include "worker/engine/text/t5_config.h"
#include "worker/engine/text/t5_tokenizer.h"

namespace tenon::engine {
namespace {

constexpr char kFile[] = "spiece.model";
constexpr size_t kUnknown = 2;

}  // namespace

absl::StatusOr<T5Spec> ParseT5Spiece(const std::string& spiece, const std::string& config) {
  ASSIGN_OR_RETURN(const T5Config settings, ParseT5Config(config));
  SentencePieceModel model;
  const std::string problem = ReadSentencePieceModel(spiece, &model);
  if (!problem.empty()) return TenonError(Reason::kBaseInvalid, absl::StrCat(kFile, ": ", problem), kFile);
  const auto unsupported = [](const std::string& what) {
    return TenonError(Reason::kUnsupported, absl::StrCat(kFile, ": ", what), kFile);
  };
  if (!model.unigram) return unsupported("a model that is not Unigram is not supported for T5");

  T5Spec spec;
  std::vector<AddedToken> added;
  for (const SentencePieceModel::Piece& piece : model.pieces) {
    using Type = SentencePieceModel::Type;
    if (piece.type == Type::kByte) return unsupported("byte_fallback is not supported");
    if (piece.type == Type::kUnknown && spec.pieces.size() != kUnknown) {
      return unsupported("the unknown piece's id must be 2, as T5's is");
    }
    if (piece.type == Type::kControl || piece.type == Type::kUserDefined) {
      added.push_back(SpecialToken(piece.text));
      added.back().special = piece.type == Type::kControl;
    }
    spec.pieces.push_back({piece.text, piece.score});
  }
  const std::vector<AddedToken> sentinels = Sentinels(settings.extra_ids);
  for (auto sentinel = sentinels.rbegin(); sentinel != sentinels.rend(); ++sentinel) {
    spec.pieces.push_back({sentinel->content, 0});
  }
  added.insert(added.end(), sentinels.begin(), sentinels.end());
  if (!model.charsmap.empty()) {
    auto charsmap = Charsmap::Parse(model.charsmap);
    if (!charsmap.ok()) return Annotate(charsmap.status(), absl::StrCat(kFile, ": normalizer_spec: "));
    spec.charsmap = *std::move(charsmap);
  }
  spec.added_tokens = settings.AddedTokensAfter({}, added);
  spec.eos_token = settings.eos_token;
  spec.clean_up_spaces = settings.clean_up_spaces;
  return spec;
}

}  // namespace tenon::engine
