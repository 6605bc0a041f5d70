#include "worker/engine/text/bert_normalizer.h"

namespace tenon::engine {

BertNormalizer::BertNormalizer(const BertNormalizerOptions& options) : options_(options) {
  for (int c = 0; c < kTable; ++c) table_[static_cast<size_t>(c)] = Simple(c);
}

int32_t BertNormalizer::Simple(CodePoint c) const {
  if (c >= 0x80 && options_.handle_chinese_chars && IsChinese(c)) return kSlow;
  if (options_.clean_text) {
    if (c == 0 || c == 0xFFFD || IsControl(c)) return kDropped;
    if (IsWhitespace(c)) return ' ';
  }
  if (options_.strip_accents && c >= 0x80) {
    CodePoint parts[kMaxDecomposition];
    const int count = Decompose(c, parts);
    if (count == 1 && IsNonspacingMark(c)) return CombiningClass(c) == 0 ? kBarrier : kDropped;
    if (CombiningClass(parts[0]) != 0 || IsNonspacingMark(parts[0])) return kSlow;
    // A letter whose marks all go, such as an e with an acute, is simple too: marks of class 0 then come behind a
    // letter.
    for (int i = 1; i < count; ++i) {
      if (!IsNonspacingMark(parts[i])) return kSlow;
    }
    c = parts[0];
  }
  if (options_.lowercase && c == 0x130) return kSlow;
  return Lower(c);
}

void BertNormalizer::Expand(CodePoint c, std::vector<CodePoint>* out) const {
  if (options_.clean_text && (c == 0 || c == 0xFFFD || IsControl(c))) return;
  const bool chinese = options_.handle_chinese_chars && IsChinese(c);
  if (chinese) out->push_back(' ');
  if (options_.clean_text && IsWhitespace(c)) c = ' ';
  if (options_.strip_accents) {
    Decomposed(c, out);
  } else {
    out->push_back(c);
  }
  if (chinese) out->push_back(' ');
}

void BertNormalizer::Decomposed(CodePoint c, std::vector<CodePoint>* out) const {
  CodePoint parts[kMaxDecomposition];
  const int count = Decompose(c, parts);
  for (int i = 0; i < count; ++i) {
    if (!IsNonspacingMark(parts[i])) {
      out->push_back(parts[i]);
    } else if (CombiningClass(parts[i]) == 0) {
      out->push_back(kBarrier);
    }
  }
}

std::string BertNormalizer::Normalize(const std::string& text) const {
  std::string normalized;
  Run(text.data(), text.data() + text.size(), [&](CodePoint c) {
    char bytes[4];
    normalized.append(bytes, static_cast<size_t>(WriteUtf8(c, bytes)));
    return true;
  });
  return normalized;
}

}  // namespace tenon::engine
