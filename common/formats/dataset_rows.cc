#include "common/formats/dataset_rows.h"

#include <algorithm>

namespace tenon::formats {
namespace {

constexpr const char* kNames[kColumnCount] = {"text",     "text_pair", "label",   "labels", "id",          "_id",
                                              "query-id", "corpus-id", "score",   "words",  "tokens",      "tags",
                                              "question", "context",   "answers", "answer", "answer_start"};
constexpr size_t kMaxOthers = 10;
constexpr size_t kMaxNameBytes = 40;

}  // namespace

const char* ColumnName(Column column) { return kNames[static_cast<size_t>(column)]; }

int FindColumn(const std::string& name) {
  for (int i = 0; i < kColumnCount; ++i) {
    if (name == kNames[i]) return i;
  }
  return -1;
}

const char* KindName(Value::Kind kind) {
  switch (kind) {
    case Value::Kind::kMissing:
      return "missing";
    case Value::Kind::kNull:
      return "null";
    case Value::Kind::kBoolean:
      return "a boolean";
    case Value::Kind::kInteger:
      return "an integer";
    case Value::Kind::kReal:
      return "a number with a fraction";
    case Value::Kind::kString:
    case Value::Kind::kText:
      return "a string";
    case Value::Kind::kList:
      return "a list";
    case Value::Kind::kObject:
      return "an object";
  }
  return "";
}

void RawRow::Clear() {
  for (Value& value : values) {
    value.kind = Value::Kind::kMissing;
    value.text.clear();
    value.items.clear();
    value.members.clear();
  }
  others.clear();
  fault_column.clear();
}

std::string ShortColumnName(const std::string& name) {
  size_t cut = std::min(name.size(), kMaxNameBytes);
  while (cut < name.size() && (static_cast<unsigned char>(name[cut]) & 0xC0) == 0x80) --cut;
  return cut < name.size() ? name.substr(0, cut) + "..." : name;
}

void RowReader::NoteOther(const std::string& name) {
  if (other_columns_.size() < kMaxOthers && !name.empty()) other_columns_.insert(ShortColumnName(name));
}

}  // namespace tenon::formats
