#include "worker/engine/generate/text_stream.h"

#include <algorithm>
#include <string_view>

#include "worker/engine/text/clean_up.h"

namespace tenon::engine {
namespace {

constexpr char kReplacement[] = "\xef\xbf\xbd";  // U+FFFD, what decoders write for bytes that are no character yet

// Bytes of a character that begins with `lead`; 1 for what cannot begin one.
size_t CharacterBytes(unsigned char lead) { return lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : lead >= 0xc0 ? 2 : 1; }

size_t WithoutCutCharacter(const std::string& text, size_t end) {
  for (size_t back = 1; back <= 3 && back <= end; ++back) {
    const unsigned char byte = static_cast<unsigned char>(text[end - back]);
    if ((byte & 0xc0) == 0x80) continue;
    return CharacterBytes(byte) > back ? end - back : end;
  }
  return end;
}

size_t WithoutReplacements(const std::string& text, size_t end) {
  while (end >= 3 && text.compare(end - 3, 3, kReplacement) == 0) end -= 3;
  return end;
}

}  // namespace

size_t FindStop(const std::string& text, const std::vector<std::string>& stops, size_t from) {
  size_t first = std::string::npos;
  for (const std::string& stop : stops) first = std::min(first, text.find(stop, from));
  return first;
}

std::string CutAtStop(std::string text, const std::vector<std::string>& stops) {
  text.resize(std::min(text.size(), FindStop(text, stops)));
  return text;
}

size_t SettledBytes(const std::string& text, const std::vector<std::string>& stops) {
  size_t settled = WithoutReplacements(text, WithoutCutCharacter(text, text.size()));
  settled = SettledBeforeCleanUp(std::string_view(text).substr(0, settled));
  for (const std::string& stop : stops) {
    for (size_t part = std::min(stop.size() - 1, text.size()); part > 0; --part) {
      if (text.compare(text.size() - part, part, stop, 0, part) != 0) continue;
      settled = std::min(settled, text.size() - part);
      break;
    }
  }
  return settled;
}

std::string TextStream::ShowUpTo(size_t end) {
  if (end <= shown_) return "";
  std::string piece = text_.substr(shown_, end - shown_);
  shown_ = end;
  return piece;
}

std::string TextStream::Add(absl::Span<const int32_t> tokens) {
  if (stopped_) return "";
  text_ = detokenize_(tokens);
  const size_t stop = FindStop(text_, stops_, shown_);
  if (stop == std::string::npos) return ShowUpTo(SettledBytes(text_, stops_));
  stopped_ = true;
  return ShowUpTo(stop);
}

std::string TextStream::Finish() { return stopped_ ? "" : ShowUpTo(text_.size()); }

}  // namespace tenon::engine
