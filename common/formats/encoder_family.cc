#include "common/formats/encoder_family.h"

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"

namespace tenon::formats {
namespace {

// `embeddings.word_embeddings`, `encoder.layer.`, `pooler.dense`: what stands before the first dot, and that.
std::string Root(const std::string& name) { return name.substr(0, name.find('.') + 1); }

}  // namespace

LayerNames EncoderFamily::Layer(int64_t index) const {
  LayerNames names = layer;
  const std::string before = absl::StrCat(layer_prefix, index, ".");
  for (std::string* name : {&names.query, &names.key, &names.value, &names.attention_output, &names.attention_norm,
                            &names.intermediate, &names.output, &names.output_norm}) {
    *name = before + *name;
  }
  return names;
}

bool EncoderFamily::OwnsTensor(const std::string& name) const {
  // A count that old files keep: 0, 1, 2, ...
  if (absl::EndsWith(name, "position_ids")) return false;
  const std::string root = Root(name);
  return !root.empty() && (root == Root(embeddings.words) || root == Root(layer_prefix) || root == Root(pooler));
}

bool EncoderFamily::IsEmbedding(const std::string& name) const { return Root(name) == Root(embeddings.words); }

std::string EncoderFamily::PrefixOf(const std::string& full_name) const {
  if (!task_prefix.empty() && absl::StartsWith(full_name, task_prefix)) return task_prefix;
  for (const std::string& prefix : plain_prefixes) {
    if (absl::StartsWith(full_name, prefix)) return prefix;
  }
  return "";
}

std::string EncoderFamily::ModelClass(HeadKind kind) const {
  if (kind == HeadKind::kSequence || head.model_class.empty()) return head.model_class;
  return absl::StrCat(absl::StripSuffix(head.model_class, "ForSequenceClassification"),
                      kind == HeadKind::kTokens ? "ForTokenClassification" : "ForQuestionAnswering");
}

HeadKind HeadOfTask(const std::string& task) {
  return task == "token_classification" ? HeadKind::kTokens
         : task == "question_answering" ? HeadKind::kAnswers
                                        : HeadKind::kSequence;
}

HeadKind HeadOfPeftTask(const std::string& task_type) {
  return task_type == "TOKEN_CLS"      ? HeadKind::kTokens
         : task_type == "QUESTION_ANS" ? HeadKind::kAnswers
                                       : HeadKind::kSequence;
}

const char* TaskOfHead(HeadKind kind) {
  return kind == HeadKind::kTokens    ? "token_classification"
         : kind == HeadKind::kAnswers ? "question_answering"
                                      : "sequence_classification";
}

const char* PeftTaskOfHead(HeadKind kind) {
  return kind == HeadKind::kTokens ? "TOKEN_CLS" : kind == HeadKind::kAnswers ? "QUESTION_ANS" : "SEQ_CLS";
}

bool IsPeftHeadTask(const std::string& task_type) { return task_type == PeftTaskOfHead(HeadOfPeftTask(task_type)); }

std::vector<std::string> PeftHeadNames(HeadKind kind) {
  if (kind == HeadKind::kAnswers) return {"qa_outputs"};
  return {kClassifier, "score"};
}

std::vector<std::string> AnswerLabels() { return {"start", "end"}; }

std::vector<HeadModule> HeadModules(const EncoderFamily& family, HeadKind kind) {
  const EncoderHead& head = family.head;
  if (head.model_class.empty()) return {};
  if (kind != HeadKind::kSequence) return {{kClassifier, kind == HeadKind::kTokens ? kClassifier : "qa_outputs"}};
  std::vector<HeadModule> modules = {{kClassifier, head.output}};
  if (!head.dense_in_encoder) modules.push_back({head.dense, head.dense});
  return modules;
}

std::string FindPrefix(const EncoderConfig& config, const std::function<bool(const std::string& name)>& has) {
  const std::string& prefix = config.family->task_prefix;
  const bool with_task = has(absl::StrCat(prefix, config.family->embeddings.words, ".weight"));
  return with_task ? prefix : config.plain_prefix;
}

std::string ModernName(absl::string_view name) {
  const absl::string_view layer = absl::StripSuffix(absl::StripSuffix(name, ".gamma"), ".beta");
  if (layer.size() == name.size() || !absl::EndsWith(layer, "LayerNorm")) return std::string(name);
  return absl::StrCat(layer, absl::EndsWith(name, ".gamma") ? ".weight" : ".bias");
}

}  // namespace tenon::formats
