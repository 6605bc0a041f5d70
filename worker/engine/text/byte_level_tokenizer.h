// The tokenizer of GPT-2, OPT, RoBERTa and BART: added tokens, words, byte pairs within them, special tokens around.
// Equal to Hugging Face's GPT2TokenizerFast, RobertaTokenizerFast and BartTokenizerFast, and to PreTrainedTokenizerFast
// where tokenizer.json says the same (docs/adr/0014-byte-level-bpe.md).
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "worker/engine/text/added_tokens.h"
#include "worker/engine/text/byte_level_config.h"
#include "worker/engine/text/byte_pairs.h"
#include "worker/engine/text/post_processor.h"
#include "worker/engine/text/tokenizer.h"

namespace tenon::engine {

// What the files of a folder say.
struct ByteLevelSpec {
  BytePairVocabulary vocabulary;
  bool add_prefix_space = false;         // before each stretch of text that does not begin with one
  std::vector<AddedToken> added_tokens;  // no two with the same content, nor with the id of another piece
  TokensAround around;
  bool clean_up_spaces = false;  // when decoding
};

// BASE_INVALID names the file and key or line, UNSUPPORTED the part.
absl::StatusOr<ByteLevelSpec> ParseByteLevelJson(const std::string& json, const ByteLevelConfigFiles& config);
// The same from vocab.json and merges.txt.
absl::StatusOr<ByteLevelSpec> ParseByteLevelFiles(const std::string& vocab, const std::string& merges,
                                                  const ByteLevelConfigFiles& config);

class ByteLevelTokenizer : public GenerativeTokenizer, public PlaceTokenizer {
 public:
  static absl::StatusOr<std::unique_ptr<const ByteLevelTokenizer>> Create(ByteLevelSpec spec);
  // Of a folder with tokenizer.json, or else vocab.json and merges.txt.
  static absl::StatusOr<std::unique_ptr<const ByteLevelTokenizer>> Load(const std::filesystem::path& folder);

  Encoding Encode(const std::string& text, int64_t max_tokens) const override;
  Encoding EncodePair(const std::string& first, const std::string& second, int64_t max_tokens) const override;
  int64_t vocab_size() const override { return size_; }
  std::string separator() const override;
  std::string Decode(absl::Span<const int32_t> ids) const override;
  std::vector<int32_t> EncodePiece(const std::string& text) const override;
  const PlaceTokenizer* places() const override { return this; }

  // byte_level_places.cc
  std::vector<int32_t> EncodeWord(const std::string& word) const override;
  PlacedTokens EncodePlaces(const std::string& text) const override;
  Row Around(const std::vector<int32_t>& ids) const override;
  Row AroundPair(const std::vector<int32_t>& first, const std::vector<int32_t>& second) const override;

 private:
  struct Token {
    std::string bytes;
    bool special = false;
  };

  ByteLevelTokenizer(BytePairs model, ByteLevelSpec spec);
  // Appends ids of any text until there are more than `limit`.
  void Append(const std::string& text, size_t limit, std::vector<int32_t>* ids) const;
  // Calls stretch(begin, end) for text between added tokens, and token(id, begin, end) for each of these.
  void Walk(const std::string& text, const std::function<void(size_t, size_t)>& stretch,
            const std::function<void(int32_t, size_t, size_t)>& token) const;
  // The same of text without added tokens; false when there are more.
  bool AppendWords(std::string_view text, size_t limit, BytePairs::Workspace* workspace,
                   std::vector<int32_t>* ids) const;

  const BytePairs model_;
  AddedTokens first_;                           // looked for first: those that are not `normalized`
  AddedTokens second_;                          // then those that are, though nothing is normalized here
  absl::flat_hash_map<int32_t, Token> tokens_;  // by id
  const TokensAround around_;
  const bool add_prefix_space_;
  const bool clean_up_spaces_;
  int64_t size_ = 0;
};

}  // namespace tenon::engine
