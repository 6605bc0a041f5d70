// The server's end of every worker: turns messages of the Link and Work streams into what fleet, jobs and inference
// need, and back.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "common/clock.h"
#include "common/event_loop.h"
#include "server/app/inference_router.h"
#include "server/app/job_scheduler.h"
#include "server/fleet/fleet.h"
#include "tenon/internal/v1/worker_link_service.pb.h"
#include "tenon/v1/catalog_service.pb.h"

namespace tenon::server {

// Calls marked * are thread-safe and return at once; all else is called on the loop. Must outlive what is posted:
// destroy the loop first.
class WorkerLink {
 public:
  struct Parts {
    EventLoop* loop = nullptr;
    Fleet* fleet = nullptr;
    LoopInferenceRouter* router = nullptr;
    JobScheduler* jobs = nullptr;
    std::function<std::vector<v1::Base>()> bases;  // of the catalog. Thread-safe, quick
  };
  // One open stream. Functions are thread-safe and do nothing once it is closed.
  template <typename Message>
  struct Stream {
    std::function<void(Message)> send;
    std::function<void(absl::Status)> close;
  };
  using LinkStream = Stream<internal::v1::LinkResponse>;
  using WorkStream = Stream<internal::v1::WorkResponse>;

  explicit WorkerLink(const Parts& parts);

  // * A stream opened; the number names it from here on.
  uint64_t OpenLink(LinkStream stream);
  uint64_t OpenWork(WorkStream stream);
  // * Messages in the order in which they came, then the end of the stream.
  void OnLink(uint64_t stream, internal::v1::LinkRequest message);
  void OnWork(uint64_t stream, internal::v1::WorkRequest message);
  void CloseLink(uint64_t stream);
  void CloseWork(uint64_t stream);

  // Dropped when the worker is gone.
  void Send(const std::string& session, internal::v1::LinkResponse message);
  // Nothing is done or called any more: what it calls may be destroyed.
  void Stop() { stopped_ = true; }
  // Called at once and with every change: whether some base can be answered.
  void set_on_serving(std::function<void(bool)> on_serving) {
    on_serving_ = std::move(on_serving);
    if (on_serving_) on_serving_(serving_);
  }

  // * A base came or went.
  void OnCatalogChanged();
  // * Looks at leases, deadlines and the catalog every 100 ms from now on.
  void StartTicking();
  // One look.
  void Tick();
  // * For people and metrics.
  std::vector<WorkerView> Workers() const;

 private:
  struct Link {
    LinkStream stream;
    std::string session;  // empty before its Hello
  };
  struct Work {
    WorkStream stream;
    std::string session;
  };

  void OnHello(uint64_t stream, const internal::v1::Hello& hello);
  void OnHeartbeat(const std::string& session, const internal::v1::Heartbeat& heartbeat);
  void OnBaseLoaded(const std::string& session, const internal::v1::BaseLoaded& loaded);
  void Post(std::function<void()> function);
  void ForgetLink(uint64_t stream);
  void CloseLinkWith(uint64_t stream, const absl::Status& status);
  void RefreshBases();
  void ReapLost();
  void Announce();

  const Parts parts_;
  std::atomic<uint64_t> next_stream_{1};
  std::map<uint64_t, Link> links_;
  std::map<uint64_t, Work> works_;
  std::map<std::string, uint64_t> link_of_;  // by session
  std::map<std::string, uint64_t> work_of_;
  std::map<std::string, v1::Base> bases_;  // by digest
  std::function<void(bool)> on_serving_;
  bool serving_ = false;
  bool stopped_ = false;
  int ticks_ = 0;
};

}  // namespace tenon::server
