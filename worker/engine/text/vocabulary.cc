// vocab.txt, one token a line; the line's number from 0 is the id. What BERT's own repositories have.
#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/formats/status.h"
#include "common/formats/utf8.h"
#include "worker/engine/text/tokenizer_config.h"
#include "worker/engine/text/wordpiece_tokenizer.h"

namespace tenon::engine {
namespace {

constexpr char kFile[] = "vocab.txt";

absl::Status Invalid(const std::string& what) {
  return TenonError(Reason::kBaseInvalid, absl::StrCat(kFile, ": ", what), kFile);
}

absl::Status ReadTokens(const std::string& text, WordPieceVocabulary* vocabulary) {
  if (!formats::IsValidUtf8(text)) return Invalid("is not valid UTF-8");
  int32_t id = 0;
  for (size_t at = 0; at < text.size(); ++id) {
    const size_t stop = std::min(text.find('\n', at), text.size());
    std::string token = text.substr(at, stop - at);
    if (!token.empty() && token.back() == '\r') token.pop_back();
    at = stop + 1;
    if (token.empty()) return Invalid(absl::StrCat("line ", id + 1, " is empty"));
    if (!vocabulary->ids.emplace(token, id).second) return Invalid(absl::StrCat("\"", token, "\" occurs twice"));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<WordPieceSpec> ParseVocabulary(const std::string& vocab, const std::string& config) {
  ASSIGN_OR_RETURN(const TokenizerConfig settings, ParseTokenizerConfig(config));
  WordPieceSpec spec;
  RETURN_IF_ERROR(ReadTokens(vocab, &spec.vocabulary));
  spec.vocabulary.unk_token = settings.unk_token;
  settings.Apply(&spec.normalizer);
  spec.types = settings.types;
  spec.added_tokens = settings.added_tokens;
  for (const std::string& token :
       {settings.pad_token, settings.unk_token, settings.cls_token, settings.sep_token, settings.mask_token}) {
    const auto it = spec.vocabulary.ids.find(token);
    const bool around = token == settings.cls_token || token == settings.sep_token;
    if (it == spec.vocabulary.ids.end()) {
      if (around) return Invalid(absl::StrCat("the token \"", token, "\" is missing"));
      continue;
    }
    if (around) (token == settings.cls_token ? spec.prefix : spec.suffix).push_back(it->second);
    const bool known = std::any_of(spec.added_tokens.begin(), spec.added_tokens.end(),
                                   [&](const AddedToken& added) { return added.content == token; });
    if (known) continue;
    AddedToken added;
    added.content = token;
    added.id = it->second;
    spec.added_tokens.push_back(std::move(added));
  }
  return spec;
}

}  // namespace tenon::engine
