#include "common/formats/json_fields.h"

#include <cmath>
#include <limits>

namespace tenon::formats {

int64_t JsonFields::Int(const std::string& key, int64_t value, int64_t low, int64_t high) {
  const nlohmann::json* found = Get(key);
  if (found == nullptr) return value;
  const bool fits = found->is_number_integer() &&
                    (!found->is_number_unsigned() ||
                     found->get<uint64_t>() <= static_cast<uint64_t>(std::numeric_limits<int64_t>::max()));
  if (fits && found->get<int64_t>() >= low && found->get<int64_t>() <= high) return found->get<int64_t>();
  Fail(key, absl::StrCat("is ", Shown(*found), "; it must be an integer from ", low, " to ", high));
  return value;
}

double JsonFields::Real(const std::string& key, double value, double low, double high) {
  const nlohmann::json* found = Get(key);
  if (found == nullptr) return value;
  if (found->is_number()) {
    const double number = found->get<double>();
    if (std::isfinite(number) && number >= low && number <= high) return number;
  }
  Fail(key, absl::StrCat("is ", Shown(*found), "; it must be a number from ", low, " to ", high));
  return value;
}

bool JsonFields::Bool(const std::string& key, bool value) {
  const nlohmann::json* found = Get(key);
  if (found == nullptr) return value;
  if (found->is_boolean()) return found->get<bool>();
  Fail(key, absl::StrCat("is ", Shown(*found), "; it must be true or false"));
  return value;
}

std::string JsonFields::String(const std::string& key, const std::string& value) {
  const nlohmann::json* found = Get(key);
  if (found == nullptr) return value;
  if (found->is_string()) return found->get<std::string>();
  Fail(key, absl::StrCat("is ", Shown(*found), "; it must be a string"));
  return value;
}

std::vector<std::string> JsonFields::Strings(const std::string& key) {
  std::vector<std::string> strings;
  const nlohmann::json* found = Get(key);
  if (found == nullptr) return strings;
  bool good = found->is_array();
  if (good) {
    for (const nlohmann::json& item : *found) {
      good = good && item.is_string() && !item.get_ref<const std::string&>().empty();
      if (good) strings.push_back(item.get<std::string>());
    }
  }
  if (!good) Fail(key, absl::StrCat("is ", Shown(*found), "; it must be a list of strings that are not empty"));
  return strings;
}

bool IsFalsy(const nlohmann::json& value) {
  if (value.is_null()) return true;
  if (value.is_boolean()) return !value.get<bool>();
  if (value.is_number()) return value.get<double>() == 0;
  if (value.is_string()) return value.get_ref<const std::string&>().empty();
  return value.empty();
}

std::string Shown(const nlohmann::json& value) {
  constexpr size_t kMaxShown = 60;
  std::string text = value.dump(-1, ' ', true, nlohmann::json::error_handler_t::replace);
  if (text.size() > kMaxShown) text = text.substr(0, kMaxShown) + "...";
  return text;
}

}  // namespace tenon::formats
