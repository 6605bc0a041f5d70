#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/formats/dataset_rows.h"
#include "common/formats/status.h"
#include "common/formats/utf8.h"

namespace tenon::formats {
namespace {

constexpr int kMaxDepth = 64;
constexpr size_t kMaxItems = 100'000;

// Fills a RawRow from one object, without a tree: values of columns that are not kept are walked over.
class RowSax : public nlohmann::json_sax<nlohmann::json> {
 public:
  RowSax(RawRow* row, bool keep_others) : row_(*row), keep_others_(keep_others) {}

  const std::vector<std::string>& keys() const { return keys_; }
  const std::string& error() const { return error_; }

  bool null() override { return Put(Value::Kind::kNull, ""); }
  bool boolean(bool) override { return Put(Value::Kind::kBoolean, ""); }
  bool number_integer(number_integer_t value) override { return Put(Value::Kind::kInteger, absl::StrCat(value)); }
  bool number_unsigned(number_unsigned_t value) override { return Put(Value::Kind::kInteger, absl::StrCat(value)); }
  bool number_float(number_float_t, const string_t& text) override { return Put(Value::Kind::kReal, text); }
  bool string(string_t& value) override { return Put(Value::Kind::kString, std::move(value)); }
  bool binary(binary_t&) override { return false; }

  bool start_object(std::size_t) override {
    if (depth_ == 0) {
      depth_ = 1;
      return true;
    }
    return Open(Value::Kind::kObject);
  }
  bool start_array(std::size_t) override {
    return depth_ == 0 ? Fail("is a list, not an object") : Open(Value::Kind::kList);
  }
  bool end_object() override { return Close(); }
  bool end_array() override { return Close(); }

  bool key(string_t& key) override {
    if (depth_ == 2 && TakesMembers()) member_ = &current_->members[key];
    if (depth_ != 1) return true;
    member_ = nullptr;
    if (std::find(keys_.begin(), keys_.end(), key) != keys_.end())
      return Fail(absl::StrCat("has the key \"", key, "\" twice"));
    keys_.push_back(key);
    if (keys_.size() > 1000) return Fail("has more than 1000 keys");
    const int column = FindColumn(key);
    current_ = column < 0 ? Other(key) : &row_.values[static_cast<size_t>(column)];
    return true;
  }

  bool parse_error(std::size_t position, const std::string& token, const nlohmann::json::exception& error) override {
    constexpr int kOutOfRange = 406;  // nlohmann's number of the exception
    const std::string last = token.substr(token.find_last_of(" :,[{") + 1);
    const bool named = last == "N" || last == "I" || last == "-I";  // NaN, Infinity, as other writers have them
    if (depth_ > 0 && !keys_.empty() && (named || error.id == kOutOfRange)) {
      row_.fault_column = ShortColumnName(keys_.back());
      return Fail("is not a finite number, which JSON has not");
    }
    return Fail(absl::StrCat("is not valid JSON (at byte ", position, " of the line)"));
  }

 private:
  Value* Other(const std::string& key) {
    if (!keep_others_) return nullptr;
    return &row_.others.emplace_back(key, Value()).second;  // valid until the next key, and used until then
  }
  bool Fail(const std::string& what) {
    if (error_.empty()) error_ = what;
    return false;
  }
  bool Put(Value::Kind kind, std::string text) {
    if (depth_ == 0) return Fail(absl::StrCat("is ", KindName(kind), ", not an object"));
    if (current_ == nullptr) return true;
    if (depth_ == 1) {
      current_->kind = kind;
      current_->text = std::move(text);
    } else if (depth_ == 2 && current_->kind == Value::Kind::kList) {
      if (current_->items.size() >= kMaxItems)
        return Fail(absl::StrCat("has a list of more than ", kMaxItems, " items"));
      current_->items.push_back({kind, std::move(text), {}, {}});
    } else if (depth_ == 2 && TakesMembers() && member_ != nullptr) {
      member_->kind = kind;
      member_->text = std::move(text);
    } else if (depth_ == 3 && TakesMembers() && member_ != nullptr && member_->kind == Value::Kind::kList) {
      if (member_->items.size() >= kMaxItems)
        return Fail(absl::StrCat("has a list of more than ", kMaxItems, " items"));
      member_->items.push_back({kind, std::move(text), {}, {}});
    }
    return true;
  }
  // Whether the value at hand is the object of answers, whose lists are kept.
  bool TakesMembers() const { return current_ == &row_[Column::kAnswers] && current_->kind == Value::Kind::kObject; }
  bool Open(Value::Kind kind) {
    if (!Put(kind, "")) return false;
    return ++depth_ <= kMaxDepth || Fail(absl::StrCat("has more than ", kMaxDepth, " levels"));
  }
  bool Close() {
    --depth_;
    return true;
  }

  RawRow& row_;
  const bool keep_others_;
  Value* current_ = nullptr;
  Value* member_ = nullptr;  // of current_
  std::vector<std::string> keys_;
  std::string error_;
  int depth_ = 0;
};

class JsonLinesReader : public RowReader {
 public:
  JsonLinesReader(const char* begin, const char* end) : at_(begin), end_(end) {}

  absl::StatusOr<bool> Next(RawRow* row) override {
    row->Clear();
    std::string line;
    do {
      if (at_ == end_) return false;
      const char* stop = std::find(at_, end_, '\n');
      line.assign(at_, stop);
      at_ = stop == end_ ? end_ : stop + 1;
    } while (line.find_first_not_of(" \t\r") == std::string::npos);
    if (!IsValidUtf8(line)) return absl::InvalidArgumentError("is not valid UTF-8");
    RowSax sax(row, keeps_others());
    if (!nlohmann::json::sax_parse(line, &sax)) {
      return absl::InvalidArgumentError(sax.error().empty() ? "is not valid JSON" : sax.error());
    }
    for (const std::string& key : sax.keys()) {
      if (FindColumn(key) < 0) NoteOther(key);
    }
    return true;
  }

 private:
  const char* at_;
  const char* const end_;
};

}  // namespace

std::unique_ptr<RowReader> NewJsonLinesReader(const char* begin, const char* end) {
  return std::make_unique<JsonLinesReader>(begin, end);
}

}  // namespace tenon::formats
