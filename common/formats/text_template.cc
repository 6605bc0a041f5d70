#include "common/formats/text_template.h"

#include <algorithm>
#include <cstdint>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/formats/status.h"

namespace tenon::formats {
namespace {

constexpr size_t kMaxTemplateBytes = 8 << 10;
constexpr size_t kMaxUses = 64;
constexpr size_t kMaxRenderedBytes = 4 << 20;
constexpr size_t kMaxListed = 10;

absl::Status Invalid(const std::string& where, const std::string& what) {
  return TenonError(Reason::kFieldInvalid, absl::StrCat(where, " ", what), where);
}

// Characters up to and with the one at byte `at`: what a reader of an error counts.
int64_t Character(const std::string& text, size_t at) {
  return std::count_if(text.begin(), text.begin() + static_cast<int64_t>(at) + 1,
                       [](char c) { return (static_cast<unsigned char>(c) & 0xC0) != 0x80; });
}

bool Blank(const std::string& text) { return text.find_first_not_of(" \t\r\n\f\v") == std::string::npos; }

// The first of the names, for a message.
std::string InBraces(const std::vector<std::string>& fields) {
  std::vector<std::string> listed;
  for (const std::string& field : fields) {
    if (listed.size() == kMaxListed) break;
    listed.push_back(absl::StrCat("{", field, "}"));
  }
  if (fields.size() > kMaxListed) listed.push_back(absl::StrCat("and ", fields.size() - kMaxListed, " more"));
  return absl::StrJoin(listed, ", ");
}

}  // namespace

absl::Status CheckTemplate(const TextTemplate& text_template, const std::string& where) {
  RETURN_IF_ERROR(TextPattern::Parse(text_template.input, where + ".input").status());
  if (text_template.target.empty()) return absl::OkStatus();
  return TextPattern::Parse(text_template.target, where + ".target").status();
}

absl::StatusOr<TextPattern> TextPattern::Parse(const std::string& text, const std::string& where) {
  if (text.size() > kMaxTemplateBytes) {
    return Invalid(where, absl::StrCat("has ", text.size(), " bytes; at most ", kMaxTemplateBytes, " are allowed"));
  }
  TextPattern pattern;
  pattern.where_ = where;
  std::string literal;
  size_t uses = 0;
  for (size_t at = 0; at < text.size(); ++at) {
    const char c = text[at];
    if (c != '{' && c != '}') {
      literal += c;
      continue;
    }
    if (at + 1 < text.size() && text[at + 1] == c) {
      literal += c;
      ++at;
      continue;
    }
    const std::string place = absl::StrCat("at character ", Character(text, at));
    if (c == '}') {
      return Invalid(where, absl::StrCat("has a closing brace ", place, " that nothing opened; write }} for a brace"));
    }
    const size_t end = text.find_first_of("{}", at + 1);
    if (end == std::string::npos || text[end] == '{') {
      return Invalid(where, absl::StrCat("has a brace ", place, " that is not closed; write {{ for a brace"));
    }
    const std::string name = text.substr(at + 1, end - at - 1);
    if (Blank(name)) return Invalid(where, absl::StrCat("has braces without a field's name ", place));
    if (++uses > kMaxUses) return Invalid(where, absl::StrCat("uses more than ", kMaxUses, " fields"));
    if (!literal.empty()) pattern.pieces_.push_back({false, std::move(literal)});
    literal.clear();
    pattern.pieces_.push_back({true, name});
    if (std::find(pattern.fields_.begin(), pattern.fields_.end(), name) == pattern.fields_.end()) {
      pattern.fields_.push_back(name);
    }
    at = end;
  }
  if (!literal.empty()) pattern.pieces_.push_back({false, std::move(literal)});
  if (pattern.fields_.empty()) {
    return Invalid(where, text.empty() ? "is empty; it needs a field in braces, such as {text}"
                                       : "has no field; a field's name stands in braces, such as {text}");
  }
  return pattern;
}

absl::Status TextPattern::CheckFields(const std::vector<std::string>& known) const {
  for (const std::string& field : fields_) {
    if (std::find(known.begin(), known.end(), field) == known.end()) {
      const std::string known_text = known.empty() ? "has no text fields" : absl::StrCat("has ", InBraces(known));
      return Invalid(where_, absl::StrCat("uses {", field, "}; the data set ", known_text));
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<std::string> TextPattern::Render(const Record& record) const {
  std::string text;
  for (const Piece& piece : pieces_) {
    if (piece.field) {
      const auto it = record.find(piece.text);
      if (it == record.end() || Blank(it->second)) {
        const char* what = it == record.end() ? "is missing" : "is empty";
        return TenonError(Reason::kDatasetInvalid, absl::StrCat("field ", piece.text, " ", what), piece.text);
      }
      text += it->second;
    } else {
      text += piece.text;
    }
    if (text.size() > kMaxRenderedBytes) {
      return TenonError(Reason::kTextTooLarge,
                        absl::StrCat(where_, " makes a text of more than ", kMaxRenderedBytes, " bytes"), where_);
    }
  }
  return text;
}

absl::StatusOr<TextPattern::Frame> TextPattern::Around() const {
  Frame frame;
  int64_t places = 0;
  for (const Piece& piece : pieces_) {
    if (piece.field) {
      ++places;
    } else {
      (places == 0 ? frame.before : frame.after) += piece.text;
    }
  }
  if (places == 1) return frame;
  const char* what =
      fields_.size() > 1 ? " has several fields, which one text cannot fill: " : " has several places for ";
  return TenonError(Reason::kTemplateFields, absl::StrCat(where_, what, InBraces(fields_)), where_);
}

}  // namespace tenon::formats
