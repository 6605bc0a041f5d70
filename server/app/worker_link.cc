#include "server/app/worker_link.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "common/ids.h"
#include "common/status_proto.h"

namespace tenon::server {
namespace {

constexpr absl::Duration kTick = absl::Milliseconds(100);
constexpr int kTicksPerRefresh = 5;  // looks at the catalog

std::vector<internal::v1::JobHold> Holds(const google::protobuf::RepeatedPtrField<internal::v1::JobHold>& jobs) {
  return {jobs.begin(), jobs.end()};
}

std::vector<std::string> Strings(const google::protobuf::RepeatedPtrField<std::string>& strings) {
  return {strings.begin(), strings.end()};
}

}  // namespace

WorkerLink::WorkerLink(const Parts& parts) : parts_(parts) {
  parts_.router->set_refresh([this] { RefreshBases(); });
}

uint64_t WorkerLink::OpenLink(LinkStream stream) {
  const uint64_t id = next_stream_.fetch_add(1);
  Post([this, id, stream = std::move(stream)] { links_[id] = {stream, ""}; });
  return id;
}

uint64_t WorkerLink::OpenWork(WorkStream stream) {
  const uint64_t id = next_stream_.fetch_add(1);
  Post([this, id, stream = std::move(stream)] { works_[id] = {stream, ""}; });
  return id;
}

void WorkerLink::OnLink(uint64_t stream, internal::v1::LinkRequest message) {
  Post([this, stream, message = std::move(message)] {
    const auto found = links_.find(stream);
    if (found == links_.end()) return;
    const std::string session = found->second.session;
    if (message.has_hello() == !session.empty()) {
      return CloseLinkWith(
          stream, TenonError(Reason::kFieldInvalid, "the first message, and no other, must be hello", "hello"));
    }
    if (message.has_hello()) OnHello(stream, message.hello());
    if (message.has_heartbeat()) OnHeartbeat(session, message.heartbeat());
    if (message.has_base_loaded()) OnBaseLoaded(session, message.base_loaded());
    Announce();
  });
}

void WorkerLink::OnWork(uint64_t stream, internal::v1::WorkRequest message) {
  Post([this, stream, message = std::move(message)]() mutable {
    const auto found = works_.find(stream);
    if (found == works_.end()) return;
    Work& work = found->second;
    if (message.has_result() && !work.session.empty() && work_of_[work.session] == stream) {
      return parts_.router->OnResult(work.session, std::move(*message.mutable_result()));
    }
    if (message.has_delta() && !work.session.empty() && work_of_[work.session] == stream) {
      return parts_.router->OnDelta(work.session, std::move(*message.mutable_delta()));
    }
    if (!message.has_hello() || !work.session.empty()) return;
    const internal::v1::WorkHello& hello = message.hello();
    if (hello.credits() <= 0) {
      return work.stream.close(TenonError(Reason::kFieldInvalid, "credits must be positive", "credits"));
    }
    if (!parts_.fleet->Connected(hello.session())) {
      return work.stream.close(TenonError(Reason::kNoWorker, "this session has no open Link", "session"));
    }
    work.session = hello.session();
    work_of_[work.session] = stream;
    parts_.router->OpenWorker(work.session, hello.credits(), work.stream.send);
    Announce();
  });
}

void WorkerLink::CloseLink(uint64_t stream) {
  Post([this, stream] {
    ForgetLink(stream);
    Announce();
  });
}

void WorkerLink::CloseWork(uint64_t stream) {
  Post([this, stream] {
    const auto found = works_.find(stream);
    if (found == works_.end()) return;
    const std::string session = found->second.session;
    works_.erase(found);
    if (const auto current = work_of_.find(session); current != work_of_.end() && current->second == stream) {
      work_of_.erase(current);
      parts_.router->CloseWorker(session);
    }
    Announce();
  });
}

void WorkerLink::Send(const std::string& session, internal::v1::LinkResponse message) {
  const auto link = link_of_.find(session);
  if (link != link_of_.end()) links_.at(link->second).stream.send(std::move(message));
}

void WorkerLink::OnCatalogChanged() {
  Post([this] { RefreshBases(); });
}

void WorkerLink::StartTicking() {
  parts_.loop->PostAfter(kTick, [this] {
    if (stopped_) return;
    Tick();
    StartTicking();
  });
}

void WorkerLink::Post(std::function<void()> function) {
  parts_.loop->Post([this, function = std::move(function)] {
    if (!stopped_) function();
  });
}

void WorkerLink::Tick() {
  ReapLost();
  if (++ticks_ % kTicksPerRefresh == 0) RefreshBases();
  parts_.router->Tick();
  Announce();
}

std::vector<WorkerView> WorkerLink::Workers() const {
  std::vector<WorkerView> workers;
  parts_.loop->Run([&] { workers = parts_.fleet->Workers(); });
  return workers;
}

void WorkerLink::OnHello(uint64_t stream, const internal::v1::Hello& hello) {
  absl::Status valid = CheckId(hello.worker_id(), "worker_id");
  if (valid.ok()) valid = CheckId(hello.session(), "session");
  if (!valid.ok()) return CloseLinkWith(stream, valid);

  const WorkerIdentity identity{hello.worker_id(), hello.session(), hello.device(), hello.version(),
                                hello.memory_bytes()};
  const std::vector<std::string> bases = Strings(hello.base_digests());
  const auto came_back = parts_.fleet->Connect(identity, bases, stream, Strings(hello.unloading_digests()));
  if (!came_back.ok()) return CloseLinkWith(stream, came_back.status());
  if (const auto old = link_of_.find(hello.session()); old != link_of_.end()) {
    CloseLinkWith(old->second, TenonError(Reason::kWorkerLost, "a newer stream of this session replaced this one"));
  }
  links_.at(stream).session = hello.session();
  link_of_[hello.session()] = stream;
  ReapLost();  // a process that this one replaced

  internal::v1::LinkResponse message;
  auto* welcome = message.mutable_welcome();
  welcome->set_heartbeat_ms(absl::ToInt64Milliseconds(parts_.fleet->options().heartbeat));
  welcome->set_lease_ms(absl::ToInt64Milliseconds(parts_.fleet->options().lease));
  for (auto& hold : parts_.jobs->OnWorkerHello(hello.session(), hello.worker_id(), Holds(hello.jobs()))) {
    *welcome->add_drop() = std::move(hold);
  }
  Send(hello.session(), std::move(message));
  RefreshBases();
  for (const std::string& digest : bases) parts_.jobs->OnBaseReady(hello.session(), digest);
  parts_.router->OnFleetChanged();
}

void WorkerLink::OnHeartbeat(const std::string& session, const internal::v1::Heartbeat& heartbeat) {
  std::vector<std::string> jobs;
  for (const auto& hold : heartbeat.jobs()) jobs.push_back(hold.job());
  parts_.fleet->Heartbeat(session, heartbeat.adapters_resident(), heartbeat.memory_bytes_used(), jobs);
  parts_.fleet->BasesHeld(session, Strings(heartbeat.base_digests()));
  parts_.jobs->OnWorkerHeartbeat(session, Holds(heartbeat.jobs()));
}

void WorkerLink::OnBaseLoaded(const std::string& session, const internal::v1::BaseLoaded& loaded) {
  parts_.fleet->BaseLoaded(session, loaded.digest(), !loaded.has_error());
  if (!loaded.has_error()) parts_.jobs->OnBaseReady(session, loaded.digest());
  parts_.router->OnFleetChanged();
}

void WorkerLink::ForgetLink(uint64_t stream) {
  const auto found = links_.find(stream);
  if (found == links_.end()) return;
  const std::string session = found->second.session;
  links_.erase(found);
  if (const auto current = link_of_.find(session); current != link_of_.end() && current->second == stream) {
    link_of_.erase(current);
    parts_.jobs->OnWorkerDisconnected(session);
  }
  parts_.fleet->Disconnect(session, stream);
  parts_.router->OnFleetChanged();
}

void WorkerLink::CloseLinkWith(uint64_t stream, const absl::Status& status) {
  const auto found = links_.find(stream);
  if (found == links_.end()) return;
  const LinkStream open = found->second.stream;
  ForgetLink(stream);
  open.close(status);
}

void WorkerLink::RefreshBases() {
  std::vector<Fleet::Base> specs;
  bases_.clear();
  for (v1::Base& base : parts_.bases()) {
    specs.push_back({base.digest(), base.size_bytes()});
    const std::string digest = base.digest();
    bases_[digest] = std::move(base);
  }
  parts_.fleet->SetBases(std::move(specs));
  const std::vector<Fleet::Load> unloads = parts_.fleet->TakeUnloads();
  for (const Fleet::Load& unload : unloads) {
    parts_.router->OnBaseGone(unload.session, unload.digest);
    parts_.jobs->OnBaseGone(unload.session, unload.digest);
    internal::v1::LinkResponse message;
    message.mutable_unload_base()->set_digest(unload.digest);
    Send(unload.session, std::move(message));
  }
  for (const Fleet::Load& load : parts_.fleet->TakeLoads()) {
    const v1::Base& base = bases_.at(load.digest);
    internal::v1::LinkResponse message;
    message.mutable_load_base()->set_digest(base.digest());
    message.mutable_load_base()->set_name(base.name());
    *message.mutable_load_base()->mutable_files() = base.files();
    Send(load.session, std::move(message));
  }
  if (!unloads.empty()) parts_.router->OnFleetChanged();
}

void WorkerLink::ReapLost() {
  for (const std::string& session : parts_.fleet->TakeLost()) {
    if (const auto link = link_of_.find(session); link != link_of_.end()) {
      CloseLinkWith(link->second, TenonError(Reason::kWorkerLost, "the worker was silent for longer than its lease"));
    }
    if (const auto work = work_of_.find(session); work != work_of_.end()) {
      works_.at(work->second).stream.close(TenonError(Reason::kWorkerLost, "the worker's lease is over"));
      work_of_.erase(work);
    }
    parts_.router->CloseWorker(session);
    parts_.jobs->OnWorkerLost(session);
    parts_.router->OnFleetChanged();
  }
}

void WorkerLink::Announce() {
  if (parts_.fleet->serving() == serving_) return;
  serving_ = !serving_;
  if (on_serving_) on_serving_(serving_);
}

}  // namespace tenon::server
