// A family of encoders, described: what its config.json, its checkpoints, transformers, PEFT and AdapterHub call
// things, and the few ways in which its network differs. Whoever needs to know reads this and never asks which family
// it is; how to add one stands in docs/adding-a-model.md.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/string_view.h"
#include "common/formats/model_config.h"

namespace tenon::formats {

class JsonFields;

// Keys of config.json. Of one that is empty the family's default holds.
struct EncoderKeys {
  std::string hidden_size = "hidden_size", layers = "num_hidden_layers", heads = "num_attention_heads";
  std::string intermediate_size = "intermediate_size", type_vocab_size = "type_vocab_size";
  std::string layer_norm_eps = "layer_norm_eps", activation = "hidden_act";
  std::string hidden_dropout = "hidden_dropout_prob", attention_dropout = "attention_probs_dropout_prob";
  std::string classifier_dropout = "classifier_dropout";
};

struct EmbeddingNames {
  std::string words = "embeddings.word_embeddings", positions = "embeddings.position_embeddings";
  std::string types = "embeddings.token_type_embeddings";  // empty: tokens have no types
  std::string norm = "embeddings.LayerNorm";
};

// Modules of one layer; in a description, what stands behind its number.
struct LayerNames {
  std::string query = "attention.self.query", key = "attention.self.key", value = "attention.self.value";
  std::string attention_output = "attention.output.dense", attention_norm = "attention.output.LayerNorm";
  std::string intermediate = "intermediate.dense";
  std::string output = "output.dense", output_norm = "output.LayerNorm";
};

// What stands on the first token's state in transformers' sequence classifier: a dense layer of the same width, an
// activation, dropout, and the layer that makes the logits.
struct EncoderHead {
  std::string model_class;  // empty: the family has no such classifier
  std::string dense, output = "classifier";
  // The dense layer is the encoder's own pooler, frozen with it; else it belongs to the head, and is trained with it.
  bool dense_in_encoder = false;
  bool relu = false;         // the activation; else tanh
  bool drops_input = false;  // dropout before the dense layer, too
};

// Around AdapterHub's blocks: `encoder.layer.0.` + attention + `.adapters.NAME`.
struct HubPlaces {
  std::string attention = "attention.output", output = "output";
};

// Names are without what stands before the encoder. BERT's, where a family says nothing else.
struct EncoderFamily {
  std::string model_type;   // config.json's
  std::string plain_class;  // of transformers, without a head
  std::string task_prefix;  // before the encoder's names in a model with a head: `bert.`
  // Others that may stand there, in models without a head.
  std::vector<std::string> plain_prefixes;

  EmbeddingNames embeddings;
  std::string layer_prefix = "encoder.layer.";
  LayerNames layer;
  std::string pooler;                  // empty: none
  bool drops_attention_output = true;  // dropout behind attention's output layer, as behind the feed-forward part
  EncoderHead head;

  std::vector<std::string> lora_targets = {"query", "value"};  // of a job that names none
  bool in_adapter_hub = true;
  HubPlaces hub;

  EncoderKeys keys;
  EncoderConfig defaults;  // of missing keys
  // Reads and checks what else config.json says; may be empty.
  std::function<void(JsonFields& fields, EncoderConfig& config)> read_more;

  // Full names of layer `index`'s modules, from 0.
  LayerNames Layer(int64_t index) const;
  // Of modules in the encoder: whether the model with such a head has them too.
  bool InTaskModel(const std::string& module, HeadKind kind = HeadKind::kSequence) const {
    return module != pooler || (kind == HeadKind::kSequence && head.dense_in_encoder);
  }
  // Of transformers, with such a head; empty where the family has none.
  std::string ModelClass(HeadKind kind) const;
  // Whether a tensor's name (without prefix) is one of the encoder's, whatever its config says.
  bool OwnsTensor(const std::string& name) const;
  // Of such a tensor: whether it stands before the layers.
  bool IsEmbedding(const std::string& name) const;
  // The prefix that a full name has; empty: none.
  std::string PrefixOf(const std::string& full_name) const;
};

// Our own name of a head's output layer, whatever the family calls it.
inline constexpr char kClassifier[] = "classifier";

// A module that comes with a classification head and is none of the encoder's.
struct HeadModule {
  std::string key;   // ours: kClassifier, or the family's own name
  std::string name;  // in a model's or an adapter's file
};
// The output layer first. Empty without a classifier.
std::vector<HeadModule> HeadModules(const EncoderFamily& family, HeadKind kind = HeadKind::kSequence);

// By tenon.json's name of a task, and by PEFT's. Tasks without a head on an encoder are kSequence.
HeadKind HeadOfTask(const std::string& task);
HeadKind HeadOfPeftTask(const std::string& task_type);
// The other way round: `sequence_classification`, `token_classification`, `question_answering`; `SEQ_CLS`, `TOKEN_CLS`,
// `QUESTION_ANS`.
const char* TaskOfHead(HeadKind kind);
const char* PeftTaskOfHead(HeadKind kind);
// Whether PEFT's task has a head on an encoder.
bool IsPeftHeadTask(const std::string& task_type);
// Names that PEFT adds to `modules_to_save` of every adapter for such a task.
std::vector<std::string> PeftHeadNames(HeadKind kind);
// What the two outputs of a head that finds answers are: where one begins and where it ends.
std::vector<std::string> AnswerLabels();

// What stands before the encoder's tensors in a checkpoint: the task model's prefix or the plain model's, whichever
// `has` (a tensor of this full name) finds the embeddings behind.
std::string FindPrefix(const EncoderConfig& config, const std::function<bool(const std::string& name)>& has);

// LayerNorm's old names of its weight and bias, `gamma` and `beta`, as today's.
std::string ModernName(absl::string_view name);

}  // namespace tenon::formats
