#include "worker/engine/text/byte_level_spec.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <unordered_set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/formats/json_fields.h"
#include "common/formats/status.h"
#include "worker/engine/text/tokenizer_json_parts.h"

namespace tenon::engine {
namespace {

absl::Status GiveIds(ByteLevelSpec* spec) {
  const auto& pieces = spec->vocabulary.ids;
  std::unordered_set<int64_t> taken;
  for (const auto& [piece, id] : pieces) taken.insert(id);
  // The reference counts pieces, whatever their highest id.
  int64_t next = static_cast<int64_t>(pieces.size());
  for (AddedToken& token : spec->added_tokens) {
    const auto piece = pieces.find(token.content);
    if (piece != pieces.end()) {
      token.id = piece->second;
      next = std::max(next, int64_t{token.id} + 1);
      continue;
    }
    if (next > tokenizer_json::kMaxId || !taken.insert(next).second) {
      return TenonError(Reason::kBaseInvalid,
                        absl::StrCat("the added token ", formats::Shown(token.content), " would get the id ", next,
                                     ", which is not free: the vocabulary has holes"),
                        "added_tokens");
    }
    token.id = static_cast<int32_t>(next++);
  }
  return absl::OkStatus();
}

// Id of a special token by its name; nothing when it has none.
std::optional<int32_t> Find(const ByteLevelConfig& config, const ByteLevelSpec& spec, const std::string& name) {
  const auto content = config.names.find(name);
  if (content == config.names.end()) return std::nullopt;
  for (const AddedToken& token : spec.added_tokens) {
    if (token.content == content->second) return token.id;
  }
  return std::nullopt;
}

absl::Status SurroundLikeRoberta(const ByteLevelConfig& config, const std::optional<TokensAround>& own,
                                 ByteLevelSpec* spec) {
  const auto cls = Find(config, *spec, "cls_token");
  const auto sep = Find(config, *spec, "sep_token");
  if (!cls.has_value() || !sep.has_value()) {
    const char* const key = cls.has_value() ? "sep_token" : "cls_token";
    return TenonError(Reason::kBaseInvalid, absl::StrCat("tokenizer_config.json: ", key, " must be a token"), key);
  }
  spec->around = RobertaTokensAround(*cls, *sep);
  if (own.has_value() && *own != spec->around) {
    return TenonError(Reason::kUnsupported,
                      "tokenizer.json: post_processor is not that of RobertaTokenizer, which puts its own in its place",
                      "post_processor");
  }
  return absl::OkStatus();
}

absl::Status CheckTokensAround(const ByteLevelSpec& spec) {
  std::unordered_set<int32_t> known;
  for (const auto& [piece, id] : spec.vocabulary.ids) known.insert(id);
  for (const AddedToken& token : spec.added_tokens) known.insert(token.id);
  const TokensAround& around = spec.around;
  for (const auto* ids : {&around.before, &around.after, &around.before_pair, &around.between, &around.after_pair}) {
    for (const int32_t id : *ids) {
      if (known.contains(id)) continue;
      return TenonError(Reason::kBaseInvalid,
                        absl::StrCat("tokenizer.json: post_processor has the id ", id, ", which no token has"),
                        "post_processor");
    }
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status ReadBytePairIds(const nlohmann::json& vocab, const std::string& where, BytePairVocabulary* vocabulary) {
  const auto error = [&](const std::string& what) {
    return TenonError(Reason::kBaseInvalid, absl::StrCat(where, " ", what), "vocab");
  };
  if (!vocab.is_object() || vocab.empty()) return error("must be an object of ids by piece");
  std::unordered_set<int32_t> known;
  vocabulary->ids.reserve(vocab.size());
  for (const auto& [piece, id] : vocab.items()) {
    if (!id.is_number_unsigned() || id.get<uint64_t>() > static_cast<uint64_t>(tokenizer_json::kMaxId)) {
      return error(absl::StrCat("has ", formats::Shown(id), " as the id of ", formats::Shown(piece)));
    }
    if (!known.insert(id.get<int32_t>()).second) return error(absl::StrCat("has the id ", id.get<int32_t>(), " twice"));
    vocabulary->ids.emplace(piece, id.get<int32_t>());
  }
  return absl::OkStatus();
}

std::optional<std::pair<std::string, std::string>> SplitMerge(const std::string& line) {
  const size_t space = line.find(' ');
  if (space == std::string::npos || line.find(' ', space + 1) != std::string::npos) return std::nullopt;
  return std::make_pair(line.substr(0, space), line.substr(space + 1));
}

absl::Status Complete(const ByteLevelConfig& config, std::optional<ByteLevelParts> parts, ByteLevelSpec* spec) {
  const bool json = parts.has_value();
  if (!json) parts.emplace();
  spec->clean_up_spaces = config.clean_up_spaces;
  spec->added_tokens = config.AddedTokensAfter(std::move(parts->added_tokens));
  RETURN_IF_ERROR(GiveIds(spec));
  if (config.tokenizer_class == ByteLevelClass::kRoberta) return SurroundLikeRoberta(config, parts->around, spec);
  if (json) {
    spec->around = parts->around.value_or(TokensAround{});
    return CheckTokensAround(*spec);
  }
  const auto bos = config.add_bos_token ? Find(config, *spec, "bos_token") : std::nullopt;
  const auto eos = config.add_eos_token ? Find(config, *spec, "eos_token") : std::nullopt;
  TokensAround& around = spec->around;
  if (bos.has_value()) around.before = around.before_pair = {*bos};
  if (eos.has_value()) around.after = around.after_pair = around.between = {*eos};
  if (bos.has_value()) around.between.push_back(*bos);
  return absl::OkStatus();
}

}  // namespace tenon::engine
