// A regular expression over module names, as Python's `re` would match it. Internal to common/formats.
#pragma once

#include <memory>
#include <string>

#include "absl/status/statusor.h"

namespace tenon::formats {

// Patterns come from adapter files and job options, so matching takes polynomial time whatever the pattern. What Python
// and ECMAScript (which does the matching) read differently is refused: back references, look-behind, named groups,
// inline flags, `\A`, `\Z` and other escapes of letters than \b \B \d \D \s \S \w \W \n \r \t, and classes that hold
// `[` or begin with `]`.
class ModulePattern {
 public:
  // An error without a reason says why the pattern is refused. At most 1,000 bytes.
  static absl::StatusOr<ModulePattern> Compile(const std::string& pattern);

  ~ModulePattern();
  ModulePattern(ModulePattern&&) noexcept;
  ModulePattern& operator=(ModulePattern&&) noexcept;

  // Python's `re.fullmatch`.
  bool Matches(const std::string& name) const;

 private:
  struct Regex;
  explicit ModulePattern(std::unique_ptr<Regex> regex);
  std::unique_ptr<Regex> regex_;
};

}  // namespace tenon::formats
