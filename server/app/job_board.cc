#include "server/app/job_board.h"

#include <algorithm>

namespace tenon::server {
namespace {

constexpr size_t kRememberedFinals = 4096;

absl::Time FromTimestamp(const google::protobuf::Timestamp& timestamp) {
  return absl::FromUnixSeconds(timestamp.seconds()) + absl::Nanoseconds(timestamp.nanos());
}

bool Holds(const std::vector<internal::v1::JobHold>& held, const std::string& name, int64_t term) {
  return std::any_of(held.begin(), held.end(),
                     [&](const auto& hold) { return hold.job() == name && hold.term() == term; });
}

internal::v1::JobHold MakeHold(const std::string& name, int64_t term) {
  internal::v1::JobHold hold;
  hold.set_job(name);
  hold.set_term(term);
  return hold;
}

// Digests in `old` that the checkpoint lacks.
std::vector<std::string> Without(const std::vector<std::string>& old, const internal::v1::Checkpoint& checkpoint) {
  std::set<std::string> dropped(old.begin(), old.end());
  for (const auto& file : checkpoint.files()) dropped.erase(file.sha256());
  return {dropped.begin(), dropped.end()};
}

}  // namespace

std::vector<std::string> JobBoard::Put(const JobRecord& record, absl::Time give_up) {
  const JobKey key{record.tenant(), JobName(record)};
  const v1::JobState state = JobStateOf(record);
  absl::MutexLock lock(&mutex_);
  const auto found = jobs_.find(key);
  if (found != jobs_.end() && found->second.version >= record.version()) return {};
  if (finals_.contains(key)) return {};
  std::vector<std::string> dropped;
  if (found != jobs_.end()) {
    queue_.erase({found->second.create_time, key});
    dropped = Without(found->second.checkpoint_files, record.checkpoint());
  }
  if (IsFinal(state)) {
    if (found != jobs_.end()) jobs_.erase(found);
    if (finals_.insert(key).second) final_order_.push_back(key);
    if (final_order_.size() > kRememberedFinals) {
      finals_.erase(final_order_.front());
      final_order_.pop_front();
    }
    return dropped;
  }
  Entry& entry = jobs_[key];
  const bool new_run = entry.version == 0 || entry.term != JobTerm(record);
  entry.version = record.version();
  entry.state = state;
  entry.phase = JobPhaseOf(record);
  entry.term = JobTerm(record);
  entry.losses = record.losses();
  entry.retrieval = IsRetrievalEval(record);
  entry.cancel_requested = record.cancel_requested();
  entry.base_digest = record.base_digest();
  entry.create_time = FromTimestamp(record.has_eval() ? record.eval().create_time() : record.finetune().create_time());
  entry.checkpoint_files.clear();
  for (const auto& file : record.checkpoint().files()) entry.checkpoint_files.push_back(file.sha256());
  if (state == v1::JOB_STATE_QUEUED) {
    entry.progress.Clear();
    queue_.insert({entry.create_time, key});
    return dropped;
  }
  entry.session = record.session();
  if (new_run) {
    entry.progress.Clear();
    entry.missed = absl::InfiniteFuture();
    entry.give_up = give_up;
    entry.given_up = false;
  }
  entry.progress.set_phase(entry.phase);
  return dropped;
}

JobBoard::Hello JobBoard::AddWorker(const std::string& session, const std::string& worker,
                                    const std::vector<internal::v1::JobHold>& held) {
  Hello hello;
  absl::MutexLock lock(&mutex_);
  workers_[session].name = worker;
  workers_[session].connected = true;
  for (const auto& hold : held) {
    const bool current = std::any_of(jobs_.begin(), jobs_.end(), [&](const auto& job) {
      const auto& [key, entry] = job;
      return key.name == hold.job() && entry.state == v1::JOB_STATE_RUNNING && entry.term == hold.term() &&
             entry.session == session && !entry.taken && !entry.given_up;
    });
    if (!current) hello.drop.push_back(hold);
  }
  for (auto& [key, entry] : jobs_) {
    if (entry.state != v1::JOB_STATE_RUNNING || entry.session != session) continue;
    if (entry.taken || entry.given_up) continue;
    entry.missed = absl::InfiniteFuture();
    if (!Holds(held, key.name, entry.term)) {
      hello.assign_again.push_back(key);
    } else if (entry.cancel_requested) {
      hello.cancel.push_back(MakeHold(key.name, entry.term));
    }
  }
  return hello;
}

void JobBoard::Heartbeat(const std::string& session, const std::vector<internal::v1::JobHold>& held, absl::Time now,
                         absl::Duration patience) {
  absl::MutexLock lock(&mutex_);
  for (auto& [key, entry] : jobs_) {
    if (entry.state != v1::JOB_STATE_RUNNING || entry.session != session || entry.taken) continue;
    // An assignment may be on its way, and a heartbeat sent before it arrived.
    entry.missed = Holds(held, key.name, entry.term) ? absl::InfiniteFuture() : std::min(entry.missed, now);
    if (now - entry.missed > patience) entry.given_up = true;
  }
}

void JobBoard::AddBase(const std::string& session, const std::string& base_digest) {
  absl::MutexLock lock(&mutex_);
  const auto worker = workers_.find(session);
  if (worker != workers_.end()) worker->second.bases.insert(base_digest);
}

void JobBoard::RemoveBase(const std::string& session, const std::string& base_digest) {
  absl::MutexLock lock(&mutex_);
  const auto worker = workers_.find(session);
  if (worker != workers_.end()) worker->second.bases.erase(base_digest);
}

void JobBoard::DisconnectWorker(const std::string& session) {
  absl::MutexLock lock(&mutex_);
  const auto worker = workers_.find(session);
  if (worker != workers_.end()) worker->second.connected = false;
}

void JobBoard::RemoveWorker(const std::string& session) {
  absl::MutexLock lock(&mutex_);
  workers_.erase(session);
  for (auto& [key, entry] : jobs_) {
    if (entry.session == session) entry.give_up = absl::InfinitePast();
  }
}

void JobBoard::RetireWorker(const std::string& session) {
  absl::MutexLock lock(&mutex_);
  const auto worker = workers_.find(session);
  if (worker != workers_.end()) worker->second.retired = true;
}

bool JobBoard::IsConnected(const std::string& session) const {
  absl::ReaderMutexLock lock(&mutex_);
  const auto worker = workers_.find(session);
  return worker != workers_.end() && worker->second.connected;
}

JobBoard::Room JobBoard::FindRoom() const {
  Room room;
  std::map<std::string, int> loads;
  bool evaluating = false;
  for (const auto& [key, entry] : jobs_) {
    const bool busy = entry.state == v1::JOB_STATE_RUNNING || entry.taken;
    if (busy) ++loads[entry.session];
    if (entry.retrieval) (busy ? evaluating : room.server) = true;
  }
  if (evaluating) room.server = false;  // one at a time: they run on one thread of the server
  for (const auto& [session, worker] : workers_) {
    const int load = loads[session];
    if (!worker.takes_jobs() || load >= jobs_per_worker_) continue;
    for (const std::string& base : worker.bases) {
      const auto [best, is_first] = room.by_base.emplace(base, session);
      if (!is_first && load < loads[best->second]) best->second = session;
    }
  }
  return room;
}

std::vector<JobKey> JobBoard::TurnOrder() const {
  std::map<std::string, std::vector<JobKey>> by_tenant;
  for (const auto& [time, key] : queue_) by_tenant[key.tenant].push_back(key);
  // The tenant after the one served last begins.
  std::vector<const std::vector<JobKey>*> turns;
  for (auto tenant = by_tenant.upper_bound(last_tenant_); tenant != by_tenant.end(); ++tenant) {
    turns.push_back(&tenant->second);
  }
  for (auto tenant = by_tenant.begin(); tenant != by_tenant.upper_bound(last_tenant_); ++tenant) {
    turns.push_back(&tenant->second);
  }
  std::vector<JobKey> order;
  for (size_t round = 0; order.size() < queue_.size(); ++round) {
    for (const auto* jobs : turns) {
      if (round < jobs->size()) order.push_back((*jobs)[round]);
    }
  }
  return order;
}

std::optional<JobBoard::Claim> JobBoard::TakeClaim() {
  absl::MutexLock lock(&mutex_);
  const Room room = FindRoom();
  if (room.by_base.empty() && !room.server) return std::nullopt;
  for (const JobKey& key : TurnOrder()) {
    Entry& entry = jobs_[key];
    if (entry.taken) continue;
    if (entry.retrieval) {
      if (!room.server) continue;
      entry.session = server_session_;
    } else {
      const auto free = room.by_base.find(entry.base_digest);
      if (free == room.by_base.end()) continue;
      entry.session = free->second;
    }
    entry.taken = true;
    last_tenant_ = key.tenant;
    return Claim{key, entry.session, entry.retrieval ? "server" : workers_.at(entry.session).name};
  }
  return std::nullopt;
}

std::vector<std::pair<JobKey, int64_t>> JobBoard::TakeLost(absl::Time now) {
  std::vector<std::pair<JobKey, int64_t>> lost;
  absl::MutexLock lock(&mutex_);
  for (auto& [key, entry] : jobs_) {
    if (entry.state != v1::JOB_STATE_RUNNING || entry.taken) continue;
    const bool here = workers_.contains(entry.session) || entry.session == server_session_;
    if (!entry.given_up && (here || now < entry.give_up)) continue;
    entry.taken = true;
    lost.emplace_back(key, entry.term);
  }
  return lost;
}

void JobBoard::Release(const JobKey& key) {
  absl::MutexLock lock(&mutex_);
  const auto found = jobs_.find(key);
  if (found != jobs_.end()) found->second.taken = false;
}

void JobBoard::GiveUp(const JobKey& key, int64_t term) {
  absl::MutexLock lock(&mutex_);
  const auto found = jobs_.find(key);
  if (found != jobs_.end() && found->second.term == term) found->second.given_up = true;
}

std::optional<JobKey> JobBoard::FindRunning(const std::string& name, int64_t term, const std::string& session) const {
  absl::ReaderMutexLock lock(&mutex_);
  std::optional<JobKey> found;
  for (const auto& [key, entry] : jobs_) {
    if (key.name != name || entry.state != v1::JOB_STATE_RUNNING || entry.term != term) continue;
    if (entry.session == session) return key;
    found = key;
  }
  return found;
}

std::optional<JobBoard::Run> JobBoard::Running(const JobKey& key) const {
  absl::ReaderMutexLock lock(&mutex_);
  const auto found = jobs_.find(key);
  if (found == jobs_.end() || found->second.state != v1::JOB_STATE_RUNNING) return std::nullopt;
  return Run{found->second.session, found->second.term, found->second.cancel_requested};
}

bool JobBoard::SetProgress(const JobKey& key, int64_t term, const v1::JobProgress& progress) {
  absl::MutexLock lock(&mutex_);
  const auto found = jobs_.find(key);
  if (found == jobs_.end() || found->second.term != term) return true;  // the caller has checked; it ended meanwhile
  const bool same = progress.phase() == v1::JOB_PHASE_UNSPECIFIED || progress.phase() == found->second.phase;
  found->second.progress = progress;
  if (progress.phase() == v1::JOB_PHASE_UNSPECIFIED) found->second.progress.set_phase(found->second.phase);
  return same;
}

std::optional<v1::JobProgress> JobBoard::Progress(const JobKey& key) const {
  absl::ReaderMutexLock lock(&mutex_);
  const auto found = jobs_.find(key);
  if (found == jobs_.end() || found->second.state != v1::JOB_STATE_RUNNING) return std::nullopt;
  return found->second.progress;
}

v1::QueuePlace JobBoard::Place(const Entry& entry, int position) const {
  v1::QueuePlace place;
  place.set_position(position);
  const bool base_ready = std::any_of(workers_.begin(), workers_.end(), [&](const auto& worker) {
    return worker.second.takes_jobs() && worker.second.bases.contains(entry.base_digest);
  });
  const bool any_worker =
      std::any_of(workers_.begin(), workers_.end(), [](const auto& worker) { return worker.second.takes_jobs(); });
  if (entry.losses > 0) {
    place.set_reason(v1::WAITING_REASON_RECOVERING);
    place.set_explanation("its worker was lost; it goes on from its last checkpoint when a worker is free");
  } else if (entry.retrieval) {
    place.set_reason(v1::WAITING_REASON_WORKERS_BUSY);
    place.set_explanation("the server is running another retrieval evaluation");
  } else if (!any_worker) {
    place.set_reason(v1::WAITING_REASON_NO_WORKER);
    place.set_explanation("no worker is connected");
  } else if (!base_ready) {
    place.set_reason(v1::WAITING_REASON_NO_WORKER);
    place.set_explanation("no connected worker has loaded the base yet");
  } else {
    place.set_reason(v1::WAITING_REASON_WORKERS_BUSY);
    place.set_explanation("every worker that holds the base is running another job");
  }
  return place;
}

std::map<JobKey, v1::QueuePlace> JobBoard::QueuePlaces() const {
  absl::ReaderMutexLock lock(&mutex_);
  std::map<JobKey, v1::QueuePlace> places;
  int position = 0;
  for (const JobKey& key : TurnOrder()) places[key] = Place(jobs_.at(key), ++position);
  return places;
}

JobScheduler::Counts JobBoard::counts() const {
  absl::ReaderMutexLock lock(&mutex_);
  JobScheduler::Counts counts;
  for (const auto& [key, entry] : jobs_) {
    if (entry.state == v1::JOB_STATE_VALIDATING) ++counts.validating;
    if (entry.state == v1::JOB_STATE_QUEUED) ++counts.queued;
    if (entry.state == v1::JOB_STATE_RUNNING) ++counts.running;
  }
  return counts;
}

std::set<std::string> JobBoard::CheckpointFiles() const {
  absl::ReaderMutexLock lock(&mutex_);
  std::set<std::string> files;
  for (const auto& [key, entry] : jobs_) files.insert(entry.checkpoint_files.begin(), entry.checkpoint_files.end());
  return files;
}

}  // namespace tenon::server
