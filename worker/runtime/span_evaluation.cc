#include "worker/runtime/span_evaluation.h"

#include <algorithm>
#include <set>
#include <string>

#include "absl/strings/str_cat.h"
#include "common/formats/status.h"
#include "worker/engine/infer.h"
#include "worker/engine/spans/tags.h"
#include "worker/runtime/check_finite.h"

namespace tenon::runtime {

SpanEvaluation::SpanEvaluation(EvalJob job, EvalCallbacks callbacks, int64_t slice_tokens, Parts parts)
    : EvaluationJob(job.base_digest, job.adapter_digests, /*host_only=*/false, std::move(parts)),
      job_(std::move(job)),
      callbacks_(std::move(callbacks)),
      slice_tokens_(slice_tokens),
      options_(job_.answers) {
  // Rows without answers are there to be found out.
  const bool unanswered = std::any_of(job_.questions.begin(), job_.questions.end(),
                                      [](const engine::AnsweredQuestion& row) { return row.answers.empty(); });
  if (unanswered && !options_.no_answer_threshold.has_value()) options_.no_answer_threshold = 0;
  options_.top_k = 1;
}

absl::Status SpanEvaluation::CheckTags(const formats::TenonConfig& config) const {
  const std::set<std::string> known(config.labels.begin(), config.labels.end());
  for (size_t row = 0; row < job_.words.size(); ++row) {
    for (const std::string& tag : job_.words[row].tags) {
      if (known.contains(tag)) continue;
      const std::string place = absl::StrCat("row ", row + 1, ", column tags");
      return TenonError(Reason::kLabelUnknown, absl::StrCat(place, ": the adapter has no tag `", tag, "`"), place);
    }
  }
  return absl::OkStatus();
}

absl::Status SpanEvaluation::CutRows(int64_t limit) {
  const engine::PlaceTokenizer* tokenizer = parts().base->tokenizer().places();
  if (tokenizer == nullptr) {
    return TenonError(Reason::kUnsupported, "the base's tokenizer does not say what its tokens stand for", "base");
  }
  tag_windows_.clear();
  answer_windows_.clear();
  order_.clear();
  for (size_t row = 0; row < rows() && !cancelled(); ++row) {  // the next slice ends the job
    if (tags()) {
      tag_windows_.push_back(engine::CutWords(*tokenizer, job_.words[row].words, limit));
      continue;
    }
    const engine::AnsweredQuestion& asked = job_.questions[row];
    ASSIGN_OR_RETURN(engine::AnswerWindows made,
                     engine::CutContext(*tokenizer, asked.question, asked.context, limit, options_.doc_stride,
                                        absl::StrCat("row ", row + 1, ", column question")));
    answer_windows_.push_back(std::move(made));
  }
  const auto add = [&](size_t row, const auto& windows) {
    for (size_t i = 0; i < windows.size(); ++i) order_.push_back({&windows[i].encoding, row, i});
  };
  for (size_t row = 0; row < tag_windows_.size(); ++row) add(row, tag_windows_[row]);
  for (size_t row = 0; row < answer_windows_.size(); ++row) add(row, answer_windows_[row].windows);
  std::stable_sort(order_.begin(), order_.end(),
                   [](const Window& a, const Window& b) { return a.encoding->ids.size() > b.encoding->ids.size(); });
  cut_with_ = limit;
  return absl::OkStatus();
}

absl::Status SpanEvaluation::Prepare(const Residency::Host& host) {
  const auto kind = tags() ? formats::HeadKind::kTokens : formats::HeadKind::kAnswers;
  if (host == nullptr || host->num_labels() == 0 || host->config().task != formats::TaskOfHead(kind)) {
    return TenonError(Reason::kNoClassifier, absl::StrCat("the adapter is not for ", formats::TaskOfHead(kind)));
  }
  if (tags()) RETURN_IF_ERROR(CheckTags(host->config()));
  const int64_t limit = engine::MaxInputTokens(*parts().base, host.get(), job_.max_input_tokens);
  if (limit != cut_with_) RETURN_IF_ERROR(CutRows(limit));
  cursor_ = 0;
  values_.assign(rows(), {});
  missing_.assign(rows(), 0);
  for (const Window& window : order_) ++missing_[window.row];
  for (size_t row = 0; row < rows(); ++row) values_[row].resize(missing_[row]);
  tags_ = {};
  answers_ = {};
  return absl::OkStatus();
}

absl::StatusOr<bool> SpanEvaluation::RunRows(const Residency::Device& adapter) {
  std::vector<engine::InferRow> inputs;
  int64_t tokens = 0;
  const size_t first = cursor_;
  for (; cursor_ < order_.size(); ++cursor_) {
    const engine::Encoding& row = *order_[cursor_].encoding;
    tokens += static_cast<int64_t>(row.ids.size()) + adapter->host().virtual_tokens();
    if (!inputs.empty() && tokens > slice_tokens_) break;
    inputs.push_back({.ids = &row.ids,
                      .second_type = row.second_type,
                      .adapter = adapter.get(),
                      .output = engine::Output::kTokenLogits});
  }
  if (!inputs.empty()) {
    ASSIGN_OR_RETURN(auto values, engine::Infer(*parts().base, inputs));
    for (size_t i = 0; i < values.size(); ++i) {
      const Window& window = order_[first + i];
      RETURN_IF_ERROR(CheckFinite(values[i], absl::StrCat("row ", window.row + 1)));
      values_[window.row][window.index] = std::move(values[i]);
      if (--missing_[window.row] == 0) CountRow(window.row, adapter->host());
    }
  }
  if (callbacks_.progress) {
    const size_t all = order_.size();
    callbacks_.progress(static_cast<int64_t>(models_done() * all + cursor_), static_cast<int64_t>(models() * all));
  }
  return cursor_ == order_.size();
}

void SpanEvaluation::CountRow(size_t row, const engine::HostAdapter& adapter) {
  std::vector<const std::vector<float>*> values;
  for (const std::vector<float>& one : values_[row]) values.push_back(&one);
  if (tags()) {
    const std::vector<std::string>& labels = adapter.config().labels;
    const formats::TagsRow& truth = job_.words[row];
    const std::optional<engine::Crf> crf = adapter.crf();
    const auto logits = engine::WordLogits(tag_windows_[row], truth.words.size(), values, labels.size());
    tags_.Add(truth.tags, engine::TagNames(engine::ChooseTags(logits, crf.has_value() ? &*crf : nullptr), labels));
  } else {
    const engine::AnsweredQuestion& asked = job_.questions[row];
    const engine::FoundAnswers found = engine::FindAnswers(answer_windows_[row], values, options_);
    std::vector<std::string> truth;
    for (const engine::AnsweredQuestion::Answer& answer : asked.answers) truth.push_back(answer.text);
    const bool none = found.no_answer || found.best.empty();
    const engine::TextPlace place = none ? engine::TextPlace() : found.best.front().place;
    answers_.Add(truth, asked.context.substr(place.begin, place.end - place.begin));
  }
  values_[row].clear();
}

absl::Status SpanEvaluation::Count(const Residency::Host& host) {
  results_.emplace_back(host->config(), tags() ? HeadScores(tags_.Finish()) : HeadScores(answers_.Finish()));
  return absl::OkStatus();
}

void SpanEvaluation::Report(const absl::Status& status) {
  if (status.ok()) {
    callbacks_.done(results_);
  } else {
    callbacks_.done(status);
  }
}

}  // namespace tenon::runtime
