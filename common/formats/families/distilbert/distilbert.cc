// DistilBERT (Sanh et al., 2019).
#include "common/formats/encoder_family.h"
#include "common/formats/json_fields.h"

namespace tenon::formats {
namespace {

void ReadMore(JsonFields& fields, EncoderConfig& config) {
  config.token_dropout = config.hidden_dropout_prob;
  config.answer_dropout = fields.Real("qa_dropout", 0.1, 0, 1);
  // Its positions are computed and never trained.
  if (fields.Bool("sinusoidal_pos_embds", false)) {
    fields.Unsupported("sinusoidal_pos_embds", "is true, which is not supported");
  }
}

}  // namespace

EncoderFamily DistilBertFamily() {
  EncoderFamily family;
  family.model_type = "distilbert";
  family.plain_class = "DistilBertModel";
  family.task_prefix = "distilbert.";
  family.embeddings.types = "";
  family.layer_prefix = "transformer.layer.";
  family.layer = {.query = "attention.q_lin",
                  .key = "attention.k_lin",
                  .value = "attention.v_lin",
                  .attention_output = "attention.out_lin",
                  .attention_norm = "sa_layer_norm",
                  .intermediate = "ffn.lin1",
                  .output = "ffn.lin2",
                  .output_norm = "output_layer_norm"};
  family.drops_attention_output = false;
  family.head = {.model_class = "DistilBertForSequenceClassification", .dense = "pre_classifier", .relu = true};
  family.lora_targets = {"q_lin", "v_lin"};
  family.hub = {.attention = "attention_adapters", .output = "output_adapters"};
  family.keys = {.hidden_size = "dim",
                 .layers = "n_layers",
                 .heads = "n_heads",
                 .intermediate_size = "hidden_dim",
                 .type_vocab_size = "",
                 .layer_norm_eps = "",  // 1e-12 in all of them
                 .activation = "activation",
                 .hidden_dropout = "dropout",
                 .attention_dropout = "attention_dropout",
                 .classifier_dropout = "seq_classif_dropout"};
  family.defaults.num_hidden_layers = 6;
  family.defaults.classifier_dropout = 0.2;
  family.read_more = ReadMore;
  return family;
}

}  // namespace tenon::formats
