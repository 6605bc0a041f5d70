// Text to token ids. No torch.
#pragma once

#include <cstdint>
#include <filesystem>
#include <limits>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"

namespace tenon::engine {

// A place behind every row's end.
inline constexpr int64_t kNoPlace = std::numeric_limits<int64_t>::max();

// Ids with special tokens ([CLS] ... [SEP]), no padding.
struct Encoding {
  std::vector<int32_t> ids;
  bool truncated = false;
  // Token types are 0 before this place and 1 from it on, where a pair's second text begins. Tokenizers whose models
  // have no types for it leave all at 0.
  int64_t second_type = kNoPlace;
};

// Bytes [begin, end) of a text.
struct TextPlace {
  size_t begin = 0, end = 0;
  friend bool operator==(const TextPlace&, const TextPlace&) = default;
};

// A text's tokens without special ones, and what each stands for: whole characters, as `return_offsets_mapping=True` of
// Hugging Face has it (which counts characters).
struct PlacedTokens {
  std::vector<int32_t> ids;
  std::vector<TextPlace> places;
};

// Rows whose tokens must be told apart by what they stand for. Of the tokenizers of bases that only encode.
class PlaceTokenizer {
 public:
  // A row, and where in it each text's tokens begin.
  struct Row {
    Encoding encoding;
    size_t first = 0, second = 0;
  };

  virtual ~PlaceTokenizer() = default;
  // Ids of one word of a text, as `is_split_into_words=True` of Hugging Face has it (byte-level ones with
  // `add_prefix_space=True`); none for a word that leaves nothing.
  virtual std::vector<int32_t> EncodeWord(const std::string& word) const = 0;
  virtual PlacedTokens EncodePlaces(const std::string& text) const = 0;
  // Special tokens around one text's ids, and around and between two.
  virtual Row Around(const std::vector<int32_t>& ids) const = 0;
  virtual Row AroundPair(const std::vector<int32_t>& first, const std::vector<int32_t>& second) const = 0;
};

// Immutable; safe from any thread.
class Tokenizer {
 public:
  virtual ~Tokenizer() = default;
  // At most `max_tokens` ids, special tokens included, like `truncation=True, max_length=max_tokens` of Hugging Face.
  // `text` is UTF-8.
  virtual Encoding Encode(const std::string& text, int64_t max_tokens) const = 0;
  // Two texts in one row. The longer one is cut first, as `truncation=True` of Hugging Face does it.
  virtual Encoding EncodePair(const std::string& first, const std::string& second, int64_t max_tokens) const = 0;
  // A row of a data set or a call: a pair, unless the second text is empty.
  Encoding EncodeRow(const std::string& text, const std::string& text_pair, int64_t max_tokens) const {
    return text_pair.empty() ? Encode(text, max_tokens) : EncodePair(text, text_pair, max_tokens);
  }
  virtual int64_t vocab_size() const = 0;
  // The text of the special token behind a text, which stands between the parts of one that has several, such as
  // "[SEP]"; empty where there is none.
  virtual std::string separator() const = 0;
  // Nothing where tokens' places are not known.
  virtual const PlaceTokenizer* places() const { return nullptr; }
};

// Of a base that generates.
class GenerativeTokenizer : public Tokenizer {
 public:
  // Text of ids, special tokens left out, like `decode(ids, skip_special_tokens=True)` of Hugging Face; ids outside the
  // vocabulary give nothing.
  virtual std::string Decode(absl::Span<const int32_t> ids) const = 0;
  // Ids of a piece of text without special tokens, as it stands inside a text: for bad words. Byte-level tokenizers
  // tell "word" from " word".
  virtual std::vector<int32_t> EncodePiece(const std::string& text) const = 0;
};

// The tokenizer of a Hugging Face folder: WordPiece of tokenizer.json, or of vocab.txt with tokenizer_config.json, or
// byte-level BPE of tokenizer.json, or of vocab.json with merges.txt. BASE_INVALID names the file; UNSUPPORTED names a
// model, or a part of it, that is neither's.
absl::StatusOr<std::unique_ptr<const Tokenizer>> LoadTokenizer(const std::filesystem::path& folder);

// The tokenizer of a folder whose base generates: byte-level BPE as above, or T5's, of tokenizer.json, or spiece.model
// where there is none, with tokenizer_config.json if there is one; what transformers' T5TokenizerFast makes of the same
// files. BASE_INVALID names the file; UNSUPPORTED names what T5TokenizerFast does not do.
absl::StatusOr<std::unique_ptr<const GenerativeTokenizer>> LoadGenerativeTokenizer(const std::filesystem::path& folder);

}  // namespace tenon::engine
