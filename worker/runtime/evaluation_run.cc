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

EvaluationRun::EvaluationRun(EvalJob job, EvalCallbacks callbacks, Parts parts)
    : job_(std::move(job)), callbacks_(std::move(callbacks)), parts_(std::move(parts)) {}

void EvaluationRun::Start() { Next(); }

// Asks for the next adapter, or ends the job.
void EvaluationRun::Next() {
  if (results_.size() == job_.adapter_digests.size()) return Finish(absl::OkStatus());
  bool here = false;
  {
    absl::MutexLock lock(&mutex_);
    if (state_ == State::kFinished) return;  // its adapter failed meanwhile
    state_ = State::kWaiting;
    adapter_ = parts_.adapters->Want({job_.base_digest, job_.adapter_digests[results_.size()]}, false);
    here = parts_.adapters->HostHandle(adapter_) != nullptr;
    if (here) state_ = State::kPreparing;
  }
  if (here) parts_.preparer->Post([self = shared_from_this()] { self->Prepare(); });
}

void EvaluationRun::OnAdapter(AdapterId id, const absl::Status& status) {
  bool prepare = false, failed = false;
  {
    absl::MutexLock lock(&mutex_);
    if (id != adapter_ || state_ == State::kFinished) return;
    failed = !status.ok();
    prepare = status.ok() && state_ == State::kWaiting;
    if (prepare) state_ = State::kPreparing;
  }
  if (prepare) parts_.preparer->Post([self = shared_from_this()] { self->Prepare(); });
  if (failed) Finish(status);
}

void EvaluationRun::Prepare() {
  if (const absl::Status status = MapRows(); !status.ok()) return Finish(status);
  {
    absl::MutexLock lock(&mutex_);
    if (state_ != State::kPreparing) return;
    state_ = State::kRunning;
  }
  parts_.loop->Wake();
}

absl::Status EvaluationRun::MapRows() {
  {
    absl::MutexLock lock(&mutex_);
    host_ = parts_.adapters->HostHandle(adapter_);
  }
  if (host_ == nullptr)
    return TenonError(Reason::kInternal, "an adapter left memory while an evaluation waited for it");
  const formats::TenonConfig& config = host_->config();
  if (host_->num_labels() == 0) return TenonError(Reason::kNoClassifier, "the adapter has no classification head");
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
  const int64_t limit = engine::MaxInputTokens(*parts_.base, host_.get(), job_.max_input_tokens);
  if (limit != encoded_with_) {
    encodings_.clear();
    for (const engine::LabelledText& row : job_.rows) {
      if (cancelled_) break;  // the next slice ends the job
      encodings_.push_back(parts_.base->tokenizer().Encode(row.text, limit));
    }
    encodings_.resize(job_.rows.size());
    encoded_with_ = limit;
    order_.resize(job_.rows.size());
    std::iota(order_.begin(), order_.end(), 0);
    std::stable_sort(order_.begin(), order_.end(),
                     [&](size_t a, size_t b) { return encodings_[a].ids.size() > encodings_[b].ids.size(); });
  }
  cursor_ = 0;
  evaluator_.emplace(static_cast<int64_t>(config.labels.size()), config.multi_label);
  return absl::OkStatus();
}

bool EvaluationRun::Ready() {
  absl::MutexLock lock(&mutex_);
  if (state_ == State::kFinished) return false;
  return cancelled_ || (state_ == State::kRunning && parts_.adapters->OnDevice(adapter_));
}

bool EvaluationRun::finished() const {
  absl::MutexLock lock(&mutex_);
  return state_ == State::kFinished;
}

void EvaluationRun::Cancel() {
  cancelled_ = true;
  parts_.loop->Wake();
}

void EvaluationRun::RunSlice() {
  if (cancelled_) return Finish(TenonError(Reason::kCancelled, "the job was cancelled"));
  AdapterId adapter;
  {
    absl::MutexLock lock(&mutex_);
    adapter = adapter_;
  }
  const Residency::Device device = parts_.adapters->DeviceHandle(adapter);
  if (device == nullptr) return;  // evicted since Ready; it is queued again
  parts_.adapters->Touch(adapter);
  if (const absl::Status status = RunBatch(device); !status.ok()) return Finish(status);
  if (callbacks_.progress) {
    callbacks_.progress(static_cast<int64_t>(results_.size() * job_.rows.size() + cursor_), total());
  }
  if (cursor_ < order_.size()) return;
  results_.emplace_back(host_->config(), evaluator_->Finish());
  LetGo();
  host_.reset();
  Next();
}

absl::Status EvaluationRun::RunBatch(const Residency::Device& device) {
  std::vector<engine::InferRow> inputs;
  int64_t tokens = 0;
  const size_t first = cursor_;
  while (cursor_ < order_.size()) {
    const std::vector<int32_t>& ids = encodings_[order_[cursor_]].ids;
    tokens += static_cast<int64_t>(ids.size()) + device->host().virtual_tokens();
    if (!inputs.empty() && tokens > parts_.slice_tokens) break;
    inputs.push_back({.ids = &ids, .adapter = device.get(), .output = engine::Output::kProbabilities});
    ++cursor_;
  }
  if (inputs.empty()) return absl::OkStatus();
  ASSIGN_OR_RETURN(const auto values, engine::Infer(*parts_.base, inputs));
  for (size_t i = 0; i < values.size(); ++i) {
    const size_t row = order_[first + i];
    RETURN_IF_ERROR(CheckFinite(values[i], absl::StrCat("row ", row + 1)));
    evaluator_->Add(truth_[row], values[i]);
  }
  return absl::OkStatus();
}

// Gives back what Next wanted, once: the device thread and the loader's may both come here.
void EvaluationRun::LetGo() {
  absl::MutexLock lock(&mutex_);
  const AdapterId adapter = std::exchange(adapter_, kNoAdapter);
  if (adapter != kNoAdapter) parts_.adapters->Unwant(adapter, false);
}

void EvaluationRun::Finish(const absl::Status& status) {
  {
    absl::MutexLock lock(&mutex_);
    if (state_ == State::kFinished) return;
    state_ = State::kFinished;
  }
  LetGo();
  parts_.publisher->Post([self = shared_from_this(), status] {
    self->parts_.on_finished();  // the id is free by the time that anybody hears of the end
    if (status.ok()) {
      self->callbacks_.done(self->results_);
    } else {
      self->callbacks_.done(status);
    }
  });
}

}  // namespace tenon::runtime
