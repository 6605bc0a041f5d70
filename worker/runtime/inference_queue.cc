#include "worker/runtime/inference_queue.h"

#include <algorithm>
#include <optional>
#include <set>

#include "absl/strings/str_cat.h"
#include "common/formats/status.h"

namespace tenon::runtime {

struct InferenceQueue::Call {
  uint64_t id = 0;
  InferenceCall in;
  Done done;
  std::shared_ptr<const engine::Base> base;
  uint64_t base_number = 0;
  AdapterId adapter = kNoAdapter;
  Residency::Host host;  // once it is in memory
  int64_t estimate = 0;  // tokens by bytes, while the true number is not known
  std::vector<engine::Encoding> encodings;
  std::vector<InferenceRow> rows;
  size_t remaining = 0;
  absl::Time submitted;
  std::optional<absl::Time> started;
  absl::Duration compute;
  std::optional<std::multimap<absl::Time, CallPtr>::iterator> deadline;

  bool check_only() const { return in.texts.empty(); }
};

InferenceQueue::InferenceQueue(const Runtime::Options& options, const Parts& parts, RuntimeObserver observer)
    : options_(options),
      parts_(parts),
      observer_(std::move(observer)),
      batcher_({.max_tokens = options.max_batch_tokens, .max_rows = options.max_batch_rows}) {}

void InferenceQueue::AddBase(const std::string& digest, std::shared_ptr<const engine::Base> base) {
  absl::MutexLock lock(&mutex_);
  bases_.insert_or_assign(digest, BaseEntry{bases_.size() + 1, std::move(base)});
}

int64_t InferenceQueue::queued_rows() const {
  absl::MutexLock lock(&mutex_);
  return batcher_.rows();
}

int64_t InferenceQueue::queued_tokens() const {
  absl::MutexLock lock(&mutex_);
  return batcher_.tokens() + estimated_;
}

uint64_t InferenceQueue::Submit(InferenceCall in, Done done) {
  const auto call = std::make_shared<Call>();
  call->in = std::move(in);
  call->done = std::move(done);
  call->submitted = parts_.clock->Now();
  absl::MutexLock lock(&mutex_);
  call->id = next_call_++;
  if (const absl::Status status = Admit(*call); !status.ok()) {
    parts_.loop->Post([call, status] { call->done(status); });
    return call->id;
  }
  calls_[call->id] = call;
  estimated_ += call->estimate;
  if (call->in.deadline < absl::InfiniteFuture()) call->deadline = deadlines_.emplace(call->in.deadline, call);
  if (!call->in.adapter_digest.empty()) {
    call->adapter = parts_.adapters->Want({call->in.base_digest, call->in.adapter_digest}, call->check_only());
    by_adapter_[call->adapter][call->id] = call;
  }
  Advance(call);
  // The loop sleeps until the nearest deadline that it knew of.
  if (call->deadline.has_value()) parts_.loop->Wake();
  return call->id;
}

absl::Status InferenceQueue::Admit(Call& call) {
  const auto base = bases_.find(call.in.base_digest);
  if (base == bases_.end()) return TenonError(Reason::kNoWorker, "this worker does not hold the base", "base");
  call.base = base->second.base;
  call.base_number = base->second.number;
  for (const std::string& text : call.in.texts) call.estimate += std::max<int64_t>(1, text.size() / 4);
  const int64_t queued = batcher_.tokens() + estimated_;
  // An empty queue takes a call of any size: the caller's own limits bound it.
  if (queued > 0 && queued + call.estimate > options_.max_queued_tokens) {
    return TenonError(Reason::kQueueFull, absl::StrCat("the worker's queue holds ", queued, " tokens"));
  }
  return absl::OkStatus();
}

// Moves a call on from waiting for its adapter's files.
void InferenceQueue::Advance(const CallPtr& call) {
  if (call->adapter != kNoAdapter) {
    call->host = parts_.adapters->HostHandle(call->adapter);
    if (call->host == nullptr) return;
  }
  const int64_t head = call->host == nullptr ? 0 : call->host->num_labels();
  absl::StatusOr<InferenceReply> reply = InferenceReply{};
  if (call->in.output != engine::Output::kEmbedding && !call->check_only() && head == 0 &&
      call->base->config().labels.empty()) {
    reply = TenonError(Reason::kNoClassifier, "the model has no classification head");
  } else if (!call->check_only()) {
    parts_.tokenizers->Post([this, call] { Tokenize(call); });
    return;
  }
  if (Remove(call)) parts_.loop->Post([this, call, reply] { Answer(call, reply); });
}

void InferenceQueue::Tokenize(const CallPtr& call) {
  const int64_t limit = engine::MaxInputTokens(*call->base, call->host.get());
  const int64_t virtual_tokens = call->host == nullptr ? 0 : call->host->virtual_tokens();
  std::vector<engine::Encoding> encodings;
  std::vector<int32_t> tokens;
  for (const std::string& text : call->in.texts) {
    encodings.push_back(call->base->tokenizer().Encode(text, limit));
    tokens.push_back(static_cast<int32_t>(static_cast<int64_t>(encodings.back().ids.size()) + virtual_tokens));
  }
  absl::MutexLock lock(&mutex_);
  if (!calls_.contains(call->id)) return;
  call->encodings = std::move(encodings);
  call->rows.resize(tokens.size());
  call->remaining = tokens.size();
  estimated_ -= std::exchange(call->estimate, 0);
  batcher_.Add(call->id, call->base_number, call->adapter, tokens);
  parts_.loop->Wake();
}

void InferenceQueue::OnAdapter(AdapterId id, const absl::Status& status) {
  {
    absl::MutexLock lock(&mutex_);
    const auto waiting = by_adapter_.find(id);
    if (waiting != by_adapter_.end()) {
      const std::map<uint64_t, CallPtr> calls = waiting->second;
      for (const auto& [call_id, call] : calls) {
        if (status.ok()) {
          if (call->host == nullptr) Advance(call);
        } else if (Remove(call)) {
          parts_.loop->Post([this, call = call, status] { Answer(call, status); });
        }
      }
    }
  }
  parts_.loop->Wake();
}

void InferenceQueue::Cancel(uint64_t id) {
  CallPtr call;
  {
    absl::MutexLock lock(&mutex_);
    const auto found = calls_.find(id);
    if (found == calls_.end()) return;
    call = found->second;
    Remove(call);
  }
  if (call->adapter != kNoAdapter) parts_.adapters->Unwant(call->adapter, call->check_only());
  parts_.loop->Wake();
}

bool InferenceQueue::Remove(const CallPtr& call) {
  if (calls_.erase(call->id) == 0) return false;
  batcher_.Remove(call->id);
  estimated_ -= std::exchange(call->estimate, 0);
  if (call->deadline.has_value()) deadlines_.erase(*call->deadline);
  if (const auto waiting = by_adapter_.find(call->adapter); waiting != by_adapter_.end()) {
    waiting->second.erase(call->id);
    if (waiting->second.empty()) by_adapter_.erase(waiting);
  }
  return true;
}

// On the device thread, for a call that was removed.
void InferenceQueue::Answer(const CallPtr& call, absl::StatusOr<InferenceReply> reply) {
  if (call->adapter != kNoAdapter) parts_.adapters->Unwant(call->adapter, call->check_only());
  if (reply.ok()) {
    reply->rows = std::move(call->rows);
    if (call->host != nullptr) {
      reply->adapter = call->host->config();
    } else {
      reply->adapter.labels = call->base->config().labels;
    }
    reply->compute_time = call->compute;
    reply->queue_time = call->started.value_or(parts_.clock->Now()) - call->submitted;
  }
  call->done(std::move(reply));
}

bool InferenceQueue::Ready(absl::Time now) {
  parts_.adapters->Pump();
  std::vector<CallPtr> late;
  bool ready = false;
  {
    absl::MutexLock lock(&mutex_);
    while (!deadlines_.empty() && deadlines_.begin()->first <= now) {
      late.push_back(deadlines_.begin()->second);
      Remove(late.back());
    }
    ready = batcher_.HasReady([this](AdapterId id) { return id == kNoAdapter || parts_.adapters->OnDevice(id); });
  }
  for (const CallPtr& call : late) {
    Answer(call, TenonError(Reason::kDeadlineExceeded, "the deadline passed before the rows were computed"));
  }
  return ready;
}

absl::Time InferenceQueue::NextWake(absl::Time now) {
  const absl::Time rotation = parts_.adapters->NextRotation(now);
  absl::MutexLock lock(&mutex_);
  return deadlines_.empty() ? rotation : std::min(rotation, deadlines_.begin()->first);
}

// Cuts a batch. `pins` holds its adapters: nothing that is looked at leaves the device meanwhile.
std::vector<InferenceQueue::WorkRow> InferenceQueue::TakeBatch(Pins& pins) {
  absl::MutexLock lock(&mutex_);
  const Batcher::Batch batch = batcher_.Next([&](AdapterId id) {
    if (id == kNoAdapter || pins.contains(id)) return true;
    Residency::Device handle = parts_.adapters->DeviceHandle(id);
    return handle != nullptr && pins.emplace(id, std::move(handle)).second;
  });
  std::vector<WorkRow> rows;
  Pins used;
  for (const Batcher::Row& row : batch.rows) {
    const CallPtr& call = calls_.at(row.call);
    if (!call->started.has_value()) call->started = parts_.clock->Now();
    const engine::DeviceAdapter* adapter = nullptr;
    if (row.adapter != kNoAdapter) {
      adapter = pins.at(row.adapter).get();
      if (used.emplace(row.adapter, pins.at(row.adapter)).second) parts_.adapters->Touch(row.adapter);
    }
    rows.push_back({call, row.index, adapter});
  }
  pins = std::move(used);
  return rows;
}

void InferenceQueue::RunSlice() {
  Pins pins;
  const std::vector<WorkRow> rows = TakeBatch(pins);
  if (!rows.empty()) Compute(rows);
}

void InferenceQueue::Compute(const std::vector<WorkRow>& rows) {
  std::vector<engine::InferRow> inputs;
  int64_t tokens = 0, adapters = 0;
  for (size_t i = 0; i < rows.size(); ++i) {
    const Call& call = *rows[i].call;
    const std::vector<int32_t>& ids = call.encodings[rows[i].index].ids;
    const formats::SentenceConfig& sentence = call.base->config().sentence;
    const bool own = call.host != nullptr && call.host->config().task == "feature_extraction";
    inputs.push_back(
        {.ids = &ids,
         .adapter = rows[i].adapter,
         .output = call.in.output,
         .pooling = call.in.pooling.value_or(own ? call.host->config().pooling : sentence.pooling),
         .normalize = call.in.normalize.value_or(own ? call.host->config().normalize : sentence.normalize)});
    tokens += static_cast<int64_t>(ids.size());
    adapters += i == 0 || rows[i].adapter != rows[i - 1].adapter;
  }
  const absl::Time start = parts_.clock->Now();
  auto values = engine::Infer(*rows.front().call->base, inputs);
  const absl::Duration took = parts_.clock->Now() - start;
  if (values.ok() && observer_.batch) observer_.batch(static_cast<int64_t>(rows.size()), tokens, adapters, took);
  Deliver(rows, std::move(values), took);
}

void InferenceQueue::Deliver(const std::vector<WorkRow>& rows, absl::StatusOr<std::vector<std::vector<float>>> values,
                             absl::Duration took) {
  if (!values.ok() && rows.size() > 1) {
    // One call's rows must not fail its neighbours', and half of a batch may fit where the whole did not.
    std::map<uint64_t, std::vector<WorkRow>> parts;
    for (const WorkRow& row : rows) parts[row.call->id].push_back(row);
    if (parts.size() == 1 && GetReason(values.status()) == Reason::kOutOfMemory) {
      const auto middle = rows.begin() + rows.size() / 2;
      parts = {{0, {rows.begin(), middle}}, {1, {middle, rows.end()}}};
    }
    if (parts.size() > 1) {
      for (const auto& [id, part] : parts) Compute(part);
      return;
    }
  }
  Finished finished;
  std::set<uint64_t> counted;
  {
    absl::MutexLock lock(&mutex_);
    for (size_t i = 0; i < rows.size(); ++i) {
      const CallPtr& call = rows[i].call;
      if (!calls_.contains(call->id)) continue;  // cancelled, late or failed meanwhile
      if (!values.ok()) {
        Remove(call);
        finished.emplace_back(call, values.status());
        continue;
      }
      const engine::Encoding& encoding = call->encodings[rows[i].index];
      call->rows[rows[i].index] = {std::move((*values)[i]), static_cast<int32_t>(encoding.ids.size()),
                                   encoding.truncated};
      if (counted.insert(call->id).second) call->compute += took;
      if (--call->remaining > 0) continue;
      Remove(call);
      finished.emplace_back(call, InferenceReply{});
    }
  }
  for (auto& [call, reply] : finished) Answer(call, std::move(reply));
}

}  // namespace tenon::runtime
