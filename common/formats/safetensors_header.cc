#include "common/formats/safetensors_header.h"

#include <algorithm>
#include <limits>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <utility>

#include "absl/container/flat_hash_set.h"
#include "absl/strings/str_cat.h"
#include "common/formats/status.h"

namespace tenon::formats {
namespace {

constexpr DType kDTypes[] = {DType::kF32, DType::kF16, DType::kBF16, DType::kF64, DType::kI64,
                             DType::kI32, DType::kI16, DType::kI8,   DType::kU8,  DType::kBool};

std::optional<DType> FindDType(const std::string& name) {
  for (const DType dtype : kDTypes) {
    if (name == DTypeName(dtype)) return dtype;
  }
  return std::nullopt;
}

absl::Status Invalid(const std::string& message, const std::string& field = "") {
  return TenonError(Reason::kSafetensorsInvalid, message, field);
}

// Takes the header apart while it is parsed, so that a hostile one never becomes a tree in memory. Levels: 1 the object
// of tensors, 2 one tensor or the metadata, 3 a shape or a pair of offsets.
class HeaderSax : public nlohmann::json_sax<nlohmann::json> {
 public:
  HeaderSax(const Safetensors::Limits& limits, SafetensorsHeader* header) : limits_(limits), header_(*header) {}

  const absl::Status& status() const { return status_; }

  bool start_object(std::size_t) override {
    if (level_ == 0) {
      level_ = 1;
      return true;
    }
    if (level_ != 1) return Unexpected("an object");
    level_ = 2;
    keys_.clear();
    if (!in_metadata_) {
      if (static_cast<int64_t>(header_.entries.size()) >= limits_.max_tensors) {
        return Fail(absl::StrCat("the header has more than ", limits_.max_tensors, " tensors"));
      }
      header_.entries.push_back({name_, DType::kF32, {}, 0, 0});
    }
    return true;
  }

  bool key(string_t& key) override {
    if (level_ == 1) {
      name_ = key;
      in_metadata_ = key == "__metadata__";
      return names_.insert(key).second || Fail("the name occurs twice");
    }
    key_ = key;
    if (!keys_.insert(key).second) return Fail(absl::StrCat("key ", key, " occurs twice"));
    if (in_metadata_ || key == "dtype" || key == "shape" || key == "data_offsets") return true;
    return Fail(absl::StrCat("unknown key ", key));
  }

  bool end_object() override {
    if (level_ == 2 && !in_metadata_ && keys_.size() != 3) return Fail("needs dtype, shape and data_offsets");
    --level_;
    return true;
  }

  bool string(string_t& value) override {
    if (level_ != 2) return Unexpected("a string");
    if (in_metadata_) {
      header_.metadata[key_] = value;
      return true;
    }
    if (key_ != "dtype") return Unexpected("a string");
    const std::optional<DType> dtype = FindDType(value);
    if (!dtype.has_value()) {
      status_ = TenonError(Reason::kUnsupported, absl::StrCat("tensor ", name_, ": dtype ", value, " is not supported"),
                           name_);
      return false;
    }
    header_.entries.back().dtype = *dtype;
    return true;
  }

  bool start_array(std::size_t) override {
    if (level_ != 2 || in_metadata_ || key_ == "dtype") return Unexpected("a list");
    level_ = 3;
    numbers_.clear();
    return true;
  }

  bool number_unsigned(number_unsigned_t value) override {
    if (level_ != 3) return Unexpected("a number");
    if (value > static_cast<uint64_t>(std::numeric_limits<int64_t>::max())) {
      return Fail(absl::StrCat(key_, " holds ", value, ", which is too large"));
    }
    numbers_.push_back(static_cast<int64_t>(value));
    if (key_ == "data_offsets" && numbers_.size() > 2) return Fail("data_offsets must be two numbers");
    if (static_cast<int>(numbers_.size()) > std::max(limits_.max_rank, 2)) return RankError();
    return true;
  }

  bool end_array() override {
    level_ = 2;
    SafetensorsEntry& entry = header_.entries.back();
    if (key_ == "shape") {
      if (static_cast<int>(numbers_.size()) > limits_.max_rank) return RankError();
      entry.shape = numbers_;
      return true;
    }
    if (numbers_.size() != 2) return Fail("data_offsets must be two numbers");
    entry.begin = numbers_[0];
    entry.end = numbers_[1];
    return entry.begin <= entry.end || Fail("data_offsets end before they begin");
  }

  bool null() override { return Unexpected("null"); }
  bool boolean(bool) override { return Unexpected("a boolean"); }
  bool number_integer(number_integer_t value) override { return Unexpected(absl::StrCat(value)); }
  bool number_float(number_float_t, const string_t& text) override { return Unexpected(text); }
  bool binary(binary_t&) override { return Unexpected("binary data"); }
  bool parse_error(std::size_t position, const std::string&, const nlohmann::json::exception&) override {
    status_ = Invalid(absl::StrCat("the header is not valid JSON at byte ", position));
    return false;
  }

 private:
  bool Fail(const std::string& what) {
    const std::string where = level_ == 0 || name_.empty() ? "header" : absl::StrCat("tensor ", name_);
    status_ = Invalid(absl::StrCat(where, ": ", what), name_);
    return false;
  }
  bool Unexpected(const std::string& what) {
    if (level_ == 0) return Fail("must be an object");
    if (level_ == 1) return Fail(absl::StrCat("must be an object, not ", what));
    return Fail(absl::StrCat("unexpected ", what, " in ", key_));
  }
  bool RankError() { return Fail(absl::StrCat("has more than ", limits_.max_rank, " dimensions")); }

  const Safetensors::Limits limits_;
  SafetensorsHeader& header_;
  absl::Status status_;
  absl::flat_hash_set<std::string> names_;
  std::set<std::string> keys_;
  std::vector<int64_t> numbers_;
  std::string name_;
  std::string key_;
  int level_ = 0;
  bool in_metadata_ = false;
};

// Bytes of a tensor, or nothing when the product does not fit 63 bits.
std::optional<int64_t> SizeBytes(const SafetensorsEntry& entry) {
  int64_t size = ItemSize(entry.dtype);
  for (const int64_t extent : entry.shape) {
    if (__builtin_mul_overflow(size, extent, &size)) return std::nullopt;
  }
  return size;
}

absl::Status CheckPlaces(std::vector<SafetensorsEntry>& entries, int64_t data_bytes) {
  std::sort(entries.begin(), entries.end(), [](const SafetensorsEntry& a, const SafetensorsEntry& b) {
    return std::tie(a.begin, a.end, a.name) < std::tie(b.begin, b.end, b.name);
  });
  int64_t at = 0;
  for (const SafetensorsEntry& entry : entries) {
    const std::string who = absl::StrCat("tensor ", entry.name, ": ");
    const std::optional<int64_t> size = SizeBytes(entry);
    if (!size.has_value()) return Invalid(absl::StrCat(who, "the shape's product overflows"), entry.name);
    if (*size != entry.end - entry.begin) {
      return Invalid(
          absl::StrCat(who, "shape and dtype need ", *size, " bytes, data_offsets give ", entry.end - entry.begin),
          entry.name);
    }
    if (entry.begin < at) return Invalid(absl::StrCat(who, "overlaps the tensor before it"), entry.name);
    if (entry.begin > at)
      return Invalid(absl::StrCat(who, "a hole of ", entry.begin - at, " bytes before it"), entry.name);
    if (entry.end > data_bytes) {
      return Invalid(absl::StrCat(who, "ends at byte ", entry.end, " of ", data_bytes, "; the file is truncated"),
                     entry.name);
    }
    at = entry.end;
  }
  if (at != data_bytes) return Invalid(absl::StrCat(data_bytes - at, " bytes after the last tensor"));
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<SafetensorsHeader> ParseSafetensorsHeader(const char* json, int64_t json_bytes, int64_t data_bytes,
                                                         const Safetensors::Limits& limits) {
  SafetensorsHeader header;
  HeaderSax sax(limits, &header);
  if (!nlohmann::json::sax_parse(json, json + json_bytes, &sax)) {
    return sax.status().ok() ? Invalid("the header is not valid JSON") : sax.status();
  }
  RETURN_IF_ERROR(CheckPlaces(header.entries, data_bytes));
  return header;
}

}  // namespace tenon::formats
