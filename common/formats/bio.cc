#include "common/formats/bio.h"

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"

namespace tenon::formats {
namespace {

constexpr size_t kPrefix = 2;

bool Begins(const std::string& tag) { return absl::StartsWith(tag, "B-"); }
bool GoesOn(const std::string& tag) { return absl::StartsWith(tag, "I-"); }
std::string TypeOf(const std::string& tag) { return tag.substr(kPrefix); }

}  // namespace

std::string TagFault(const std::string& tag, const std::string& before) {
  if (tag == "O") return "";
  if ((!Begins(tag) && !GoesOn(tag)) || tag.size() == kPrefix) return "is none of O, B-TYPE and I-TYPE";
  const bool same = before.size() > kPrefix && before != "O" && TypeOf(before) == TypeOf(tag);
  if (Begins(tag) || same) return "";
  return absl::StrCat("begins an entity, or goes on with one of another type; BIO begins it with B-", TypeOf(tag));
}

std::vector<Entity> Entities(const std::vector<std::string>& tags) {
  std::vector<Entity> entities;
  bool open = false;
  for (size_t i = 0; i < tags.size(); ++i) {
    const std::string& tag = tags[i];
    const auto word = static_cast<int64_t>(i);
    if (!Begins(tag) && !GoesOn(tag)) {
      open = false;
      continue;
    }
    const bool same = open && GoesOn(tag) && entities.back().type == TypeOf(tag);
    if (!same) entities.push_back({TypeOf(tag), word, word});
    entities.back().end = word + 1;
    open = true;
  }
  return entities;
}

}  // namespace tenon::formats
