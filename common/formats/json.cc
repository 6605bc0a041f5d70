#include "common/formats/json.h"

#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/formats/status.h"

namespace tenon::formats {
namespace {

constexpr size_t kMaxDepth = 64;

// Builds the tree, and stops at a duplicate key or below kMaxDepth.
class StrictSax : public nlohmann::json_sax<nlohmann::json> {
 public:
  using Json = nlohmann::json;

  bool null() override { return Put(nullptr) != nullptr; }
  bool boolean(bool value) override { return Put(value) != nullptr; }
  bool number_integer(number_integer_t value) override { return Put(value) != nullptr; }
  bool number_unsigned(number_unsigned_t value) override { return Put(value) != nullptr; }
  bool number_float(number_float_t value, const string_t&) override { return Put(value) != nullptr; }
  bool string(string_t& value) override { return Put(std::move(value)) != nullptr; }
  bool binary(binary_t&) override { return false; }
  bool start_object(std::size_t) override { return Open(Json::object()); }
  bool start_array(std::size_t) override { return Open(Json::array()); }
  bool end_object() override { return Close(); }
  bool end_array() override { return Close(); }

  bool key(string_t& key) override {
    if (open_.back()->contains(key)) return Fail(absl::StrCat("key \"", key, "\" occurs twice"));
    key_ = key;
    return true;
  }

  bool parse_error(std::size_t position, const std::string&, const Json::exception&) override {
    return Fail(absl::StrCat("not valid JSON at byte ", position));
  }

  absl::StatusOr<Json> Take() {
    if (!status_.ok()) return status_;
    return std::move(root_);
  }
  bool Fail(const std::string& what) {
    if (status_.ok()) status_ = absl::InvalidArgumentError(what);
    return false;
  }

 private:
  Json* Put(Json value) {
    if (open_.empty()) {
      root_ = std::move(value);
      return &root_;
    }
    Json& parent = *open_.back();
    if (parent.is_array()) {
      parent.push_back(std::move(value));
      return &parent.back();
    }
    return &(parent[key_] = std::move(value));
  }
  bool Open(Json value) {
    if (open_.size() >= kMaxDepth) return Fail(absl::StrCat("more than ", kMaxDepth, " levels"));
    open_.push_back(Put(std::move(value)));
    return true;
  }
  bool Close() {
    open_.pop_back();
    return true;
  }

  Json root_;
  std::vector<Json*> open_;
  std::string key_;
  absl::Status status_;
};

}  // namespace

absl::StatusOr<nlohmann::json> ParseJson(const std::string& text) {
  StrictSax sax;
  if (!nlohmann::json::sax_parse(text, &sax)) sax.Fail("not valid JSON");
  return sax.Take();
}

absl::StatusOr<nlohmann::json> ParseJsonObject(const std::string& text, const std::string& file, Reason reason) {
  absl::StatusOr<nlohmann::json> json = ParseJson(text);
  if (json.ok() && json->is_object()) return json;
  const std::string what = json.ok() ? "must be an object" : std::string(json.status().message());
  return TenonError(reason, absl::StrCat(file, ": ", what), file);
}

}  // namespace tenon::formats
