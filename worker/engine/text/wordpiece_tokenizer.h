// BERT's tokenizer: added tokens, clean-up, words, pieces, special tokens around them. Equal to Hugging Face's
// BertTokenizerFast.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "worker/engine/text/added_tokens.h"
#include "worker/engine/text/bert_normalizer.h"
#include "worker/engine/text/tokenizer.h"
#include "worker/engine/text/wordpiece.h"

namespace tenon::engine {

// What the files of a folder say.
struct WordPieceSpec {
  WordPieceVocabulary vocabulary;
  BertNormalizerOptions normalizer;
  std::vector<AddedToken> added_tokens;
  std::vector<int32_t> prefix;  // ids before the text, such as [CLS]
  std::vector<int32_t> suffix;  // and behind it, such as [SEP]; of a pair behind each text
  bool types = true;            // whether a pair's second text and what stands behind it are of token type 1
};

// BASE_INVALID names the file and key, UNSUPPORTED the part. `config` is tokenizer_config.json's text, or empty.
absl::StatusOr<WordPieceSpec> ParseTokenizerJson(const std::string& json, const std::string& config);
// The same from vocab.txt.
absl::StatusOr<WordPieceSpec> ParseVocabulary(const std::string& vocab, const std::string& config);

class WordPieceTokenizer : public Tokenizer, public PlaceTokenizer {
 public:
  static absl::StatusOr<std::unique_ptr<const WordPieceTokenizer>> Create(WordPieceSpec spec);

  Encoding Encode(const std::string& text, int64_t max_tokens) const override;
  Encoding EncodePair(const std::string& first, const std::string& second, int64_t max_tokens) const override;
  int64_t vocab_size() const override { return size_; }
  std::string separator() const override { return separator_; }
  const PlaceTokenizer* places() const override { return this; }

  // wordpiece_places.cc
  std::vector<int32_t> EncodeWord(const std::string& word) const override;
  PlacedTokens EncodePlaces(const std::string& text) const override;
  Row Around(const std::vector<int32_t>& ids) const override;
  Row AroundPair(const std::vector<int32_t>& first, const std::vector<int32_t>& second) const override;

 private:
  WordPieceTokenizer(WordPiece model, WordPieceSpec spec, std::string separator);
  // Ids of a text without special tokens, until there are more than `limit`.
  std::vector<int32_t> Body(const std::string& text, size_t limit) const;
  // Appends tokens of text[begin, end), with their places.
  void PlacePiece(const std::string& text, size_t begin, size_t end, PlacedTokens* tokens) const;
  // Appends ids of text[begin, end) until there are more than `limit`; false when there are.
  bool EncodePiece(const std::string& text, size_t begin, size_t end, size_t limit, std::vector<int32_t>* ids) const;

  const WordPiece model_;
  const BertNormalizer normalizer_;
  AddedTokens raw_;         // looked for in the text as it is
  AddedTokens normalized_;  // looked for in the normalized text
  const std::vector<int32_t> prefix_;
  const std::vector<int32_t> suffix_;
  const std::string separator_;
  const bool types_;
  int64_t size_ = 0;
};

}  // namespace tenon::engine
