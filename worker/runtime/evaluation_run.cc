#include "worker/runtime/evaluation_run.h"

#include <algorithm>
#include <numeric>
#include <unordered_map>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/formats/status.h"
#include "worker/engine/infer.h"
#include "worker/runtime/check_finite.h"

namespace tenon::runtime {

EvaluationRun::EvaluationRun(EvalJob job, EvalCallbacks callbacks, int64_t slice_tokens, Parts parts)
    : EvaluationJob(job.base_digest, job.adapter_digests, /*host_only=*/false, std::move(parts)),
      job_(std::move(job)),
      callbacks_(std::move(callbacks)),
      slice_tokens_(slice_tokens) {}

absl::Status EvaluationRun::MapLabels(const formats::TenonConfig& config) {
  std::unordered_map<std::string, int64_t> index;
  for (size_t i = 0; i < config.labels.size(); ++i) index[config.labels[i]] = static_cast<int64_t>(i);
  truth_.assign(job_.rows.size(), {});
  for (size_t row = 0; row < job_.rows.size(); ++row) {
    for (const std::string& label : job_.row_labels[row]) {
      const auto found = index.find(label);
      if (found == index.end()) {
        return TenonError(Reason::kLabelUnknown,
                          absl::StrCat("row ", row + 1, ": the adapter has no label `", label, "`"),
                          absl::StrCat("row ", row + 1));
      }
      truth_[row].push_back(found->second);
    }
    if (!config.multi_label && truth_[row].size() != 1) {
      return TenonError(
          Reason::kDatasetInvalid,
          absl::StrCat("row ", row + 1, " has ", truth_[row].size(), " labels; the adapter gives each text one"),
          absl::StrCat("row ", row + 1));
    }
  }
  return absl::OkStatus();
}

absl::Status EvaluationRun::CheckValues(const formats::TenonConfig& config) const {
  for (size_t row = 0; row < job_.rows.size(); ++row) {
    if (job_.rows[row].values.size() == config.labels.size()) continue;
    return TenonError(Reason::kDatasetInvalid,
                      absl::StrCat("row ", row + 1, " has ", job_.rows[row].values.size(),
                                   " numbers; the adapter gives each text ", config.labels.size()),
                      absl::StrCat("row ", row + 1));
  }
  return absl::OkStatus();
}

absl::Status EvaluationRun::Prepare(const Residency::Host& host) {
  if (host == nullptr || host->num_labels() == 0) {
    return TenonError(Reason::kNoClassifier, "the adapter has no classification head");
  }
  const formats::TenonConfig& config = host->config();
  RETURN_IF_ERROR(config.regression ? CheckValues(config) : MapLabels(config));
  const int64_t limit = engine::MaxInputTokens(*parts().base, host.get(), job_.max_input_tokens);
  if (limit != encoded_with_) {
    encodings_.clear();
    for (const engine::LabelledText& row : job_.rows) {
      if (cancelled()) break;  // the next slice ends the job
      encodings_.push_back(parts().base->tokenizer().EncodeRow(row.text, row.text_pair, limit));
    }
    encodings_.resize(job_.rows.size());
    encoded_with_ = limit;
    order_.resize(job_.rows.size());
    std::iota(order_.begin(), order_.end(), 0);
    std::stable_sort(order_.begin(), order_.end(),
                     [&](size_t a, size_t b) { return encodings_[a].ids.size() > encodings_[b].ids.size(); });
  }
  cursor_ = 0;
  classes_.reset();
  numbers_.reset();
  const auto labels = static_cast<int64_t>(config.labels.size());
  if (config.regression) {
    numbers_.emplace(labels);
  } else {
    classes_.emplace(labels, config.multi_label);
  }
  return absl::OkStatus();
}

absl::StatusOr<bool> EvaluationRun::RunRows(const Residency::Device& adapter) {
  std::vector<engine::InferRow> inputs;
  int64_t tokens = 0;
  const size_t first = cursor_;
  while (cursor_ < order_.size()) {
    const engine::Encoding& row = encodings_[order_[cursor_]];
    tokens += static_cast<int64_t>(row.ids.size()) + adapter->host().virtual_tokens();
    if (!inputs.empty() && tokens > slice_tokens_) break;
    inputs.push_back({.ids = &row.ids,
                      .second_type = row.second_type,
                      .adapter = adapter.get(),
                      .output = engine::Output::kProbabilities});
    ++cursor_;
  }
  if (!inputs.empty()) {
    ASSIGN_OR_RETURN(const auto values, engine::Infer(*parts().base, inputs));
    for (size_t i = 0; i < values.size(); ++i) {
      const size_t row = order_[first + i];
      RETURN_IF_ERROR(CheckFinite(values[i], absl::StrCat("row ", row + 1)));
      if (numbers_.has_value()) {
        numbers_->Add(job_.rows[row].values, values[i]);
      } else {
        classes_->Add(truth_[row], values[i]);
      }
    }
  }
  if (callbacks_.progress) {
    const size_t rows = job_.rows.size();
    callbacks_.progress(static_cast<int64_t>(models_done() * rows + cursor_), static_cast<int64_t>(models() * rows));
  }
  return cursor_ == order_.size();
}

absl::Status EvaluationRun::Count(const Residency::Host& host) {
  results_.emplace_back(host->config(), numbers_.has_value() ? HeadScores(numbers_->Finish()) : classes_->Finish());
  return absl::OkStatus();
}

void EvaluationRun::Report(const absl::Status& status) {
  if (status.ok()) {
    callbacks_.done(results_);
  } else {
    callbacks_.done(status);
  }
}

}  // namespace tenon::runtime
