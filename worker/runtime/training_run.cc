#include "worker/runtime/training_run.h"

#include <system_error>
#include <utility>
#include <variant>

#include "absl/strings/str_cat.h"
#include "common/formats/status.h"

namespace tenon::runtime {
namespace {

absl::Status MakeEmptyFolder(const std::filesystem::path& folder) {
  std::error_code error;
  std::filesystem::remove_all(folder, error);
  std::filesystem::create_directories(folder, error);
  if (!error) return absl::OkStatus();
  return TenonError(Reason::kDiskFull, absl::StrCat("the worker cannot make a folder: ", error.message()));
}

}  // namespace

TrainingRun::TrainingRun(TrainJob job, TrainCallbacks callbacks, Parts parts)
    : job_(std::move(job)), callbacks_(std::move(callbacks)), parts_(std::move(parts)) {}

void TrainingRun::Start() {
  // Weak: a job that is cancelled while it waits must not hold its rows and its base until its turn would have come.
  parts_.preparer->Post([weak = weak_from_this()] {
    if (const auto self = weak.lock()) self->Prepare();
  });
}

void TrainingRun::Prepare() {
  if (!Move(State::kWaiting, State::kPreparing)) return;  // was cancelled before its turn
  if (const absl::Status status = MakeTrainer(); !status.ok()) return Finish(status);
  if (const std::string notice = trainer_->notice(); !notice.empty() && callbacks_.notice) callbacks_.notice(notice);
  MoveTo(State::kRunning);
}

absl::Status TrainingRun::MakeTrainer() {
  RETURN_IF_ERROR(MakeRows());
  ASSIGN_OR_RETURN(trainer_, engine::Trainer::Create(parts_.base, job_.options, std::move(job_.data), job_.checkpoint,
                                                     std::nullopt, [this] { return cancelled_.load(); }));
  return absl::OkStatus();
}

absl::Status TrainingRun::MakeRows() {
  const auto cancelled = [this] { return cancelled_.load(); };
  if (!job_.data.train_questions.empty() && job_.options_for != nullptr) {
    ASSIGN_OR_RETURN(const int64_t rows,
                     engine::Trainer::CountWindows(*parts_.base, job_.options, job_.data.train_questions, cancelled));
    ASSIGN_OR_RETURN(job_.options, job_.options_for(rows));
  }
  if (!job_.scorer.has_value()) return absl::OkStatus();
  ASSIGN_OR_RETURN(const engine::SentenceSplitter splitter, engine::SentenceSplitter::Make());
  ASSIGN_OR_RETURN(engine::ScorerTraining made,
                   engine::MakeScorerTraining(*job_.scorer, splitter, parts_.base->tokenizer().separator(), cancelled));
  job_.data = std::move(made.data);
  if (!made.notice.empty() && callbacks_.notice) callbacks_.notice(made.notice);
  job_.scorer.reset();
  if (job_.options_for == nullptr) return absl::OkStatus();
  ASSIGN_OR_RETURN(job_.options, job_.options_for(static_cast<int64_t>(job_.data.train.size())));
  return absl::OkStatus();
}

void TrainingRun::MoveTo(State state) {
  {
    absl::MutexLock lock(&mutex_);
    state_ = state;
  }
  parts_.loop->Wake();
}

bool TrainingRun::Move(State from, State to) {
  absl::MutexLock lock(&mutex_);
  if (state_ != from) return false;
  state_ = to;
  return true;
}

bool TrainingRun::Ready() {
  absl::MutexLock lock(&mutex_);
  return state_ == State::kRunning || (state_ == State::kWaiting && cancelled_);
}

bool TrainingRun::finished() const {
  absl::MutexLock lock(&mutex_);
  return state_ == State::kFinished;
}

void TrainingRun::Cancel() {
  cancelled_ = true;
  parts_.loop->Wake();
}

void TrainingRun::RunSlice() {
  if (cancelled_) {
    // Unless the preparing thread has taken it since Ready: it sees for itself then.
    const bool here = Move(State::kWaiting, State::kPublishing) || Move(State::kRunning, State::kPublishing);
    if (here) Finish(TenonError(Reason::kCancelled, "the job was cancelled"));
    return;
  }
  absl::StatusOr<std::optional<engine::TrainUpdate>> update = trainer_->RunSlice();
  if (!update.ok()) return Finish(update.status());
  if (!update->has_value()) return;
  if (const auto* due = std::get_if<engine::CheckpointDue>(&**update)) {
    MoveTo(State::kPublishing);
    parts_.publisher->Post([self = shared_from_this(), step = due->step] { self->PublishCheckpoint(step); });
    return;
  }
  if (callbacks_.update) callbacks_.update(**update);
  if (!std::holds_alternative<engine::TrainDone>(**update)) return;
  MoveTo(State::kPublishing);
  parts_.publisher->Post([self = shared_from_this()] { self->PublishResult(); });
}

void TrainingRun::PublishCheckpoint(int64_t step) {
  if (const absl::Status status = SaveAndPublish(step); !status.ok()) return Finish(status);
  MoveTo(State::kRunning);
}

absl::Status TrainingRun::SaveAndPublish(int64_t step) {
  const std::filesystem::path folder = parts_.scratch / absl::StrCat("checkpoint-", step);
  RETURN_IF_ERROR(MakeEmptyFolder(folder));
  RETURN_IF_ERROR(trainer_->SaveCheckpoint(folder));
  const absl::Status status = callbacks_.checkpoint ? callbacks_.checkpoint(step, folder) : absl::OkStatus();
  std::error_code ignored;
  std::filesystem::remove_all(folder, ignored);
  return status;
}

absl::StatusOr<std::filesystem::path> TrainingRun::Export() {
  const std::filesystem::path folder = parts_.scratch / "export";
  RETURN_IF_ERROR(MakeEmptyFolder(folder));
  RETURN_IF_ERROR(trainer_->Export(folder, job_.name));
  return folder;
}

void TrainingRun::PublishResult() { Finish(Export()); }

void TrainingRun::Finish(absl::StatusOr<std::filesystem::path> result) {
  MoveTo(State::kPublishing);
  parts_.publisher->Post([self = shared_from_this(), result = std::move(result)]() mutable {
    if (self->cancelled_ && result.ok()) result = TenonError(Reason::kCancelled, "the job was cancelled");
    self->trainer_.reset();  // its memory goes before anybody hears that the job is over
    self->parts_.on_finished();
    self->callbacks_.done(std::move(result));
    std::error_code ignored;
    std::filesystem::remove_all(self->parts_.scratch, ignored);
    self->MoveTo(State::kFinished);
  });
}

}  // namespace tenon::runtime
