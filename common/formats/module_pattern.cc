#include "common/formats/module_pattern.h"

#include <regex>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/formats/status.h"

namespace tenon::formats {
namespace {

constexpr size_t kMaxBytes = 1000;
constexpr size_t kMaxName = 1000;

// Refuses what the two dialects read differently without an error.
absl::Status CheckDialect(const std::string& pattern) {
  const auto refuse = [](const std::string& what) {
    return absl::InvalidArgumentError(absl::StrCat(what, " is not supported in a pattern"));
  };
  bool in_class = false;
  // Behind *, +, ? or {...} only a ? may follow, which makes it lazy; Python's a++ is another thing, and a** is
  // nothing.
  enum class Repeat { kNone, kOnce, kLazy } repeat = Repeat::kNone;
  for (size_t i = 0; i < pattern.size(); ++i) {
    const char c = pattern[i];
    const char next = i + 1 < pattern.size() ? pattern[i + 1] : '\0';
    if (static_cast<unsigned char>(c) >= 0x80 || c == '\0') return refuse("a character outside ASCII");
    const Repeat before = std::exchange(repeat, Repeat::kNone);
    if (!in_class && (c == '*' || c == '+' || c == '?' || c == '{' || c == '}')) {
      const bool lazy = before == Repeat::kOnce && c == '?';
      if (before != Repeat::kNone && !lazy) return refuse("a repeat of a repeat");
      if (c != '{') repeat = lazy ? Repeat::kLazy : Repeat::kOnce;
      continue;
    }
    if (c == '\\') {
      const bool letter = (next >= 'a' && next <= 'z') || (next >= 'A' && next <= 'Z') || (next >= '0' && next <= '9');
      if (letter && std::string("bBdDsSwWnrt").find(next) == std::string::npos) {
        return refuse(absl::StrCat("\\", std::string(1, next)));
      }
      ++i;
    } else if (in_class) {
      if (c == '[') return refuse("[ in a class");
      in_class = c != ']';
    } else if (c == '[') {
      const size_t first = next == '^' ? i + 2 : i + 1;
      if (first < pattern.size() && pattern[first] == ']') return refuse("a class that begins with ]");
      in_class = true;
    } else if (c == '(' && next == '?') {
      const char kind = i + 2 < pattern.size() ? pattern[i + 2] : '\0';
      if (kind != ':' && kind != '=' && kind != '!') return refuse(absl::StrCat("(?", std::string(1, kind)));
      i += 2;
    }
  }
  return absl::OkStatus();
}

}  // namespace

struct ModulePattern::Regex {
  std::regex regex;
};

ModulePattern::ModulePattern(std::unique_ptr<Regex> regex) : regex_(std::move(regex)) {}
ModulePattern::~ModulePattern() = default;
ModulePattern::ModulePattern(ModulePattern&&) noexcept = default;
ModulePattern& ModulePattern::operator=(ModulePattern&&) noexcept = default;

absl::StatusOr<ModulePattern> ModulePattern::Compile(const std::string& pattern) {
  if (pattern.size() > kMaxBytes) {
    return absl::InvalidArgumentError(
        absl::StrCat("a pattern has ", pattern.size(), " bytes; at most ", kMaxBytes, " are allowed"));
  }
  RETURN_IF_ERROR(CheckDialect(pattern));
  // __polynomial: libstdc++'s breadth-first matcher, which cannot blow up; it also bounds the automaton.
  constexpr auto kFlags = std::regex::ECMAScript | std::regex_constants::__polynomial;
  try {
    return ModulePattern(std::make_unique<Regex>(Regex{std::regex(pattern, kFlags)}));
  } catch (const std::regex_error&) {
    return absl::InvalidArgumentError(absl::StrCat("\"", pattern, "\" is not a regular expression that we can read"));
  }
}

bool ModulePattern::Matches(const std::string& name) const {
  if (name.size() > kMaxName) return false;
  try {
    return std::regex_match(name, regex_->regex);
  } catch (const std::regex_error&) {
    return false;
  }
}

}  // namespace tenon::formats
