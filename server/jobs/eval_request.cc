#include "server/jobs/eval_request.h"

#include <string>

#include "common/answer_options.h"
#include "common/formats/status.h"
#include "common/ids.h"
#include "server/jobs/seq2seq_request.h"

namespace tenon::server {
namespace {

constexpr int kMaxAdapters = 64;
constexpr int kMaxCutOff = 1000;

absl::Status SetName(const std::string& collection, const std::string& field, std::string* name) {
  if (name->empty()) return TenonError(Reason::kFieldRequired, field + " is required", field);
  ASSIGN_OR_RETURN(const std::string id, ParseName(collection, *name, field));
  *name = collection + "/" + id;
  return absl::OkStatus();
}

absl::Status CheckClassification(v1::ClassificationEval& eval) {
  const std::string prefix = "eval_job.classification.";
  if (eval.adapters().empty()) {
    return TenonError(Reason::kFieldRequired, "at least one adapter is required", prefix + "adapters");
  }
  if (eval.adapters_size() > kMaxAdapters) {
    return TenonError(Reason::kFieldInvalid, "at most " + std::to_string(kMaxAdapters) + " adapters are allowed",
                      prefix + "adapters");
  }
  for (const std::string& adapter : eval.adapters()) {
    RETURN_IF_ERROR(ParseAdapterName(adapter, prefix + "adapters").status());
  }
  if (eval.max_input_tokens() != 0 && eval.max_input_tokens() < 3) {
    return TenonError(Reason::kFieldInvalid, "max_input_tokens must be 3 or above, or absent",
                      prefix + "max_input_tokens");
  }
  if (eval.has_answers()) {
    RETURN_IF_ERROR(CheckAnswerOptions(eval.answers(), prefix + "answers"));
    if (eval.answers().top_k() > 1) {
      return TenonError(Reason::kFieldInvalid, "the best answer alone is measured", prefix + "answers.top_k");
    }
  }
  return SetName("datasets", prefix + "dataset", eval.mutable_dataset());
}

absl::Status CheckRetrieval(v1::RetrievalEval& eval) {
  const std::string prefix = "eval_job.retrieval.";
  RETURN_IF_ERROR(SetName("collections", prefix + "collection", eval.mutable_collection()));
  RETURN_IF_ERROR(SetName("datasets", prefix + "queries", eval.mutable_queries()));
  RETURN_IF_ERROR(SetName("datasets", prefix + "qrels", eval.mutable_qrels()));
  for (const int k : eval.ks()) {
    if (k >= 1 && k <= kMaxCutOff) continue;
    return TenonError(Reason::kFieldInvalid, "a cut-off must be from 1 to " + std::to_string(kMaxCutOff),
                      prefix + "ks");
  }
  if (eval.ks().empty()) {
    for (const int k : {1, 10, 100}) eval.add_ks(k);
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<v1::EvalJob> NormalizeEval(const v1::EvalJob& requested) {
  v1::EvalJob job;
  switch (requested.subject_case()) {
    case v1::EvalJob::kClassification:
      *job.mutable_classification() = requested.classification();
      RETURN_IF_ERROR(CheckClassification(*job.mutable_classification()));
      return job;
    case v1::EvalJob::kRetrieval:
      *job.mutable_retrieval() = requested.retrieval();
      RETURN_IF_ERROR(CheckRetrieval(*job.mutable_retrieval()));
      return job;
    case v1::EvalJob::kSeq2Seq:
      *job.mutable_seq2seq() = requested.seq2seq();
      RETURN_IF_ERROR(NormalizeSeq2SeqEval(*job.mutable_seq2seq()));
      return job;
    default:
      return TenonError(Reason::kFieldRequired, "classification, retrieval or seq2seq is required", "eval_job.subject");
  }
}

}  // namespace tenon::server
