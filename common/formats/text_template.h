// How a row of named fields becomes the text that a model reads and the one that it shall write. A field's name stands
// in braces, as in `summarize: {dialogue}`; `{{` and `}}` are braces.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace tenon::formats {

// A row: texts by the names of their fields.
using Record = std::map<std::string, std::string>;

// As users write it and tenon.json keeps it. `target` may be empty for an adapter that is only served.
struct TextTemplate {
  std::string input;
  std::string target;

  friend bool operator==(const TextTemplate&, const TextTemplate&) = default;
};

// Whether an adapter may carry it: its input is a template, and its target too unless it is empty. FIELD_INVALID names
// `where`.input or `where`.target.
absl::Status CheckTemplate(const TextTemplate& text_template, const std::string& where);

// One side of a template, taken apart.
class TextPattern {
 public:
  // `where` names the template in errors, such as `text_template.input`, and is their field. FIELD_INVALID with the
  // character (from 1) at which a brace is open or stray, or a name is empty; also for a template without a field, with
  // more than 64 of them, or of more than 8 KiB.
  static absl::StatusOr<TextPattern> Parse(const std::string& text, const std::string& where);

  // Names in order of their first use, each once.
  const std::vector<std::string>& fields() const { return fields_; }
  // FIELD_INVALID names the first field that is not one of `known`, and those that are.
  absl::Status CheckFields(const std::vector<std::string>& known) const;
  // The row's text. DATASET_INVALID names the field that the row lacks or that is blank, TEXT_TOO_LARGE is for more
  // than 4 MiB; callers add the row.
  absl::StatusOr<std::string> Render(const Record& record) const;

  // What stands around the only field: `text` put between `before` and `after` is the template's text for it.
  struct Frame {
    std::string before, after;
  };
  // TEMPLATE_FIELDS lists the fields when there are several, or says that the one stands in several places.
  absl::StatusOr<Frame> Around() const;

 private:
  // A piece is a text that stands for itself, or a field's name.
  struct Piece {
    bool field = false;
    std::string text;
  };

  std::string where_;
  std::vector<Piece> pieces_;
  std::vector<std::string> fields_;
};

}  // namespace tenon::formats
