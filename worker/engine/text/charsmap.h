// SentencePiece's precompiled normalization: which characters, or short runs of them, are replaced by what.
//
// Stored in `normalizer_spec.precompiled_charsmap` of spiece.model and in the `Precompiled` normalizer of
// tokenizer.json: u32 bytes of the trie, little endian; the trie, a double array of u32 units as Darts-clone lays it
// out (https://github.com/s-yata/darts-clone); replacements, each ended by a NUL, to which the trie's values are
// offsets.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "worker/engine/text/graphemes.h"

namespace tenon::engine {

// Normalizes as Hugging Face's `Precompiled` does, which is not what SentencePiece itself does: the text is taken
// cluster by cluster (as a reader sees characters). A cluster of less than 6 bytes is replaced whole by what stands for
// the SHORTEST run of the map that it begins with, so that accents behind a full-width letter are lost; in all other
// clusters each code point is looked up alone. Immutable; safe from any thread.
class Charsmap {
 public:
  // Replaces nothing.
  Charsmap();
  // BASE_INVALID when the parts do not fit each other. A trie that leads out of itself finds nothing.
  static absl::StatusOr<Charsmap> Parse(std::string_view bytes);

  // Calls put(std::string_view) -> bool with the normalized text of valid UTF-8 [p, end), bit by bit, until it returns
  // false. False when it did.
  template <typename Put>
  bool Run(const char* p, const char* end, Put put) const;

  std::string Normalize(std::string_view text) const;

 private:
  // What replaces the shortest run that `chunk` begins with.
  std::optional<std::string_view> Replacement(std::string_view chunk) const;
  void FillAscii();

  std::vector<uint32_t> units_;
  std::string replacements_;
  std::array<bool, 128> ascii_stays_ = {};  // alone, it is not replaced
};

template <typename Put>
bool Charsmap::Run(const char* p, const char* end, Put put) const {
  const auto is_ascii = [](char c) { return static_cast<unsigned char>(c) < 0x80; };
  while (p != end) {
    // ASCII before ASCII is a cluster of its own, but for \r before \n.
    if (is_ascii(*p) && ascii_stays_[static_cast<size_t>(*p)] && (p + 1 == end || is_ascii(p[1])) && *p != '\r') {
      if (!put(std::string_view(p++, 1))) return false;
      continue;
    }
    const std::string_view cluster(p, ClusterBytes(p, end));
    p += cluster.size();
    if (cluster.size() < 6) {
      const auto whole = Replacement(cluster);
      if (whole.has_value()) {
        if (!put(*whole)) return false;
        continue;
      }
    }
    for (size_t at = 0, next = 0; at < cluster.size(); at = next) {
      next = at + 1;
      while (next < cluster.size() && (static_cast<unsigned char>(cluster[next]) & 0xC0) == 0x80) ++next;
      const std::string_view character = cluster.substr(at, next - at);
      if (!put(Replacement(character).value_or(character))) return false;
    }
  }
  return true;
}

}  // namespace tenon::engine
