#include "worker/engine/text/charsmap.h"

#include <cstring>

#include "common/formats/status.h"
#include "common/formats/utf8.h"

namespace tenon::engine {
namespace {

// One unit of a Darts-clone double array.
struct Unit {
  uint32_t bits;

  bool has_leaf() const { return (bits >> 8 & 1) != 0; }
  uint32_t value() const { return bits & 0x7FFFFFFF; }
  // A label above 255 is that of a value.
  uint32_t label() const { return bits & 0x800000FF; }
  uint32_t offset() const { return (bits >> 10) << ((bits & 0x200) >> 6); }
};

uint32_t ReadU32(const char* p) {
  const auto* bytes = reinterpret_cast<const unsigned char*>(p);
  return bytes[0] | bytes[1] << 8 | bytes[2] << 16 | static_cast<uint32_t>(bytes[3]) << 24;
}

absl::Status Invalid(const std::string& what) {
  return TenonError(Reason::kBaseInvalid, "precompiled_charsmap " + what, "precompiled_charsmap");
}

}  // namespace

Charsmap::Charsmap() { FillAscii(); }

absl::StatusOr<Charsmap> Charsmap::Parse(std::string_view bytes) {
  if (bytes.size() < 4) return Invalid("is cut off");
  const uint32_t trie = ReadU32(bytes.data());
  bytes.remove_prefix(4);
  if (trie > bytes.size()) return Invalid("is cut off");
  if (trie == 0 || trie % 4 != 0) return Invalid("has a trie of no whole number of units");
  Charsmap map;
  for (size_t at = 0; at < trie; at += 4) map.units_.push_back(ReadU32(bytes.data() + at));
  map.replacements_ = std::string(bytes.substr(trie));
  if (!formats::IsValidUtf8(map.replacements_)) return Invalid("has replacements that are not valid UTF-8");
  map.FillAscii();
  return map;
}

void Charsmap::FillAscii() {
  for (size_t c = 0; c < ascii_stays_.size(); ++c) {
    const char byte = static_cast<char>(c);
    ascii_stays_[c] = !Replacement(std::string_view(&byte, 1)).has_value();
  }
}

std::optional<std::string_view> Charsmap::Replacement(std::string_view chunk) const {
  if (units_.empty()) return std::nullopt;
  size_t node = Unit{units_[0]}.offset();
  for (const char c : chunk) {
    const auto byte = static_cast<unsigned char>(c);
    node ^= byte;
    if (byte == 0 || node >= units_.size()) return std::nullopt;
    const Unit unit{units_[node]};
    if (unit.label() != byte) return std::nullopt;
    node ^= unit.offset();
    if (!unit.has_leaf()) continue;
    if (node >= units_.size()) return std::nullopt;
    const size_t at = Unit{units_[node]}.value();
    if (at > replacements_.size()) return std::nullopt;
    const std::string_view rest = std::string_view(replacements_).substr(at);
    return rest.substr(0, rest.find('\0'));
  }
  return std::nullopt;
}

std::string Charsmap::Normalize(std::string_view text) const {
  std::string normalized;
  Run(text.data(), text.data() + text.size(), [&](std::string_view part) {
    normalized.append(part);
    return true;
  });
  return normalized;
}

}  // namespace tenon::engine
