// T5's tokenizer: added tokens, SentencePiece's normalization, words, Unigram pieces, </s> behind them. Equal to
// Hugging Face's T5TokenizerFast, which differs from SentencePiece itself (docs/adr/0008-t5-tokenizer.md).
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "worker/engine/text/added_tokens.h"
#include "worker/engine/text/charsmap.h"
#include "worker/engine/text/tokenizer.h"
#include "worker/engine/text/unigram.h"

namespace tenon::engine {

// What the files of a folder say.
struct T5Spec {
  std::vector<UnigramPiece> pieces;
  Charsmap charsmap;
  // Their ids are given by T5Tokenizer::Create: a token that is a piece has the piece's, others follow the pieces.
  std::vector<AddedToken> added_tokens;
  std::string eos_token = "</s>";  // one of added_tokens
  bool clean_up_spaces = false;    // when decoding: no space before a full stop, and so forth
};

// BASE_INVALID names the file and key, UNSUPPORTED the part. `config` is tokenizer_config.json's text, or empty.
absl::StatusOr<T5Spec> ParseT5TokenizerJson(const std::string& json, const std::string& config);
// The same from spiece.model.
absl::StatusOr<T5Spec> ParseT5Spiece(const std::string& spiece, const std::string& config);

class T5Tokenizer : public GenerativeTokenizer {
 public:
  static absl::StatusOr<std::unique_ptr<const T5Tokenizer>> Create(T5Spec spec);

  Encoding Encode(const std::string& text, int64_t max_tokens) const override;
  Encoding EncodePair(const std::string& first, const std::string& second, int64_t max_tokens) const override;
  int64_t vocab_size() const override { return static_cast<int64_t>(tokens_.size()); }
  std::string separator() const override { return tokens_[static_cast<size_t>(eos_)].text; }
  std::string Decode(absl::Span<const int32_t> ids) const override;
  std::vector<int32_t> EncodePiece(const std::string& text) const override;

 private:
  struct Token {
    std::string text;
    bool special = false;
  };

  T5Tokenizer(Unigram model, T5Spec spec);
  // Appends ids of valid UTF-8 until there are more than `limit`.
  void Append(const std::string& text, size_t limit, std::vector<int32_t>* ids) const;

  const Unigram model_;
  const Charsmap charsmap_;
  AddedTokens raw_;            // looked for in the text as it is
  AddedTokens normalized_;     // looked for in the normalized text
  std::vector<Token> tokens_;  // by id
  int32_t eos_ = 0;
  const bool clean_up_spaces_;
};

}  // namespace tenon::engine
