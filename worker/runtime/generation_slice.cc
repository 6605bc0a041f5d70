// The part of GenerationQueue that runs on the device thread: one decode step, and the joins before it.
#include <algorithm>
#include <set>

#include "absl/strings/str_cat.h"
#include "common/formats/status.h"
#include "worker/runtime/check_finite.h"
#include "worker/runtime/generation_call.h"
#include "worker/runtime/generation_plan.h"
#include "worker/runtime/generation_queue.h"

namespace tenon::runtime {

JoinQueue::Ready GenerationQueue::MayJoin(absl::Time now) const {
  return [this, now](AdapterId id) {
    return id == kNoAdapter || (parts_.adapters->OnDevice(id) && !parts_.adapters->MustYield(id, now));
  };
}

bool GenerationQueue::LaneReady(const Lane& lane, absl::Time now) const {
  return lane.decoder.writing() || !lane.cancelled.empty() || lane.waiting.Next(MayJoin(now)).has_value();
}

bool GenerationQueue::HasReady(absl::Time now) {
  return std::any_of(lanes_.begin(), lanes_.end(), [&](const auto& lane) { return LaneReady(lane.second, now); });
}

// Bases take turns.
GenerationQueue::Lane* GenerationQueue::NextLane() {
  const absl::Time now = parts_.clock->Now();
  absl::MutexLock lock(&mutex_);
  auto lane = lanes_.upper_bound(last_lane_);
  for (size_t i = 0; i < lanes_.size(); ++i, ++lane) {
    if (lane == lanes_.end()) lane = lanes_.begin();
    if (!LaneReady(lane->second, now)) continue;
    last_lane_ = lane->first;
    return &lane->second;
  }
  return nullptr;
}

const char* GenerationQueue::RunSlice() {
  Lane* const lane = NextLane();
  if (lane == nullptr) return "generate";
  const absl::Time start = parts_.clock->Now();
  if (const absl::Status status = FreeLines(*lane); !status.ok()) FailRunning(*lane, status);
  const int64_t read = JoinRows(*lane);
  if (lane->decoder.writing()) Step(*lane, read, start);
  lane->decoder.Rest();
  DropIdleLanes();
  return "generate";
}

void GenerationQueue::DropIdleLanes() {
  absl::MutexLock lock(&mutex_);
  std::erase_if(lanes_, [](const auto& entry) {
    const Lane& lane = entry.second;
    return !lane.decoder.writing() && lane.waiting.rows() == 0 && lane.running.empty() && lane.cancelled.empty();
  });
}

absl::Status GenerationQueue::FreeLines(Lane& lane) {
  std::vector<uint64_t> cancelled;
  {
    absl::MutexLock lock(&mutex_);
    cancelled.swap(lane.cancelled);
  }
  return lane.decoder.Cancel(cancelled);
}

engine::GenerationRequest GenerationQueue::MakeRequest(const Writing& call, const JoinQueue::Row& row,
                                                       Residency::Device adapter) {
  engine::GenerationRequest request =
      MakeGenerationRequest(call.base, next_request_++, call.encodings[row.index].ids, call.plans[row.index]);
  request.adapter = std::move(adapter);
  request.stream = call.in.stream;
  return request;
}

// Rows for which there is room now, as running; calls for which there never is are removed, into `ended`.
std::vector<engine::GenerationRequest> GenerationQueue::TakeRows(Lane& lane, const absl::Status& opened, Ended& ended) {
  const absl::Time now = parts_.clock->Now();
  std::vector<engine::GenerationRequest> requests;
  absl::MutexLock lock(&mutex_);
  while (const std::optional<JoinQueue::Row> row = lane.waiting.Next(MayJoin(now))) {
    const WritingPtr call = writing_.at(row->call);
    const absl::StatusOr<bool> fits =
        opened.ok() ? lane.decoder.Fits(requests, call->plans[row->index], row->tokens) : absl::StatusOr<bool>(opened);
    if (!fits.ok()) {
      Remove(call);
      ended.emplace_back(call, fits.status());
      continue;
    }
    Residency::Device adapter = row->adapter == kNoAdapter ? nullptr : parts_.adapters->DeviceHandle(row->adapter);
    if (!*fits || (row->adapter != kNoAdapter && adapter == nullptr)) break;
    if (adapter != nullptr) parts_.adapters->Touch(row->adapter);
    if (!call->started.has_value()) call->started = now;
    lane.waiting.Take(*row);
    requests.push_back(MakeRequest(*call, *row, std::move(adapter)));
    lane.running[requests.back().id] = {call, *row};
  }
  return requests;
}

// Source tokens of those that joined.
int64_t GenerationQueue::JoinRows(Lane& lane) {
  bool waiting = false;
  {
    absl::MutexLock lock(&mutex_);
    waiting = lane.waiting.rows() > 0;
  }
  if (!waiting) return 0;
  Ended ended;
  std::vector<engine::GenerationRequest> requests = TakeRows(lane, lane.decoder.Open(), ended);
  int64_t read = 0;
  for (const engine::GenerationRequest& request : requests) read += engine::SourceTokens(request);
  std::vector<DecoderLane::Refused> refused = lane.decoder.Join(std::move(requests));
  std::reverse(refused.begin(), refused.end());  // so that rows of a call wait in order again
  {
    absl::MutexLock lock(&mutex_);
    for (const DecoderLane::Refused& one : refused) {
      const auto found = lane.running.find(one.id);
      if (found == lane.running.end()) continue;  // its call ended meanwhile
      const Running row = found->second;
      lane.running.erase(found);
      read -= row.row.tokens;
      if (one.status.ok()) {
        lane.waiting.PutBack(row.row);
      } else {
        Remove(row.call);
        ended.emplace_back(row.call, one.status);
      }
    }
  }
  AnswerAll(ended);
  return read;
}

void GenerationQueue::Step(Lane& lane, int64_t read_tokens, absl::Time start) {
  std::set<AdapterId> adapters;
  {
    absl::MutexLock lock(&mutex_);
    for (const auto& [id, running] : lane.running) adapters.insert(running.row.adapter);
  }
  const int64_t lines = lane.decoder.lines();
  auto events = lane.decoder.Step();
  const absl::Duration took = parts_.clock->Now() - start;
  if (!events.ok()) return FailRunning(lane, events.status());
  if (observer_.step) observer_.step(lines, read_tokens, static_cast<int64_t>(adapters.size()), took);
  Deliver(lane, *std::move(events), took);
}

void GenerationQueue::Deliver(Lane& lane, std::vector<engine::GenerationEvent> events, absl::Duration took) {
  std::vector<std::pair<WritingPtr, std::string>> deltas;
  Ended ended;
  {
    absl::MutexLock lock(&mutex_);
    std::set<uint64_t> counted;
    for (engine::GenerationEvent& event : events) {
      const auto found = lane.running.find(event.id);
      if (found == lane.running.end()) continue;  // cancelled or late meanwhile
      const Running running = found->second;
      Writing& call = *running.call;
      if (counted.insert(call.id).second) call.compute += took;
      if (call.in.stream) {
        for (engine::SequenceDelta& delta : event.deltas) {
          if (!delta.text.empty()) deltas.emplace_back(running.call, std::move(delta.text));
        }
      }
      if (!event.finished) continue;
      if (!event.finite) {
        lane.running.erase(found);
        Remove(running.call);
        ended.emplace_back(running.call, NotFinite(absl::StrCat("texts[", running.row.index, "]")));
        continue;
      }
      GenerationRow& row = call.rows[running.row.index];
      for (const engine::GeneratedSequence& one : event.sequences) {
        row.output_tokens += static_cast<int32_t>(one.tokens.size());
      }
      row.sequences = std::move(event.sequences);
      lane.running.erase(found);
      lane.waiting.Left(call.id);
      if (--call.remaining > 0) continue;
      Remove(running.call);
      ended.emplace_back(running.call, absl::OkStatus());
    }
  }
  for (auto& [call, text] : deltas) {
    if (call->callbacks.delta) call->callbacks.delta(std::move(text));
  }
  AnswerAll(ended);
}

// The decoder was lost: so is every call that had a row in it.
void GenerationQueue::FailRunning(Lane& lane, const absl::Status& status) {
  Ended ended;
  {
    absl::MutexLock lock(&mutex_);
    while (!lane.running.empty()) {
      const WritingPtr call = lane.running.begin()->second.call;
      Remove(call);
      ended.emplace_back(call, Annotate(status, "the decoder failed, and what it was writing is lost: "));
    }
    lane.cancelled.clear();
  }
  AnswerAll(ended);
}

void GenerationQueue::AnswerAll(const Ended& ended) {
  for (const auto& [call, status] : ended) Answer(call, status);
}

}  // namespace tenon::runtime
