#include "worker/runtime/call_queue.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/formats/status.h"

namespace tenon::runtime {

void CallQueue::AddBase(const std::string& digest, std::shared_ptr<const engine::Base> base) {
  absl::MutexLock lock(&mutex_);
  bases_.insert_or_assign(digest, BaseEntry{next_base_++, std::move(base)});
}

void CallQueue::RemoveBase(const std::string& digest) {
  std::shared_ptr<const engine::Base> base;  // destroyed outside the lock
  absl::MutexLock lock(&mutex_);
  const auto found = bases_.find(digest);
  if (found == bases_.end()) return;
  base = std::move(found->second.base);
  bases_.erase(found);
}

int64_t CallQueue::queued_rows() const {
  absl::MutexLock lock(&mutex_);
  return WaitingRows();
}

int64_t CallQueue::queued_tokens() const {
  absl::MutexLock lock(&mutex_);
  return WaitingTokens() + estimated_;
}

int64_t CallQueue::Estimate(const std::vector<std::string>& texts) {
  int64_t tokens = 0;
  for (const std::string& text : texts) tokens += std::max<int64_t>(1, static_cast<int64_t>(text.size() / 4));
  return tokens;
}

absl::Duration CallQueue::QueueTime(const Call& call) const {
  return call.started.value_or(parts_.clock->Now()) - call.submitted;
}

uint64_t CallQueue::Enter(const CallPtr& call) {
  call->id = (*parts_.next_call)++;
  call->submitted = parts_.clock->Now();
  absl::MutexLock lock(&mutex_);
  calls_[call->id] = call;
  if (const absl::Status status = Admit(*call); !status.ok()) {
    call->estimate = 0;
    End(call, status);
    return call->id;
  }
  estimated_ += call->estimate;
  if (call->deadline < absl::InfiniteFuture()) call->deadline_entry = deadlines_.emplace(call->deadline, call);
  if (!call->adapter_digest.empty()) {
    call->adapter = parts_.adapters->Want({call->base_digest, call->adapter_digest}, call->check_only);
    by_adapter_[call->adapter][call->id] = call;
  }
  Advance(call);
  // The loop sleeps until the nearest deadline that it knew of.
  if (call->deadline_entry.has_value()) parts_.loop->Wake();
  return call->id;
}

absl::Status CallQueue::Admit(Call& call) {
  const auto base = bases_.find(call.base_digest);
  if (base == bases_.end()) return TenonError(Reason::kNoWorker, "this worker does not hold the base", "base");
  call.base = base->second.base;
  call.base_number = base->second.number;
  RETURN_IF_ERROR(Check(call));
  const int64_t queued = WaitingTokens() + estimated_;
  // An empty queue takes a call of any size: the caller's own limits bound it.
  if (queued > 0 && queued + call.estimate > max_queued_tokens_) {
    return TenonError(Reason::kQueueFull, absl::StrCat("the worker's queue holds ", queued, " tokens"));
  }
  return absl::OkStatus();
}

// Moves a call on from waiting for its adapter's files.
void CallQueue::Advance(const CallPtr& call) {
  if (call->adapter != kNoAdapter) {
    call->host = parts_.adapters->HostHandle(call->adapter);
    if (call->host == nullptr) return;
  }
  if (call->check_only) return End(call, absl::OkStatus());
  if (const absl::Status status = CheckAdapter(*call); !status.ok()) return End(call, status);
  parts_.tokenizers->Post([this, call] { Tokenize(call); });
}

void CallQueue::OnAdapter(AdapterId id, const absl::Status& status) {
  {
    absl::MutexLock lock(&mutex_);
    const auto waiting = by_adapter_.find(id);
    if (waiting != by_adapter_.end()) {
      for (const auto& [call_id, call] : waiting->second) {
        if (!status.ok()) {
          End(call, status);
        } else if (call->host == nullptr) {
          Advance(call);
        }
      }
    }
  }
  parts_.loop->Wake();
}

void CallQueue::Cancel(uint64_t id) {
  CallPtr call;
  {
    absl::MutexLock lock(&mutex_);
    const auto found = calls_.find(id);
    if (found == calls_.end()) return;
    call = found->second;
    Remove(call);
  }
  if (call->adapter != kNoAdapter) parts_.adapters->Unwant(call->adapter, call->check_only);
  parts_.loop->Wake();
}

bool CallQueue::Remove(const CallPtr& call) {
  if (calls_.erase(call->id) == 0) return false;
  Forget(*call);
  Settle(*call);
  if (call->deadline_entry.has_value()) deadlines_.erase(*call->deadline_entry);
  if (const auto waiting = by_adapter_.find(call->adapter); waiting != by_adapter_.end()) {
    waiting->second.erase(call->id);
    if (waiting->second.empty()) by_adapter_.erase(waiting);
  }
  return true;
}

void CallQueue::Answer(const CallPtr& call, const absl::Status& status) {
  if (call->adapter != kNoAdapter) parts_.adapters->Unwant(call->adapter, call->check_only);
  Respond(*call, status);
}

void CallQueue::End(const CallPtr& call, const absl::Status& status) {
  parts_.loop->Post([this, call, status] {
    {
      absl::MutexLock lock(&mutex_);
      if (!Remove(call)) return;
    }
    Answer(call, status);
  });
}

bool CallQueue::Ready(absl::Time now) {
  parts_.adapters->Pump();
  std::vector<CallPtr> late;
  bool ready = false;
  {
    absl::MutexLock lock(&mutex_);
    while (!deadlines_.empty() && deadlines_.begin()->first <= now) {
      late.push_back(deadlines_.begin()->second);
      Remove(late.back());
    }
    ready = HasReady(now);
  }
  for (const CallPtr& call : late) {
    Answer(call, TenonError(Reason::kDeadlineExceeded, "the deadline passed before the rows were computed"));
  }
  return ready;
}

absl::Time CallQueue::NextWake(absl::Time now) {
  const absl::Time rotation = parts_.adapters->NextRotation(now);
  absl::MutexLock lock(&mutex_);
  return deadlines_.empty() ? rotation : std::min(rotation, deadlines_.begin()->first);
}

}  // namespace tenon::runtime
