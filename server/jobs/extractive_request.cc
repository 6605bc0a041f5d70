#include "server/jobs/extractive_request.h"

#include <string>

#include "absl/strings/str_cat.h"
#include "common/formats/adapter_config.h"
#include "common/formats/status.h"

namespace tenon::server {

absl::Status NormalizeExtractive(const v1::FinetuneJob& requested, v1::FinetuneJob& job) {
  const std::string path = "finetune_job.sentence_scorer";
  if (job.task() != v1::TASK_EXTRACTIVE_SUMMARIZATION) {
    if (!requested.has_sentence_scorer()) return absl::OkStatus();
    return TenonError(Reason::kFieldInvalid, path + " is for TASK_EXTRACTIVE_SUMMARIZATION", path);
  }
  if (job.method() == v1::METHOD_FULL) {
    return TenonError(Reason::kUnsupported,
                      "METHOD_FULL makes a base, which would not say that it scores sentences; "
                      "TASK_EXTRACTIVE_SUMMARIZATION takes every other method",
                      "finetune_job.method");
  }
  v1::SentenceScorerOptions& scorer = *job.mutable_sentence_scorer();
  scorer = requested.sentence_scorer();
  if (!scorer.has_neighbours()) scorer.set_neighbours(static_cast<int32_t>(formats::SentenceScorer().neighbours));
  if (scorer.neighbours() < 0 || scorer.neighbours() > formats::SentenceScorer::kMostNeighbours) {
    return TenonError(Reason::kOptionInvalid,
                      absl::StrCat("neighbours is ", scorer.neighbours(), "; it must be from 0 to ",
                                   formats::SentenceScorer::kMostNeighbours),
                      path + ".neighbours");
  }
  // Few sentences belong to a summary: a model that takes none of them is accurate.
  if (job.training().metric_for_best().empty()) job.mutable_training()->set_metric_for_best("loss");
  return absl::OkStatus();
}

}  // namespace tenon::server
