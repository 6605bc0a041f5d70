// Dense passage retrieval's encoders of questions and of contexts (Karpukhin et al., 2020): a BERT within a model of
// theirs, whose vector is the state of [CLS], in some through a linear layer.
#include <string>

#include "absl/strings/str_cat.h"
#include "common/formats/encoder_family.h"
#include "common/formats/json_fields.h"

namespace tenon::formats {
namespace {

constexpr char kQuestions[] = "question_encoder.", kContexts[] = "ctx_encoder.", kBert[] = "bert_model.";

void ReadDpr(JsonFields& fields, EncoderConfig& config) {
  std::string model;
  for (const std::string& name : config.architectures) {
    if (name == "DPRQuestionEncoder") model = kQuestions;
    if (name == "DPRContextEncoder") model = kContexts;
  }
  if (model.empty()) {
    fields.Unsupported("architectures", "names neither DPRQuestionEncoder nor DPRContextEncoder, which are supported");
  }
  config.plain_prefix = model + kBert;
  config.projection_dim = fields.Int("projection_dim", 0, 0, 65'536);
  if (config.projection_dim > 0) config.projection = model + "encode_proj";
}

}  // namespace

EncoderFamily DprFamily() {
  EncoderFamily family;
  family.model_type = "dpr";
  family.plain_class = "DPRQuestionEncoder";
  family.plain_prefixes = {absl::StrCat(kQuestions, kBert), absl::StrCat(kContexts, kBert)};
  family.in_adapter_hub = false;
  family.defaults.sentence.pooling = Pooling::kCls;
  family.read_more = ReadDpr;
  return family;
}

}  // namespace tenon::formats
