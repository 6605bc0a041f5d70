#include "worker/link/text_pairs.h"

#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/formats/status.h"
#include "common/formats/text_template.h"

namespace tenon::link {
namespace {

constexpr size_t kMaxTextBytes = size_t{2} << 30;  // that a template makes of all rows

}  // namespace

absl::StatusOr<std::vector<engine::TextPair>> ToTextPairs(const formats::Dataset& dataset,
                                                          const v1::TextTemplate& text_template) {
  ASSIGN_OR_RETURN(const auto input, formats::TextPattern::Parse(text_template.input(), "text_template.input"));
  ASSIGN_OR_RETURN(const auto target, formats::TextPattern::Parse(text_template.target(), "text_template.target"));
  std::vector<engine::TextPair> pairs;
  pairs.reserve(static_cast<size_t>(dataset.row_count()));
  size_t bytes = 0;
  for (int64_t row = 0; row < dataset.row_count(); ++row) {
    const formats::Record record = dataset.RecordAt(row);
    engine::TextPair& pair = pairs.emplace_back();
    for (const auto& [pattern, text] : {std::make_pair(&input, &pair.input), std::make_pair(&target, &pair.target)}) {
      absl::StatusOr<std::string> rendered = pattern->Render(record);
      if (!rendered.ok()) {
        const std::string place = absl::StrCat("row ", row + 1);
        return TenonError(GetReason(rendered.status()),
                          absl::StrCat(place, ": ", std::string(rendered.status().message())), place);
      }
      *text = *std::move(rendered);
      bytes += text->size();
      if (bytes > kMaxTextBytes) {
        return TenonError(Reason::kTextTooLarge,
                          absl::StrCat("the template makes more than ", kMaxTextBytes >> 30, " GiB of text of ",
                                       dataset.row_count(), " rows"),
                          "text_template");
      }
    }
  }
  return pairs;
}

}  // namespace tenon::link
