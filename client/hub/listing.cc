#include "client/hub/listing.h"

#include <algorithm>
#include <set>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "common/digest.h"
#include "common/formats/json.h"
#include "common/formats/json_fields.h"
#include "common/formats/status.h"

namespace tenon::hub {
namespace {

using formats::Shown;
using nlohmann::json;

// What transformers looks for, too: anyone may open a pull request with such a title, but not as this author.
constexpr char kConversionTitle[] = "Adding `safetensors` variant of this model";
constexpr char kConversionAuthor[] = "SFconvertbot";
constexpr char kIndex[] = "model.safetensors.index.json";

absl::Status Broken(const std::string& what) {
  return absl::DataLossError(absl::StrCat("The Hub's answer cannot be used: ", what, "."));
}

std::string Text(const json& object, const char* key) {
  const auto it = object.is_object() ? object.find(key) : object.end();
  return it != object.end() && it->is_string() ? it->get<std::string>() : "";
}

int64_t Number(const json& object, const char* key, int64_t missing) {
  const auto it = object.is_object() ? object.find(key) : object.end();
  if (it == object.end() || !it->is_number_integer()) return missing;
  if (it->is_number_unsigned() && it->get<uint64_t>() > static_cast<uint64_t>(INT64_MAX)) return INT64_MAX;
  return it->get<int64_t>();
}

bool IsSha1(const std::string& text) {
  return text.size() == 40 && std::all_of(text.begin(), text.end(), [](char c) { return absl::ascii_isxdigit(c); });
}

bool IsPlainPath(const std::string& path) {
  if (path.empty() || path.size() > 1024) return false;
  for (const char c : path) {
    if (absl::ascii_iscntrl(c) || c == '\\') return false;
  }
  for (const absl::string_view part : absl::StrSplit(path, '/')) {
    if (part.empty() || part == "." || part == "..") return false;
  }
  return true;
}

absl::StatusOr<RemoteFile> ParseFile(const json& entry, const std::string& commit) {
  RemoteFile file{.path = Text(entry, "path"), .commit = commit, .size = Number(entry, "size", -1)};
  if (!IsPlainPath(file.path)) return Broken(absl::StrCat("it lists a file ", Shown(json(file.path))));
  if (file.size < 0) return Broken(absl::StrCat(file.path, " has no size"));
  file.git_sha1 = Text(entry, "oid");
  if (const auto lfs = entry.find("lfs"); lfs != entry.end() && !lfs->is_null()) {
    file.sha256 = Text(*lfs, "oid");
    file.size = Number(*lfs, "size", file.size);
  }
  if (file.sha256.empty() ? !IsSha1(file.git_sha1) : !IsDigest(file.sha256))
    return Broken(absl::StrCat(file.path, " has no digest"));
  return file;
}

}  // namespace

absl::Status CheckRepository(const std::string& repository, const std::string& field) {
  const std::vector<std::string> parts = absl::StrSplit(repository, '/');
  bool good = parts.size() <= 2;
  for (const std::string& part : parts) {
    good = good && !part.empty() && part.size() <= 96 && absl::ascii_isalnum(part.front());
    for (const char c : part) good = good && (absl::ascii_isalnum(c) || c == '-' || c == '_' || c == '.');
  }
  if (good) return absl::OkStatus();
  return TenonError(Reason::kIdInvalid,
                    absl::StrCat(Shown(json(repository)),
                                 " is not a repository: write ORG/NAME, such as "
                                 "sentence-transformers/all-MiniLM-L6-v2."),
                    field);
}

absl::StatusOr<std::string> ParseRevision(const std::string& text) {
  const auto parsed = formats::ParseJson(text);
  if (!parsed.ok()) return Broken(std::string(parsed.status().message()));
  const std::string commit = Text(*parsed, "sha");
  if (!IsSha1(commit)) return Broken("it names no commit");
  if (const auto siblings = parsed->find("siblings"); siblings != parsed->end() && siblings->is_array()) {
    for (const json& file : *siblings) {
      const std::string name = Text(file, "rfilename");
      if (!IsPlainPath(name)) return Broken(absl::StrCat("it lists a file ", Shown(json(name))));
    }
  }
  return commit;
}

absl::StatusOr<std::vector<RemoteFile>> ParseTree(const std::string& text, const std::string& commit) {
  const auto parsed = formats::ParseJson(text);
  if (!parsed.ok()) return Broken(std::string(parsed.status().message()));
  if (!parsed->is_array()) return Broken("a tree must be a list");
  std::vector<RemoteFile> files;
  for (const json& entry : *parsed) {
    if (Text(entry, "type") != "file") continue;
    ASSIGN_OR_RETURN(RemoteFile file, ParseFile(entry, commit));
    files.push_back(std::move(file));
  }
  return files;
}

std::string NextPage(const std::string& link_header) {
  for (const absl::string_view link : absl::StrSplit(link_header, ',')) {
    const size_t open = link.find('<'), close = link.find('>');
    if (open == absl::string_view::npos || close == absl::string_view::npos || close < open) continue;
    if (absl::StrContains(link.substr(close), "rel=\"next\""))
      return std::string(link.substr(open + 1, close - open - 1));
  }
  return "";
}

absl::StatusOr<Discussions> ParseDiscussions(const std::string& text) {
  const auto parsed = formats::ParseJson(text);
  if (!parsed.ok()) return Broken(std::string(parsed.status().message()));
  const auto list = parsed->is_object() ? parsed->find("discussions") : parsed->end();
  if (!parsed->is_object() || list == parsed->end() || !list->is_array()) return Broken("it has no discussions");
  Discussions page;
  for (const json& one : *list) {
    const auto author = one.is_object() ? one.find("author") : one.end();
    const bool ours = one.is_object() && author != one.end() && Text(*author, "name") == kConversionAuthor &&
                      Text(one, "title") == kConversionTitle && Text(one, "status") == "open" &&
                      one.value("isPullRequest", json()) == json(true);
    const int64_t number = Number(one, "num", 0);
    if (ours && number > 0) page.conversions.push_back(number);
  }
  page.count = Number(*parsed, "count", 0);
  page.seen = Number(*parsed, "start", 0) + static_cast<int64_t>(list->size());
  return page;
}

absl::StatusOr<std::vector<std::string>> ParseShardNames(const std::string& text) {
  const auto wrong = [](const std::string& what) {
    return TenonError(Reason::kBaseInvalid, absl::StrCat(kIndex, ": ", what), kIndex);
  };
  const auto parsed = formats::ParseJson(text);
  if (!parsed.ok()) return wrong(std::string(parsed.status().message()));
  const auto map = parsed->is_object() ? parsed->find("weight_map") : parsed->end();
  if (!parsed->is_object() || map == parsed->end() || !map->is_object()) return wrong("weight_map must be an object");
  std::set<std::string> names;
  for (const auto& [tensor, shard] : map->items()) {
    const std::string name = shard.is_string() ? shard.get<std::string>() : "";
    if (!IsPlainPath(name) || absl::StrContains(name, "/"))
      return wrong(absl::StrCat("tensor ", tensor, ": a shard must be a file name without folders"));
    names.insert(name);
  }
  if (names.empty()) return wrong("weight_map names no shard");
  return std::vector<std::string>(names.begin(), names.end());
}

}  // namespace tenon::hub
