// BERT (Devlin et al., 2018), and what was made of it under the same names: MiniLM, E5, BGE.
#include "common/formats/encoder_family.h"

namespace tenon::formats {

EncoderFamily BertFamily() {
  EncoderFamily family;
  family.model_type = "bert";
  family.plain_class = "BertModel";
  family.task_prefix = "bert.";
  family.pooler = "pooler.dense";
  family.head = {.model_class = "BertForSequenceClassification", .dense = family.pooler, .dense_in_encoder = true};
  return family;
}

}  // namespace tenon::formats
