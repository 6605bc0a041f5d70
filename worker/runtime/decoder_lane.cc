#include "worker/runtime/decoder_lane.h"

#include <algorithm>
#include <utility>

#include "common/formats/status.h"

namespace tenon::runtime {

absl::Status DecoderLane::Open() {
  if (batch_ != nullptr) return absl::OkStatus();
  ASSIGN_OR_RETURN(batch_, engine::GenerationBatch::Open(*base_, options_));
  crowded_ = false;
  return absl::OkStatus();
}

absl::StatusOr<bool> DecoderLane::Fits(absl::Span<const engine::GenerationRequest> joining,
                                       const engine::GenerationPlan& plan, int64_t source_tokens) const {
  RETURN_IF_ERROR(batch_->CheckFits(plan, source_tokens));
  return !crowded_ && batch_->CanJoin(plan, source_tokens, joining);
}

std::vector<DecoderLane::Refused> DecoderLane::Join(std::vector<engine::GenerationRequest> requests) {
  if (requests.empty()) return {};
  if (requests.size() > 1 && batch_->Join(requests).ok()) return {};
  std::vector<Refused> refused;
  for (engine::GenerationRequest& request : requests) {
    const uint64_t id = request.id;
    if (crowded_) {
      refused.push_back({id, absl::OkStatus()});
      continue;
    }
    absl::Status status = batch_->Join({std::move(request)});
    if (status.ok()) continue;
    crowded_ = GetReason(status) == Reason::kOutOfMemory && writing();
    refused.push_back({id, crowded_ ? absl::OkStatus() : std::move(status)});
  }
  return refused;
}

absl::Status DecoderLane::Cancel(absl::Span<const uint64_t> ids) {
  if (batch_ == nullptr) return absl::OkStatus();
  for (const uint64_t id : ids) {
    crowded_ = false;
    if (const absl::Status status = batch_->Cancel(id); !status.ok()) {
      batch_.reset();
      return status;
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<std::vector<engine::GenerationEvent>> DecoderLane::Step() {
  auto events = batch_->Step();
  if (!events.ok()) {
    batch_.reset();  // its lines' state is unknown
    return events.status();
  }
  if (std::any_of(events->begin(), events->end(), [](const auto& event) { return event.finished; })) crowded_ = false;
  return events;
}

void DecoderLane::Rest() {
  if (!writing()) batch_.reset();
}

}  // namespace tenon::runtime
