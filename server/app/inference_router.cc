#include "server/app/inference_router.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/status_proto.h"
#include "server/dispatch/charge.h"

namespace tenon::server {
namespace {

absl::Status NoWorker() {
  return TenonError(Reason::kNoWorker, "no worker that holds the base is ready; `tenon workers list` shows them");
}

absl::Status Expired() { return TenonError(Reason::kDeadlineExceeded, "the deadline passed before the work was done"); }

// What a worker answered, checked: a reply of the wrong shape must never reach a client.
absl::StatusOr<internal::v1::InferenceResult> Checked(const InferenceCall& call, internal::v1::InferenceResult result) {
  if (result.has_error()) return FromErrorProto(result.error());
  if (result.rows_size() != static_cast<int>(call.texts.size())) {
    return absl::InternalError(
        absl::StrCat("a worker answered ", result.rows_size(), " rows to ", call.texts.size(), " texts"));
  }
  return result;
}

}  // namespace

LoopInferenceRouter::LoopInferenceRouter(const Parts& parts, const Dispatcher::Options& options)
    : parts_(parts), dispatcher_(*parts.clock, options) {}

uint64_t LoopInferenceRouter::Submit(InferenceCall call, Done done) {
  const uint64_t id = next_id_.fetch_add(1);
  Pending pending;
  pending.charge = ChargeOf(call);
  pending.call = std::move(call);
  pending.done = std::move(done);
  parts_.loop->Post([this, id, pending = std::move(pending)]() mutable { Start(id, std::move(pending)); });
  return id;
}

void LoopInferenceRouter::Cancel(uint64_t call) {
  parts_.loop->Post([this, call] {
    const auto found = pending_.find(call);
    if (found == pending_.end()) return;
    if (parts_.observer != nullptr) {
      parts_.observer->OnFinished(found->second.call.kind, absl::CancelledError(""), 0, 0, 0);
    }
    pending_.erase(found);
    if (const auto dropped = dispatcher_.Cancel(call)) StopOnWorker(*dropped);
    Pump();
  });
}

void LoopInferenceRouter::Start(uint64_t id, Pending pending) {
  CallTicket ticket;
  ticket.id = id;
  ticket.tenant = pending.call.tenant;
  ticket.base_digest = pending.call.base_digest;
  ticket.adapter_digest = pending.call.adapter.digest();
  ticket.rows = static_cast<int>(pending.call.texts.size());
  for (const auto* texts : {&pending.call.texts, &pending.call.text_pairs}) {
    for (const std::string& text : *texts) ticket.bytes += static_cast<int64_t>(text.size());
  }
  ticket.charge = pending.charge;
  ticket.deadline = pending.call.deadline;

  pending.start = parts_.clock->Now();
  pending_.emplace(id, std::move(pending));
  if (stopped_) return Finish(id, TenonError(Reason::kShuttingDown, "the server is going down"));
  if (parts_.clock->Now() >= ticket.deadline) return Finish(id, Expired());
  if (parts_.fleet->StageOf(ticket.base_digest) == BaseStage::kAbsent && refresh_) refresh_();
  if (parts_.fleet->StageOf(ticket.base_digest) == BaseStage::kAbsent) return Finish(id, NoWorker());
  if (absl::Status admitted = dispatcher_.Admit(ticket); !admitted.ok()) return Finish(id, admitted);
  Pump();
}

void LoopInferenceRouter::OpenWorker(const std::string& session, int64_t credits, Send send) {
  if (workers_.count(session) > 0) CloseWorker(session);  // a second stream replaces the first
  workers_[session] = std::move(send);
  dispatcher_.OpenWorker(session, credits);
  parts_.fleet->SetWork(session, true);
  OnFleetChanged();
}

void LoopInferenceRouter::CloseWorker(const std::string& session) {
  if (workers_.erase(session) == 0) return;
  parts_.fleet->SetWork(session, false);
  for (const uint64_t id : dispatcher_.CloseWorker(session)) Lose(id, "was lost while it answered");
  OnFleetChanged();
}

void LoopInferenceRouter::Lose(uint64_t id, const char* how) {
  const auto found = pending_.find(id);
  if (found == pending_.end()) return;
  const bool shown = found->second.first_text != absl::InfiniteFuture();
  Finish(id, TenonError(Reason::kWorkerLost,
                        absl::StrCat("the worker ", how,
                                     shown ? ", in the middle of the text; ask again" : ", and the one after it too")));
}

void LoopInferenceRouter::OnResult(const std::string& session, internal::v1::InferenceResult result) {
  const uint64_t id = result.call_id();
  if (result.has_error() && GetReason(FromErrorProto(result.error())) == Reason::kShuttingDown) {
    return OnGivenBack(session, id);
  }
  // A late answer to a call that was dropped or sent elsewhere meanwhile is void.
  const auto found = pending_.find(id);
  if (found == pending_.end() || !dispatcher_.Complete(id, session, TokensOf(found->second.call, result))) return;
  Finish(id, Checked(found->second.call, std::move(result)));
  Pump();
}

void LoopInferenceRouter::OnDelta(const std::string& session, internal::v1::GenerationDelta delta) {
  const auto found = pending_.find(delta.call_id());
  if (found == pending_.end() || !found->second.call.on_text || delta.text().empty()) return;
  if (!dispatcher_.Show(delta.call_id(), session)) return;  // late, of a call that was dropped or sent elsewhere
  Pending& pending = found->second;
  if (pending.first_text == absl::InfiniteFuture()) {
    pending.first_text = parts_.clock->Now();
    if (parts_.observer != nullptr) parts_.observer->OnFirstText(pending.first_text - pending.start);
  }
  pending.call.on_text(std::move(*delta.mutable_text()));
}

// The worker is going down and has not begun: as good as lost, but known at once.
void LoopInferenceRouter::OnGivenBack(const std::string& session, uint64_t id) {
  const auto given_back = dispatcher_.GiveBack(id, session);
  if (given_back == Dispatcher::GivenBack::kForgotten) Lose(id, "went down before it answered");
  Pump();
}

void LoopInferenceRouter::OnFleetChanged() {
  for (const WorkerView& worker : parts_.fleet->Workers()) {
    for (const std::string& digest : worker.bases) {
      if (parts_.fleet->Serves(worker.identity.session, digest)) dispatcher_.AddBase(worker.identity.session, digest);
    }
  }
  const auto hopeless = [this](const std::string& base) { return parts_.fleet->StageOf(base) == BaseStage::kAbsent; };
  for (const uint64_t id : dispatcher_.Unserved(hopeless)) {
    const bool was_sent = dispatcher_.AttemptsOf(id) > 0;
    dispatcher_.Cancel(id);
    Finish(id, was_sent
                   ? TenonError(Reason::kWorkerLost, "the worker was lost while it answered, and no other is there")
                   : NoWorker());
  }
  Pump();
}

void LoopInferenceRouter::Tick() {
  const auto expired = dispatcher_.TakeExpired();
  for (const auto& dropped : expired) {
    StopOnWorker(dropped);
    Finish(dropped.call, Expired());
  }
  if (!expired.empty()) Pump();
}

void LoopInferenceRouter::Stop() {
  stopped_ = true;
  std::vector<uint64_t> ids;
  for (const auto& [id, pending] : pending_) ids.push_back(id);
  for (const uint64_t id : ids) {
    if (const auto dropped = dispatcher_.Cancel(id)) StopOnWorker(*dropped);
    Finish(id, TenonError(Reason::kShuttingDown, "the server is going down"));
  }
  Pump();
}

Dispatcher::Load LoopInferenceRouter::load() const {
  absl::MutexLock lock(&mutex_);
  return load_;
}

void LoopInferenceRouter::Pump() {
  while (const auto assignment = dispatcher_.Next()) SendTo(*assignment);
  absl::MutexLock lock(&mutex_);
  load_ = dispatcher_.load();
}

void LoopInferenceRouter::SendTo(const Dispatcher::Assignment& assignment) {
  const Pending& pending = pending_.at(assignment.call);
  const InferenceCall& call = pending.call;
  internal::v1::WorkResponse message;
  auto* request = message.mutable_request();
  request->set_call_id(assignment.call);
  request->set_base_digest(call.base_digest);
  if (!call.adapter.digest().empty()) *request->mutable_adapter() = call.adapter;
  request->set_kind(call.kind);
  for (const std::string& text : call.texts) request->add_texts(text);
  for (const std::string& text : call.text_pairs) request->add_text_pairs(text);
  request->set_charge(pending.charge);
  if (call.deadline != absl::InfiniteFuture()) {
    request->set_timeout_ms(std::max<int64_t>(1, absl::ToInt64Milliseconds(call.deadline - parts_.clock->Now())));
  }
  request->set_pooling(call.pooling);
  if (call.normalize.has_value()) request->set_normalize(*call.normalize);
  if (call.kind == internal::v1::INFERENCE_KIND_GENERATE || call.kind == internal::v1::INFERENCE_KIND_SUMMARIZE) {
    *request->mutable_generation() = call.generation;
    request->set_max_input_tokens(call.max_input_tokens);
    request->set_stream(call.on_text != nullptr);
  }
  if (call.kind == internal::v1::INFERENCE_KIND_SUMMARIZE) {
    *request->mutable_extractive() = call.extractive;
    request->set_combine_chunks(call.combine_chunks);
    if (call.frame.has_value()) *request->mutable_frame() = *call.frame;
  }
  for (const internal::v1::WordPlaces& words : call.words) *request->add_words() = words;
  if (call.kind == internal::v1::INFERENCE_KIND_ANSWER) *request->mutable_answers() = call.answers;
  if (parts_.observer != nullptr) parts_.observer->OnDispatched(call.kind, assignment.waited, assignment.attempt);
  workers_.at(assignment.session)(std::move(message));
}

void LoopInferenceRouter::StopOnWorker(const Dispatcher::Dropped& dropped) {
  const auto worker = workers_.find(dropped.session);
  if (worker == workers_.end()) return;
  internal::v1::WorkResponse message;
  message.mutable_cancel()->set_call_id(dropped.call);
  worker->second(std::move(message));
}

void LoopInferenceRouter::Finish(uint64_t id, absl::StatusOr<internal::v1::InferenceResult> result) {
  auto node = pending_.extract(id);
  if (node.empty()) return;
  const Pending& pending = node.mapped();
  if (parts_.observer != nullptr) {
    parts_.observer->OnFinished(pending.call.kind, result.status(), static_cast<int64_t>(pending.call.texts.size()),
                                result.ok() ? result->input_tokens() : 0, result.ok() ? result->output_tokens() : 0);
    if (result.ok() && result->output_tokens() > 1 && pending.first_text != absl::InfiniteFuture()) {
      parts_.observer->OnStreamEnd((parts_.clock->Now() - pending.first_text) / (result->output_tokens() - 1));
    }
  }
  pending.done(std::move(result));
}

}  // namespace tenon::server
