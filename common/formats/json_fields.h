// Typed access to the keys of one JSON object; the first thing wrong is kept, so that a caller reads all fields, then
// asks.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "common/formats/status.h"

namespace tenon::formats {

// A missing key, or null, gives the default. `object` must outlive the reader and be a JSON object.
class JsonFields {
 public:
  // Errors carry `reason` and read "FILE: KEY must be ...".
  JsonFields(const nlohmann::json& object, std::string file, Reason reason)
      : object_(object), file_(std::move(file)), reason_(reason) {}

  // The value, or nullptr when it is missing or null.
  const nlohmann::json* Get(const std::string& key) const {
    const auto it = object_.find(key);
    return it == object_.end() || it->is_null() ? nullptr : &*it;
  }
  int64_t Int(const std::string& key, int64_t value, int64_t low, int64_t high);
  // Finite.
  double Real(const std::string& key, double value, double low, double high);
  bool Bool(const std::string& key, bool value);
  std::string String(const std::string& key, const std::string& value);
  std::vector<std::string> Strings(const std::string& key);

  void Fail(const std::string& key, const std::string& what) { FailWith(reason_, key, what); }
  void Unsupported(const std::string& key, const std::string& what) { FailWith(Reason::kUnsupported, key, what); }
  const absl::Status& status() const { return status_; }

 private:
  void FailWith(Reason reason, const std::string& key, const std::string& what) {
    if (status_.ok()) status_ = TenonError(reason, absl::StrCat(file_, ": ", key, " ", what), key);
  }

  const nlohmann::json& object_;
  const std::string file_;
  const Reason reason_;
  absl::Status status_;
};

// What Python calls false: null, false, 0, "", [] and {}. Fields that we do not support may hold these.
bool IsFalsy(const nlohmann::json& value);
// A value for an error message, cut when it is long.
std::string Shown(const nlohmann::json& value);

}  // namespace tenon::formats
