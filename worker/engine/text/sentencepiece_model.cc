#include "worker/engine/text/sentencepiece_model.h"

#include <sentencepiece_processor.h>

#include <cstdint>
#include <exception>
#include <optional>
#include <string_view>

namespace tenon::engine {
namespace {

// Numbers of sentencepiece_model.proto.
constexpr uint64_t kPieces = 1, kTrainerSpec = 2, kNormalizerSpec = 3;
constexpr uint64_t kPieceType = 3, kModelType = 3, kPrecompiledCharsmap = 2;
constexpr uint64_t kUserDefined = 4, kUnigram = 1;

// The fields of a protobuf message one after the other (https://protobuf.dev/programming-guides/encoding).
class Fields {
 public:
  explicit Fields(std::string_view message) : rest_(message) {}

  // Goes on to the next field; false at the end, and when what follows is no whole field.
  bool Next() {
    whole_ = rest_;
    if (rest_.empty()) return false;
    const std::optional<uint64_t> key = Varint();
    if (!key.has_value()) return false;
    number = *key >> 3;
    value = 0;
    bytes = {};
    switch (*key & 7) {
      case 0: {
        const std::optional<uint64_t> read = Varint();
        value = read.value_or(0);
        return read.has_value();
      }
      case 1:
        return Take(8);
      case 2: {
        const std::optional<uint64_t> size = Varint();
        return size.has_value() && Take(*size);
      }
      case 5:
        return Take(4);
      default:  // groups are no part of this format
        return false;
    }
  }
  // Once Next() gave false: whether that was the end.
  bool ended() const { return whole_.empty(); }
  // The field as it lies in the message, with its key.
  std::string_view whole() const { return whole_.substr(0, whole_.size() - rest_.size()); }

  uint64_t number = 0;
  uint64_t value = 0;      // of a varint
  std::string_view bytes;  // of all else

 private:
  std::optional<uint64_t> Varint() {
    uint64_t number = 0;
    for (int shift = 0; shift < 64 && !rest_.empty(); shift += 7) {
      const auto byte = static_cast<unsigned char>(rest_.front());
      rest_.remove_prefix(1);
      number |= static_cast<uint64_t>(byte & 0x7F) << shift;
      if (byte < 0x80) return number;
    }
    return std::nullopt;
  }
  bool Take(uint64_t size) {
    if (size > rest_.size()) return false;
    bytes = rest_.substr(0, size);
    rest_.remove_prefix(size);
    return true;
  }

  std::string_view rest_;
  std::string_view whole_;
};

// A number of a message, the last one if there are several.
uint64_t Number(std::string_view message, uint64_t field, uint64_t otherwise) {
  for (Fields fields(message); fields.Next();) {
    if (fields.number == field) otherwise = fields.value;
  }
  return otherwise;
}

}  // namespace

std::string ReadSentencePieceModel(const std::string& bytes, SentencePieceModel* model) {
  *model = SentencePieceModel();
  // The library gets the pieces and how they were trained, and no more. It does not tell anybody the character map, and
  // would follow it without looking where it leads; and it would run the model's own test texts.
  std::string core;
  std::vector<bool> user_defined;
  bool normalizer = false;
  Fields fields(bytes);
  while (fields.Next()) {
    if (fields.number == kPieces) {
      user_defined.push_back(Number(fields.bytes, kPieceType, 0) == kUserDefined);
    } else if (fields.number == kTrainerSpec) {
      model->unigram = Number(fields.bytes, kModelType, model->unigram ? kUnigram : 0) == kUnigram;
    } else if (fields.number == kNormalizerSpec) {
      Fields spec(fields.bytes);
      while (spec.Next()) {
        if (spec.number == kPrecompiledCharsmap) model->charsmap = spec.bytes;
      }
      if (!spec.ended()) return "normalizer_spec is broken";
      normalizer = true;
      continue;
    } else {
      continue;
    }
    core.append(fields.whole());
  }
  if (!fields.ended()) return "is cut off, or no SentencePiece model";
  if (!normalizer) return "is cut off: it has no normalizer_spec";
  sentencepiece::SentencePieceProcessor processor;
  try {
    const auto status = processor.LoadFromSerializedProto(core);
    if (!status.ok()) return status.ToString();
  } catch (const std::exception& error) {
    return error.what();
  }
  const int count = processor.GetPieceSize();
  if (static_cast<size_t>(count) != user_defined.size()) return "has pieces that cannot be read";
  for (int id = 0; id < count; ++id) {
    using Type = SentencePieceModel::Type;
    const Type type = processor.IsUnknown(id)                 ? Type::kUnknown
                      : processor.IsControl(id)               ? Type::kControl
                      : processor.IsUnused(id)                ? Type::kUnused
                      : processor.IsByte(id)                  ? Type::kByte
                      : user_defined[static_cast<size_t>(id)] ? Type::kUserDefined
                                                              : Type::kNormal;
    model->pieces.push_back({processor.IdToPiece(id), processor.GetScore(id), type});
  }
  return "";
}

}  // namespace tenon::engine
