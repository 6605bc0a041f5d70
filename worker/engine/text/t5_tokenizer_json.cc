// tokenizer.json of Hugging Face's tokenizers library, for T5's Unigram models. transformers takes its pieces, the
// character map and the added tokens, and puts the rest together itself, as T5Tokenizer does; so the rest has to say
// the same here, in one of the ways in which such files say it.
#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "common/formats/json_fields.h"
#include "common/formats/status.h"
#include "worker/engine/text/t5_config.h"
#include "worker/engine/text/t5_tokenizer.h"
#include "worker/engine/text/tokenizer_json_parts.h"

namespace tenon::engine {
namespace {

using formats::JsonFields;
using tokenizer_json::Invalid;
using tokenizer_json::kFile;
using tokenizer_json::kMaxId;
using tokenizer_json::Parts;
using tokenizer_json::Type;
using Json = nlohmann::json;

constexpr char kMeta[] = "\xE2\x96\x81";

absl::Status Unsupported(const std::string& key, const Json& found) {
  return tokenizer_json::Unsupported(key, found, "is not supported, nor used by T5 in transformers");
}

absl::Status ReadModel(const Json& json, T5Spec* spec) {
  const auto model = json.find("model");
  if (model == json.end() || !model->is_object()) return Invalid("model", "must be an object");
  const auto vocab = model->find("vocab");
  // Files of old versions do not say the model's type.
  const bool unigram = model->contains("type") ? Type(*model) == "Unigram" : vocab != model->end() && vocab->is_array();
  if (!unigram) {
    const std::string shown = model->contains("type") ? formats::Shown((*model)["type"]) : "of no type";
    return TenonError(Reason::kUnsupported,
                      absl::StrCat(kFile, ": model ", shown, " is not supported for T5; Unigram is"), "model");
  }
  JsonFields fields(*model, absl::StrCat(kFile, ": model"), Reason::kBaseInvalid);
  if (fields.Int("unk_id", 2, 0, kMaxId) != 2) fields.Unsupported("unk_id", "must be 2, as T5's is");
  if (fields.Bool("byte_fallback", false)) fields.Unsupported("byte_fallback", "must be false");
  RETURN_IF_ERROR(fields.status());
  if (vocab == model->end() || !vocab->is_array() || vocab->empty()) return Invalid("model.vocab", "must be a list");
  for (const Json& item : *vocab) {
    if (!item.is_array() || item.size() != 2 || !item[0].is_string() || !item[1].is_number()) {
      return Invalid("model.vocab", absl::StrCat("has ", formats::Shown(item), ", which is no piece with its score"));
    }
    spec->pieces.push_back({item[0].get<std::string>(), item[1].get<double>()});
  }
  return absl::OkStatus();
}

absl::Status ReadNormalizer(const Json& json, T5Spec* spec) {
  ASSIGN_OR_RETURN(const std::vector<Json> parts, Parts(json, "normalizer", "normalizers"));
  for (const Json& part : parts) {
    const std::string type = Type(part);
    // Spaces at the end, and more than one of them, are nothing once the text is cut into words.
    const bool spaces = (type == "Strip" && part.value("strip_left", Json()) == false) ||
                        (type == "Replace" && part.value("pattern", Json()) == Json{{"Regex", " {2,}"}} &&
                         (part.value("content", Json()) == kMeta || part.value("content", Json()) == " "));
    if (spaces) continue;
    if (type != "Precompiled" || &part != &parts.front()) return Unsupported("normalizer", part);
    const auto map = part.find("precompiled_charsmap");
    if (map == part.end() || map->is_null()) continue;
    std::string bytes;
    if (!map->is_string() || !absl::Base64Unescape(map->get_ref<const std::string&>(), &bytes)) {
      return Invalid("normalizer.precompiled_charsmap", "must be a string in base64");
    }
    auto charsmap = Charsmap::Parse(bytes);
    if (!charsmap.ok()) return Annotate(charsmap.status(), absl::StrCat(kFile, ": normalizer: "));
    spec->charsmap = *std::move(charsmap);
  }
  return absl::OkStatus();
}

bool IsT5Metaspace(const Json& part) {
  return Type(part) == "Metaspace" && part.value("replacement", Json()) == kMeta &&
         part.value("prepend_scheme", Json("always")) == "always" &&
         part.value("add_prefix_space", Json(true)) == true && part.value("split", Json(true)) == true;
}

// What cuts the text into words, and what puts it together again.
absl::Status CheckSpaces(const Json& json) {
  ASSIGN_OR_RETURN(const std::vector<Json> cutters, Parts(json, "pre_tokenizer", "pretokenizers"));
  for (const Json& part : cutters) {
    if (Type(part) != "WhitespaceSplit" && !IsT5Metaspace(part)) return Unsupported("pre_tokenizer", part);
  }
  ASSIGN_OR_RETURN(const std::vector<Json> decoders, Parts(json, "decoder", "decoders"));
  for (const Json& part : decoders) {
    if (!IsT5Metaspace(part)) return Unsupported("decoder", part);
  }
  const auto post = json.find("post_processor");
  if (post != json.end() && !post->is_null() && Type(*post) != "TemplateProcessing") {
    return Unsupported("post_processor", *post);
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<T5Spec> ParseT5TokenizerJson(const std::string& json, const std::string& config) {
  ASSIGN_OR_RETURN(const T5Config settings, ParseT5Config(config));
  ASSIGN_OR_RETURN(const Json parsed, tokenizer_json::Parse(json));
  T5Spec spec;
  RETURN_IF_ERROR(ReadModel(parsed, &spec));
  RETURN_IF_ERROR(ReadNormalizer(parsed, &spec));
  RETURN_IF_ERROR(CheckSpaces(parsed));
  ASSIGN_OR_RETURN(std::vector<AddedToken> own, tokenizer_json::ReadAddedTokens(parsed));
  std::stable_sort(own.begin(), own.end(), [](const AddedToken& a, const AddedToken& b) { return a.id < b.id; });
  spec.added_tokens = settings.AddedTokensAfter(std::move(own), Sentinels(settings.extra_ids));
  spec.eos_token = settings.eos_token;
  spec.clean_up_spaces = settings.clean_up_spaces;
  return spec;
}

}  // namespace tenon::engine
