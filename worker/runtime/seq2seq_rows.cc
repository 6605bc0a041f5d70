#include "worker/runtime/seq2seq_rows.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/formats/status.h"

namespace tenon::runtime {
namespace {

absl::StatusOr<formats::TextTemplate> TemplateFor(const Seq2SeqEvalJob& job, const engine::HostAdapter* adapter) {
  if (job.text_template.has_value()) return *job.text_template;
  if (adapter != nullptr && adapter->config().text_template.has_value()) return *adapter->config().text_template;
  return TenonError(Reason::kFieldRequired,
                    absl::StrCat("a template is needed: the ", adapter == nullptr ? "base" : "adapter", " has none"),
                    "text_template");
}

}  // namespace

absl::Status OfRow(const absl::Status& status, size_t row) {
  if (status.ok()) return status;
  const std::string name = absl::StrCat("row ", row + 1);
  return TenonError(GetReason(status), absl::StrCat(name, ": ", std::string(status.message())), name);
}

absl::StatusOr<std::vector<Seq2SeqInput>> ReadSeq2SeqRows(const Seq2SeqEvalJob& job, const engine::Base& base,
                                                          const engine::HostAdapter* adapter,
                                                          const engine::Seq2SeqEvaluator& evaluator,
                                                          const std::function<bool()>& cancelled) {
  ASSIGN_OR_RETURN(const formats::TextTemplate text_template, TemplateFor(job, adapter));
  ASSIGN_OR_RETURN(const auto input, formats::TextPattern::Parse(text_template.input, "text_template.input"));
  ASSIGN_OR_RETURN(const auto target, formats::TextPattern::Parse(text_template.target, "text_template.target"));
  const int64_t limit = engine::MaxInputTokens(base, adapter, job.max_input_tokens);
  // A target stands behind the token that the decoder starts with, and its last one is never read.
  const int64_t positions = base.generation_limits().max_positions;
  const int64_t target_limit = positions > 0 ? std::min(job.max_target_tokens, positions) : job.max_target_tokens;
  std::vector<Seq2SeqInput> rows;
  for (size_t i = 0; i < job.rows.size(); ++i) {
    if (cancelled()) return TenonError(Reason::kCancelled, "the job was cancelled");
    const auto text = input.Render(job.rows[i]);
    if (!text.ok()) return OfRow(text.status(), i);
    auto reference = target.Render(job.rows[i]);
    if (!reference.ok()) return OfRow(reference.status(), i);
    RETURN_IF_ERROR(OfRow(evaluator.CheckReference(*reference), i));
    Seq2SeqInput& row = rows.emplace_back();
    row.source = base.generative_tokenizer().Encode(*text, limit).ids;
    row.target = base.generative_tokenizer().Encode(*reference, target_limit).ids;
    row.reference = *std::move(reference);
  }
  return rows;
}

}  // namespace tenon::runtime
