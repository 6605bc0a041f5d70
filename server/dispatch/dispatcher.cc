#include "server/dispatch/dispatcher.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "common/formats/status.h"

namespace tenon::server {

absl::Status Dispatcher::Admit(const CallTicket& ticket) {
  if (load_.rows + ticket.rows > options_.max_rows || load_.bytes + ticket.bytes > options_.max_bytes) {
    return TenonError(Reason::kQueueFull, absl::StrCat("the queue is full: ", load_.calls, " calls with ", load_.rows,
                                                       " texts are waiting"));
  }
  Call& call = calls_[ticket.id];
  call.ticket = ticket;
  if (ticket.deadline != absl::InfiniteFuture()) deadlines_.emplace(ticket.deadline, ticket.id);
  Enqueue(call, /*front=*/false);
  return absl::OkStatus();
}

bool Dispatcher::Fits(const Worker& worker, const Call& call) {
  // A call larger than all of a worker's credits runs there alone.
  return worker.outstanding == 0 || worker.outstanding + call.ticket.charge <= worker.credits;
}

// The worker that should take the call now, or nothing. When all that could are full, the one with most room is
// reserved: later calls must not take what this one waits for.
std::string Dispatcher::Choose(const Call& call, std::set<std::string>* reserved) const {
  const auto last = last_worker_.find(call.ticket.adapter_digest);
  std::string best, fullest;
  double best_load = 0, least_load = 0;
  for (const auto& [session, worker] : workers_) {
    if (worker.bases.count(call.ticket.base_digest) == 0 || reserved->count(session) > 0) continue;
    double load = static_cast<double>(worker.outstanding) / static_cast<double>(std::max<int64_t>(1, worker.credits));
    if (fullest.empty() || load < least_load) fullest = session, least_load = load;
    if (!Fits(worker, call)) continue;
    if (session == call.avoid) load += 2;  // only when there is no other
    if (last != last_worker_.end() && last->second == session) load -= 1;
    if (best.empty() || load < best_load) best = session, best_load = load;
  }
  if (best.empty() && !fullest.empty()) reserved->insert(fullest);
  return best;
}

std::optional<Dispatcher::Assignment> Dispatcher::Next() {
  std::set<std::string> reserved;
  for (const auto& [session, worker] : workers_) {
    if (worker.going || (worker.outstanding > 0 && worker.outstanding >= worker.credits)) reserved.insert(session);
  }
  Call* chosen = nullptr;
  std::string session;
  queue_.Scan([&](uint64_t id) {
    if (reserved.size() == workers_.size()) return FairQueue::Visit::kStop;
    Call& call = calls_.at(id);
    session = Choose(call, &reserved);
    if (session.empty()) return FairQueue::Visit::kNext;
    chosen = &call;
    return FairQueue::Visit::kStop;
  });
  if (chosen == nullptr) return std::nullopt;

  Dequeue(*chosen);
  chosen->session = session;
  ++chosen->attempts;
  Assignment assignment{chosen->ticket.id, session, chosen->attempts, clock_.Now() - chosen->since};
  Worker& worker = workers_.at(session);
  worker.outstanding += chosen->ticket.charge;
  worker.running.insert(chosen->ticket.id);
  load_.outstanding += chosen->ticket.charge;
  ++load_.running;
  queue_.Charge(chosen->ticket.tenant, ModelOf(chosen->ticket), chosen->ticket.charge);
  if (!chosen->ticket.adapter_digest.empty()) {
    if (last_worker_.size() >= options_.max_affinities) last_worker_.clear();  // rare, and only costs a load
    last_worker_[chosen->ticket.adapter_digest] = session;
  }
  return assignment;
}

Dispatcher::Call* Dispatcher::Running(uint64_t id, const std::string& session) {
  const auto found = calls_.find(id);
  if (found == calls_.end() || session.empty() || found->second.session != session) return nullptr;
  return &found->second;
}

bool Dispatcher::Complete(uint64_t id, const std::string& session, int64_t tokens) {
  const Call* call = Running(id, session);
  if (call == nullptr) return false;
  const CallTicket& ticket = call->ticket;
  if (tokens > 0) queue_.Charge(ticket.tenant, ModelOf(ticket), tokens - ticket.charge);
  Forget(id);
  return true;
}

bool Dispatcher::Show(uint64_t id, const std::string& session) {
  Call* call = Running(id, session);
  if (call != nullptr) call->shown = true;
  return call != nullptr;
}

Dispatcher::GivenBack Dispatcher::GiveBack(uint64_t id, const std::string& session) {
  Call* call = Running(id, session);
  if (call == nullptr) return GivenBack::kNotThere;
  workers_.at(session).going = true;
  return SendBack(*call) ? GivenBack::kWaits : GivenBack::kForgotten;
}

std::optional<Dispatcher::Dropped> Dispatcher::Cancel(uint64_t id) {
  const auto found = calls_.find(id);
  if (found == calls_.end()) return std::nullopt;
  Dropped dropped{id, found->second.session};
  Forget(id);
  return dropped;
}

std::vector<Dispatcher::Dropped> Dispatcher::TakeExpired() {
  std::vector<Dropped> expired;
  while (!deadlines_.empty() && deadlines_.begin()->first <= clock_.Now()) {
    expired.push_back(*Cancel(deadlines_.begin()->second));
  }
  return expired;
}

std::vector<uint64_t> Dispatcher::Unserved(const std::function<bool(const std::string& base_digest)>& hopeless) const {
  std::vector<uint64_t> unserved;
  if (load_.calls == 0) return unserved;
  std::map<std::string, bool> verdicts;  // few bases, many calls
  for (const auto& [id, call] : calls_) {
    if (!call.session.empty()) continue;
    const std::string& base = call.ticket.base_digest;
    auto verdict = verdicts.find(base);
    if (verdict == verdicts.end()) verdict = verdicts.emplace(base, hopeless(base)).first;
    if (verdict->second) unserved.push_back(id);
  }
  std::sort(unserved.begin(), unserved.end());
  return unserved;
}

int Dispatcher::AttemptsOf(uint64_t id) const {
  const auto found = calls_.find(id);
  return found == calls_.end() ? 0 : found->second.attempts;
}

void Dispatcher::OpenWorker(const std::string& session, int64_t credits) {
  Worker& worker = workers_[session];
  load_.credits += credits - worker.credits;
  worker.credits = credits;
  worker.going = false;
}

void Dispatcher::AddBase(const std::string& session, const std::string& base_digest) {
  const auto found = workers_.find(session);
  if (found != workers_.end()) found->second.bases.insert(base_digest);
}

void Dispatcher::RemoveBase(const std::string& session, const std::string& base_digest) {
  const auto found = workers_.find(session);
  if (found != workers_.end()) found->second.bases.erase(base_digest);
}

std::vector<uint64_t> Dispatcher::CloseWorker(const std::string& session) {
  std::vector<uint64_t> lost;
  const auto found = workers_.find(session);
  if (found == workers_.end()) return lost;
  const std::set<uint64_t> running = found->second.running;
  // Newest first to the front, so that the oldest ends up foremost.
  for (auto id = running.rbegin(); id != running.rend(); ++id) {
    if (!SendBack(calls_.at(*id))) lost.push_back(*id);
  }
  load_.credits -= found->second.credits;
  workers_.erase(found);
  for (auto it = last_worker_.begin(); it != last_worker_.end();) {
    it = it->second == session ? last_worker_.erase(it) : std::next(it);
  }
  return lost;
}

Dispatcher::Load Dispatcher::load() const { return load_; }

void Dispatcher::Enqueue(Call& call, bool front) {
  call.since = clock_.Now();
  const CallTicket& ticket = call.ticket;
  if (front) {
    queue_.PushFront(ticket.tenant, ModelOf(ticket), ticket.id);
  } else {
    queue_.PushBack(ticket.tenant, ModelOf(ticket), ticket.id);
  }
  ++load_.calls;
  load_.rows += ticket.rows;
  load_.bytes += ticket.bytes;
}

void Dispatcher::Dequeue(const Call& call) {
  queue_.Remove(call.ticket.tenant, ModelOf(call.ticket), call.ticket.id);
  --load_.calls;
  load_.rows -= call.ticket.rows;
  load_.bytes -= call.ticket.bytes;
}

// Gives back the credits of a running call.
void Dispatcher::Release(Call& call) {
  Worker& worker = workers_.at(call.session);
  worker.outstanding -= call.ticket.charge;
  worker.running.erase(call.ticket.id);
  load_.outstanding -= call.ticket.charge;
  --load_.running;
  call.session.clear();
}

// A running call waits again, in front; false when it cannot be begun anew and is forgotten.
bool Dispatcher::SendBack(Call& call) {
  if (call.shown || call.attempts >= options_.max_attempts) {
    Forget(call.ticket.id);
    return false;
  }
  call.avoid = call.session;
  Release(call);
  queue_.Charge(call.ticket.tenant, ModelOf(call.ticket), -call.ticket.charge);  // it got nothing for it
  Enqueue(call, /*front=*/true);
  return true;
}

void Dispatcher::Forget(uint64_t id) {
  Call& call = calls_.at(id);
  if (call.session.empty()) {
    Dequeue(call);
  } else {
    Release(call);
  }
  if (call.ticket.deadline != absl::InfiniteFuture()) deadlines_.erase({call.ticket.deadline, id});
  calls_.erase(id);
}

}  // namespace tenon::server
