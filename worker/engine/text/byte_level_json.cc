// tokenizer.json of Hugging Face's tokenizers library, for byte-level BPE models. transformers' own classes take
// pieces, merges, added tokens and the post-processor, and put the rest together themselves; so the rest has to say the
// same.
#include <algorithm>
#include <initializer_list>
#include <nlohmann/json.hpp>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/formats/json_fields.h"
#include "common/formats/status.h"
#include "worker/engine/text/byte_level_spec.h"
#include "worker/engine/text/tokenizer_json_parts.h"

namespace tenon::engine {
namespace {

using formats::JsonFields;
using tokenizer_json::Invalid;
using tokenizer_json::kFile;
using tokenizer_json::Parts;
using tokenizer_json::Type;
using tokenizer_json::Unsupported;
using Json = nlohmann::json;

// What a part is, for an error: its type, if it says one.
Json Kind(const Json& json, const char* key) {
  const Json part = json.value(key, Json());
  const std::string type = Type(part);
  return type.empty() ? part : Json(type);
}

// A setting that is not known could change any id.
absl::Status CheckKeys(const Json& part, const std::string& path, std::initializer_list<const char*> known) {
  for (const auto& [key, value] : part.items()) {
    if (std::find(known.begin(), known.end(), key) != known.end()) continue;
    return Unsupported(absl::StrCat(path, path.empty() ? "" : ".", key), value, "is not a setting that is known here");
  }
  return absl::OkStatus();
}

absl::Status ReadMerges(const Json& model, BytePairVocabulary* vocabulary) {
  const auto merges = model.find("merges");
  if (merges == model.end() || !merges->is_array()) return Invalid("model.merges", "must be a list");
  vocabulary->merges.reserve(merges->size());
  for (size_t i = 0; i < merges->size(); ++i) {
    const Json& merge = (*merges)[i];
    std::optional<std::pair<std::string, std::string>> pieces;
    if (merge.is_string()) {
      pieces = SplitMerge(merge.get_ref<const std::string&>());
    } else if (merge.is_array() && merge.size() == 2 && merge[0].is_string() && merge[1].is_string()) {
      pieces.emplace(merge[0].get<std::string>(), merge[1].get<std::string>());
    }
    if (!pieces.has_value()) {
      return Invalid("model.merges",
                     absl::StrCat("has ", formats::Shown(merge), " as item ", i + 1, ", which is not two pieces"));
    }
    vocabulary->merges.push_back(*std::move(pieces));
  }
  return absl::OkStatus();
}

absl::Status ReadModel(const Json& json, bool by_file, BytePairVocabulary* vocabulary) {
  const auto model = json.find("model");
  if (model == json.end() || !model->is_object()) return Invalid("model", "must be an object");
  // Files of old versions do not say the model's type.
  if (model->contains("type") ? Type(*model) != "BPE" : !model->contains("merges")) {
    const Json type = model->value("type", Json());
    return Unsupported("model.type", type, "is not BPE");
  }
  RETURN_IF_ERROR(CheckKeys(*model, "model",
                            {"type", "dropout", "unk_token", "continuing_subword_prefix", "end_of_word_suffix",
                             "fuse_unk", "byte_fallback", "ignore_merges", "vocab", "merges"}));
  JsonFields fields(*model, absl::StrCat(kFile, ": model"), Reason::kBaseInvalid);
  for (const char* key : {"dropout", "continuing_subword_prefix", "end_of_word_suffix", "byte_fallback"}) {
    const Json* value = fields.Get(key);
    if (value != nullptr && !formats::IsFalsy(*value)) fields.Unsupported(key, "must be null, empty or false");
  }
  vocabulary->ignore_merges = fields.Bool("ignore_merges", false);
  vocabulary->unk_token = fields.String("unk_token", "");
  vocabulary->fuse_unk = fields.Bool("fuse_unk", false);
  if (!by_file) {
    if (vocabulary->ignore_merges)
      fields.Unsupported("ignore_merges", "must be false: the tokenizer_class has no such");
    // Nor has it an unknown token of the model: what is no piece is left out.
    vocabulary->unk_token.clear();
  }
  RETURN_IF_ERROR(fields.status());
  RETURN_IF_ERROR(ReadBytePairIds(model->value("vocab", Json()), absl::StrCat(kFile, ": model.vocab"), vocabulary));
  return ReadMerges(*model, vocabulary);
}

absl::Status ReadWords(const Json& json, ByteLevelSpec* spec) {
  ASSIGN_OR_RETURN(const std::vector<Json> cleaners, Parts(json, "normalizer", "normalizers"));
  if (!cleaners.empty()) return Unsupported("normalizer", Kind(json, "normalizer"), "is not supported for byte pairs");
  ASSIGN_OR_RETURN(const std::vector<Json> cutters, Parts(json, "pre_tokenizer", "pretokenizers"));
  if (cutters.size() != 1 || Type(cutters.front()) != "ByteLevel") {
    return Unsupported("pre_tokenizer", Kind(json, "pre_tokenizer"), "is not supported; ByteLevel alone is");
  }
  const Json& cutter = cutters.front();
  RETURN_IF_ERROR(CheckKeys(cutter, "pre_tokenizer", {"type", "add_prefix_space", "trim_offsets", "use_regex"}));
  JsonFields fields(cutter, absl::StrCat(kFile, ": pre_tokenizer"), Reason::kBaseInvalid);
  if (fields.Get("add_prefix_space") == nullptr) fields.Fail("add_prefix_space", "is missing");
  spec->add_prefix_space = fields.Bool("add_prefix_space", false);
  if (!fields.Bool("use_regex", true)) fields.Unsupported("use_regex", "must be true");
  return fields.status();
}

absl::Status CheckDecoder(const Json& json, bool by_file) {
  ASSIGN_OR_RETURN(const std::vector<Json> decoders, Parts(json, "decoder", "decoders"));
  if (decoders.empty() && !by_file) return absl::OkStatus();
  if (decoders.size() == 1 && Type(decoders.front()) == "ByteLevel") return absl::OkStatus();
  return Unsupported("decoder", Kind(json, "decoder"), "is not supported; ByteLevel alone is");
}

absl::Status CheckTruncation(const Json& json) {
  const Json truncation = json.value("truncation", Json());
  if (truncation.is_null()) return absl::OkStatus();
  if (!truncation.is_object()) return Invalid("truncation", "must be an object");
  JsonFields fields(truncation, absl::StrCat(kFile, ": truncation"), Reason::kBaseInvalid);
  if (fields.String("direction", "Right") != "Right") fields.Unsupported("direction", "must be Right");
  return fields.status();
}

}  // namespace

absl::StatusOr<ByteLevelSpec> ParseByteLevelJson(const std::string& text, const ByteLevelConfigFiles& config) {
  ASSIGN_OR_RETURN(const ByteLevelConfig settings, ParseByteLevelConfig(config));
  ASSIGN_OR_RETURN(const Json json, tokenizer_json::Parse(text));
  RETURN_IF_ERROR(CheckKeys(json, "",
                            {"version", "truncation", "padding", "added_tokens", "normalizer", "pre_tokenizer",
                             "post_processor", "decoder", "model"}));
  const bool by_file = settings.tokenizer_class == ByteLevelClass::kFile;
  ByteLevelSpec spec;
  RETURN_IF_ERROR(ReadModel(json, by_file, &spec.vocabulary));
  RETURN_IF_ERROR(ReadWords(json, &spec));
  if (!by_file) spec.add_prefix_space = settings.add_prefix_space;
  RETURN_IF_ERROR(CheckDecoder(json, by_file));
  RETURN_IF_ERROR(CheckTruncation(json));
  ByteLevelParts parts;
  ASSIGN_OR_RETURN(parts.added_tokens, tokenizer_json::ReadAddedTokens(json));
  if (!by_file) {
    std::stable_sort(parts.added_tokens.begin(), parts.added_tokens.end(),
                     [](const AddedToken& a, const AddedToken& b) { return a.id < b.id; });
  }
  ASSIGN_OR_RETURN(parts.around, ReadPostProcessor(json));
  RETURN_IF_ERROR(Complete(settings, std::move(parts), &spec));
  return spec;
}

}  // namespace tenon::engine
