// RoBERTa (Liu et al., 2019): BERT's network with a head of its own, and
// positions that count from behind the padding token's number.
#include "absl/strings/str_cat.h"
#include "common/formats/encoder_family.h"
#include "common/formats/json_fields.h"

namespace tenon::formats {
namespace {

void ReadPositions(JsonFields& fields, EncoderConfig& config) {
  constexpr int64_t kLeastText = 3;
  config.position_offset = config.pad_token_id + 1;
  if (config.max_tokens() < kLeastText) {
    fields.Fail("max_position_embeddings",
                absl::StrCat("is ", config.max_position_embeddings,
                             "; positions count from pad_token_id + 1, which is ", config.position_offset));
  }
}

}  // namespace

EncoderFamily RobertaFamily() {
  EncoderFamily family;
  family.model_type = "roberta";
  family.plain_class = "RobertaModel";
  family.task_prefix = "roberta.";
  family.pooler = "pooler.dense";
  family.head = {.model_class = "RobertaForSequenceClassification",
                 .dense = "classifier.dense",
                 .output = "classifier.out_proj",
                 .drops_input = true};
  family.defaults.vocab_size = 50265;
  family.defaults.pad_token_id = 1;
  family.read_more = ReadPositions;
  return family;
}

}  // namespace tenon::formats
