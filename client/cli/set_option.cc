#include "client/cli/set_option.h"

#include <google/protobuf/util/json_util.h>

#include <algorithm>
#include <cmath>
#include <memory>
#include <nlohmann/json.hpp>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "common/formats/status.h"

namespace tenon::cli {
namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using Json = nlohmann::json;

const char* TypeName(const FieldDescriptor& field) {
  switch (field.cpp_type()) {
    case FieldDescriptor::CPPTYPE_INT32:
    case FieldDescriptor::CPPTYPE_INT64:
      return "a whole number";
    case FieldDescriptor::CPPTYPE_UINT32:
    case FieldDescriptor::CPPTYPE_UINT64:
      return "a whole number of at least 0";
    case FieldDescriptor::CPPTYPE_DOUBLE:
    case FieldDescriptor::CPPTYPE_FLOAT:
      return "a number";
    case FieldDescriptor::CPPTYPE_BOOL:
      return "true or false";
    default:
      return "a text";
  }
}

// One value as JSON of the field's type; null when the text is not one.
Json Scalar(const FieldDescriptor& field, const std::string& text) {
  int64_t whole = 0;
  uint64_t natural = 0;
  double number = 0;
  switch (field.cpp_type()) {
    case FieldDescriptor::CPPTYPE_INT32:
    case FieldDescriptor::CPPTYPE_INT64:
      return absl::SimpleAtoi(text, &whole) ? Json(whole) : Json();
    case FieldDescriptor::CPPTYPE_UINT32:
    case FieldDescriptor::CPPTYPE_UINT64:
      return absl::SimpleAtoi(text, &natural) ? Json(natural) : Json();
    case FieldDescriptor::CPPTYPE_DOUBLE:
    case FieldDescriptor::CPPTYPE_FLOAT:
      return absl::SimpleAtod(text, &number) && std::isfinite(number) ? Json(number) : Json();
    case FieldDescriptor::CPPTYPE_BOOL:
      return text == "true" ? Json(true) : text == "false" ? Json(false) : Json();
    default:
      return Json(text);
  }
}

std::vector<std::string> Entries(const std::string& text) { return absl::StrSplit(text, ',', absl::SkipEmpty()); }

Json MapValue(const FieldDescriptor& field, const std::string& text) {
  if (!text.empty() && text.front() == '{') return Json::parse(text, nullptr, /*allow_exceptions=*/false);
  Json map = Json::object();
  for (const std::string& entry : Entries(text)) {
    const size_t colon = entry.rfind(':');
    if (colon == std::string::npos) return Json();
    Json value = Scalar(*field.message_type()->map_value(), entry.substr(colon + 1));
    if (value.is_null()) return Json();
    map[entry.substr(0, colon)] = std::move(value);
  }
  return map;
}

Json ListValue(const FieldDescriptor& field, const std::string& text) {
  if (!text.empty() && text.front() == '[') {
    Json list = Json::parse(text, nullptr, /*allow_exceptions=*/false);
    // A regular expression may start with a bracket: then the whole text is the only entry.
    return list.is_array() ? list : Json::array({text});
  }
  Json list = Json::array();
  for (const std::string& entry : Entries(text)) list.push_back(Scalar(field, entry));
  return list;
}

absl::Status SetField(Message& message, const FieldDescriptor& field, const std::string& text) {
  const Json value = field.is_map()        ? MapValue(field, text)
                     : field.is_repeated() ? ListValue(field, text)
                                           : Scalar(field, text);
  const auto wrong = [&](const std::string& why) {
    return TenonError(Reason::kOptionInvalid, absl::StrCat("'", text, "' is not ", why, "."), field.name());
  };
  const FieldDescriptor& element = field.is_map() ? *field.message_type()->map_value() : field;
  const std::string type = absl::StrCat(field.is_map() ? "name:value pairs, each value " : "", TypeName(element));
  if (value.is_null() || value.is_discarded()) return wrong(type);
  // protobuf's own JSON reader sets the field: it knows ranges, lists and maps.
  std::unique_ptr<Message> parsed(message.New());
  const std::string json = Json{{field.name(), value}}.dump(-1, ' ', false, Json::error_handler_t::replace);
  if (!google::protobuf::util::JsonStringToMessage(json, parsed.get()).ok()) return wrong(type);
  message.GetReflection()->ClearField(&message, &field);
  message.MergeFrom(*parsed);
  return absl::OkStatus();
}

size_t EditDistance(const std::string& a, const std::string& b) {
  std::vector<std::vector<size_t>> cost(a.size() + 1, std::vector<size_t>(b.size() + 1));
  for (size_t i = 0; i <= a.size(); ++i) cost[i][0] = i;
  for (size_t j = 0; j <= b.size(); ++j) cost[0][j] = j;
  for (size_t i = 1; i <= a.size(); ++i) {
    for (size_t j = 1; j <= b.size(); ++j) {
      cost[i][j] = std::min({cost[i - 1][j] + 1, cost[i][j - 1] + 1, cost[i - 1][j - 1] + (a[i - 1] != b[j - 1])});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1]) {
        cost[i][j] = std::min(cost[i][j], cost[i - 2][j - 2] + 1);
      }
    }
  }
  return cost[a.size()][b.size()];
}

}  // namespace

std::vector<std::string> OptionKeys(const std::vector<const Message*>& messages) {
  std::vector<std::string> keys;
  for (const Message* message : messages) {
    for (int i = 0; i < message->GetDescriptor()->field_count(); ++i)
      keys.push_back(message->GetDescriptor()->field(i)->name());
  }
  return keys;
}

std::string Nearest(const std::string& word, const std::vector<std::string>& candidates) {
  // What other libraries call the same thing, and what no count of edits would find.
  static constexpr const char* kElsewhere[][2] = {{"lr", "learning_rate"},
                                                  {"lora_alpha", "alpha"},
                                                  {"lora_r", "r"},
                                                  {"rank", "r"},
                                                  {"lora_dropout", "dropout"},
                                                  {"num_train_epochs", "epochs"},
                                                  {"num_epochs", "epochs"},
                                                  {"steps", "max_steps"},
                                                  {"lr_scheduler_type", "schedule"},
                                                  {"max_length", "max_input_tokens"},
                                                  {"max_seq_length", "max_input_tokens"},
                                                  {"patience", "early_stopping_patience"}};
  for (const auto& [theirs, ours] : kElsewhere) {
    if (word == theirs && std::find(candidates.begin(), candidates.end(), ours) != candidates.end()) return ours;
  }
  const auto nearest = std::min_element(candidates.begin(), candidates.end(), [&](const auto& a, const auto& b) {
    return EditDistance(word, a) < EditDistance(word, b);
  });
  return nearest == candidates.end() ? "" : *nearest;
}

absl::Status SetOption(const std::string& assignment, const std::vector<Message*>& messages) {
  const size_t equals = assignment.find('=');
  if (equals == std::string::npos || equals == 0) {
    return TenonError(Reason::kOptionInvalid, absl::StrCat("'", assignment, "' is not key=value."), "--set");
  }
  const std::string key = assignment.substr(0, equals);
  for (Message* message : messages) {
    const FieldDescriptor* field = message->GetDescriptor()->FindFieldByName(key);
    if (field != nullptr) return SetField(*message, *field, assignment.substr(equals + 1));
  }
  const std::vector<std::string> keys = OptionKeys({messages.begin(), messages.end()});
  return TenonError(Reason::kOptionInvalid,
                    absl::StrCat("There is no option '", key, "'; did you mean '", Nearest(key, keys), "'?"), key);
}

}  // namespace tenon::cli
