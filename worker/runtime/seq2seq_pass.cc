#include "worker/runtime/seq2seq_pass.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "common/formats/status.h"
#include "worker/engine/generate/target_search.h"
#include "worker/runtime/check_finite.h"
#include "worker/runtime/generation_plan.h"

namespace tenon::runtime {
namespace {

constexpr uint64_t kRequests = 2;  // of a row

size_t RowOf(uint64_t request) { return request / kRequests; }
bool Writes(uint64_t request) { return request % kRequests == 1; }

}  // namespace

Seq2SeqPass::Seq2SeqPass(Model model, std::vector<Seq2SeqInput> rows, const Limits& limits)
    : model_(std::move(model)),
      rows_(std::move(rows)),
      slice_tokens_(limits.slice_tokens),
      lane_(model_.base, limits.decoder),
      results_(rows_.size()),
      open_requests_(rows_.size(), kRequests) {}

engine::GenerationRequest Seq2SeqPass::NextRequest() const {
  const Seq2SeqInput& row = rows_[RowOf(next_)];
  const bool writes = Writes(next_);
  engine::GenerationRequest request =
      MakeGenerationRequest(model_.base, next_, row.source,
                            writes ? model_.plan : engine::ReadingPlan(static_cast<int64_t>(row.target.size())));
  request.adapter = model_.adapter;
  if (!writes) {
    request.target = row.target;
    request.detokenize = nullptr;
  } else if (!model_.seeded) {
    request.plan.seed = RowOf(next_);
  }
  return request;
}

absl::Status Seq2SeqPass::Join() {
  std::vector<engine::GenerationRequest> requests;
  int64_t tokens = 0;
  for (; next_ < rows_.size() * kRequests; ++next_) {
    engine::GenerationRequest request = NextRequest();
    const int64_t source = engine::SourceTokens(request);
    if (!requests.empty() && tokens + source > slice_tokens_) break;
    const absl::StatusOr<bool> fits = lane_.Fits(requests, request.plan, source);
    if (!fits.ok()) return OfRow(fits.status(), RowOf(next_));
    if (!*fits) break;
    tokens += source;
    requests.push_back(std::move(request));
  }
  const std::vector<DecoderLane::Refused> refused = lane_.Join(std::move(requests));
  for (const DecoderLane::Refused& one : refused) RETURN_IF_ERROR(OfRow(one.status, RowOf(one.id)));
  // For want of memory, and with it all that came behind.
  if (!refused.empty()) next_ = refused.front().id;
  return absl::OkStatus();
}

absl::Status Seq2SeqPass::RunSlice() {
  RETURN_IF_ERROR(lane_.Open());
  RETURN_IF_ERROR(Join());
  auto events = lane_.Step();
  if (!events.ok()) return Annotate(events.status(), "the decoder failed: ");
  for (const engine::GenerationEvent& event : *events) {
    if (event.finished) RETURN_IF_ERROR(OfRow(Deliver(event), RowOf(event.id)));
  }
  lane_.Rest();
  return absl::OkStatus();
}

absl::Status Seq2SeqPass::Deliver(const engine::GenerationEvent& event) {
  if (!event.finite) return NotFinite("");
  const size_t row = RowOf(event.id);
  engine::Seq2SeqRow& result = results_[row];
  const engine::GeneratedSequence& sequence = event.sequences.at(0);
  if (Writes(event.id)) {
    result.reference = rows_[row].reference;
    result.written = sequence.text;
  } else {
    for (const float log_prob : sequence.log_probs) result.loss -= log_prob;
    result.tokens = static_cast<int64_t>(sequence.tokens.size());
    result.foreseen_tokens = sequence.foreseen_tokens;
  }
  rows_done_ += --open_requests_[row] == 0;
  return absl::OkStatus();
}

}  // namespace tenon::runtime
