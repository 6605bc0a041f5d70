#include "worker/runtime/seq2seq_evaluation.h"

#include <utility>

#include "common/formats/status.h"
#include "worker/runtime/generation_plan.h"
#include "worker/runtime/seq2seq_rows.h"

namespace tenon::runtime {

Seq2SeqEvaluation::Seq2SeqEvaluation(Seq2SeqEvalJob job, Seq2SeqEvalCallbacks callbacks, const Limits& limits,
                                     Parts parts)
    : EvaluationJob(job.base_digest, job.adapter_digests, /*host_only=*/true, std::move(parts)),
      job_(std::move(job)),
      callbacks_(std::move(callbacks)),
      limits_(limits) {}

absl::StatusOr<engine::GenerationPlan> Seq2SeqEvaluation::Plan() const {
  ASSIGN_OR_RETURN(engine::GenerationPlan plan, PlanGeneration(*parts().base, {.options = job_.options,
                                                                               .defaults = {},
                                                                               .bad_words = job_.bad_words,
                                                                               .max_lines = limits_.decoder.max_lines,
                                                                               .stream = false}));
  if (plan.num_return_sequences > 1) {
    return TenonError(Reason::kFieldInvalid, "an evaluation looks at one text a row", "num_return_sequences");
  }
  return plan;
}

absl::Status Seq2SeqEvaluation::Prepare(const Residency::Host& host) {
  const engine::Base& base = *parts().base;
  if (!base.generates()) {
    return TenonError(Reason::kNotGenerative, "the base encodes texts; it does not write any", "base");
  }
  if (base.decoder_only()) {
    return TenonError(Reason::kUnsupported,
                      "the base goes on from a prompt; written texts of an encoder-decoder are "
                      "what is measured",
                      "base");
  }
  if (job_.max_target_tokens < 1) {
    return TenonError(Reason::kFieldInvalid, "max_target_tokens must be at least 1", "max_target_tokens");
  }
  ASSIGN_OR_RETURN(engine::GenerationPlan plan, Plan());
  ASSIGN_OR_RETURN(evaluator_,
                   engine::Seq2SeqEvaluator::Create({.labels = job_.labels, .use_stemmer = job_.use_stemmer}));
  ASSIGN_OR_RETURN(std::vector<Seq2SeqInput> rows,
                   ReadSeq2SeqRows(job_, base, host.get(), *evaluator_, [this] { return cancelled(); }));
  Residency::Device adapter;
  if (host != nullptr) {
    ASSIGN_OR_RETURN(adapter, engine::DeviceAdapter::Place(host, base));
  }
  pass_.emplace(Seq2SeqPass::Model{.base = parts().base,
                                   .adapter = std::move(adapter),
                                   .plan = std::move(plan),
                                   .seeded = job_.options.seed.has_value()},
                std::move(rows), limits_);
  return absl::OkStatus();
}

absl::StatusOr<bool> Seq2SeqEvaluation::RunRows(const Residency::Device&) {
  const int64_t before = pass_->rows_done();
  RETURN_IF_ERROR(pass_->RunSlice());
  if (callbacks_.progress && pass_->rows_done() > before) {
    const auto rows = static_cast<int64_t>(job_.rows.size());
    callbacks_.progress(static_cast<int64_t>(models_done()) * rows + pass_->rows_done(),
                        static_cast<int64_t>(models()) * rows);
  }
  return pass_->done();
}

absl::Status Seq2SeqEvaluation::Count(const Residency::Host&) {
  const std::vector<engine::Seq2SeqRow> rows = pass_->Take();
  pass_.reset();
  for (const engine::Seq2SeqRow& row : rows) {
    if (cancelled()) return TenonError(Reason::kCancelled, "the job was cancelled");
    evaluator_->Add(row);
  }
  results_.push_back(evaluator_->Finish());
  return absl::OkStatus();
}

void Seq2SeqEvaluation::Report(const absl::Status& status) {
  if (status.ok()) {
    callbacks_.done(results_);
  } else {
    callbacks_.done(status);
  }
}

}  // namespace tenon::runtime
