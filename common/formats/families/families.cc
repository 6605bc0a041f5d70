#include "common/formats/families/families.h"

#include "absl/strings/str_cat.h"

namespace tenon::formats {

// The registration: a line for each folder beside this file, whose source defines `EncoderFamily XFamily()`.
// clang-format off
#define TENON_ENCODER_FAMILIES(FAMILY) \
  FAMILY(Bert) \
  FAMILY(DistilBert) \
  FAMILY(Dpr) \
  FAMILY(Roberta)
// clang-format on

#define TENON_DECLARE(name) EncoderFamily name##Family();
TENON_ENCODER_FAMILIES(TENON_DECLARE)
#undef TENON_DECLARE

const std::vector<EncoderFamily>& EncoderFamilies() {
#define TENON_MAKE(name) name##Family(),
  static const auto* families = new std::vector<EncoderFamily>{TENON_ENCODER_FAMILIES(TENON_MAKE)};
#undef TENON_MAKE
  return *families;
}

const EncoderFamily* FindFamily(const std::string& model_type) {
  for (const EncoderFamily& family : EncoderFamilies()) {
    if (family.model_type == model_type) return &family;
  }
  return nullptr;
}

std::string SupportedTypes() {
  std::string list;
  for (const EncoderFamily& family : EncoderFamilies())
    absl::StrAppend(&list, list.empty() ? "" : ", ", family.model_type);
  return list + " and t5";
}

}  // namespace tenon::formats
