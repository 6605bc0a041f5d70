// The connected workers: sessions, leases, the bases they hold and which they should load. Pure state with a clock; the
// streams are in server/api.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "common/clock.h"

namespace tenon::server {

// What a worker says of itself.
struct WorkerIdentity {
  std::string id;       // stable, shown to users
  std::string session;  // of the process
  std::string device;
  std::string version;
  int64_t memory_bytes = 0;  // for bases and adapters; 0: unknown, everything fits
};

enum class WorkerStage {
  kLoading,  // connected, and no base is ready yet although there are some to load
  kReady,
  kLost,  // its stream closed; its jobs are kept for the reconnect window
};

struct WorkerView {
  WorkerIdentity identity;
  WorkerStage stage = WorkerStage::kLoading;
  absl::Time connect_time;
  std::vector<std::string> bases;  // digests held, sorted
  std::vector<std::string> jobs;
  int64_t adapters_resident = 0;
  int64_t memory_bytes_used = 0;
};

// Whether calls on a base can be answered.
enum class BaseStage {
  kAbsent,    // nobody holds or loads it
  kExpected,  // a worker loads it, or one that holds it may come back within its window
  kReady,
};

// Not thread-safe.
class Fleet {
 public:
  struct Options {
    absl::Duration heartbeat = absl::Seconds(10);
    absl::Duration lease = absl::Seconds(30);            // a worker silent for longer is lost
    absl::Duration reconnect_window = absl::Seconds(5);  // a worker whose stream closed is lost behind it
    absl::Duration load_retry = absl::Seconds(60);       // a base that failed to load is tried again behind it
  };
  struct Base {
    std::string digest;
    int64_t bytes = 0;
  };
  struct Load {
    std::string session;
    std::string digest;
  };

  Fleet(const Clock& clock, const Options& options) : clock_(clock), options_(options) {}

  // A stream, `link`, opened for this worker, which holds `bases` in memory, and `unloading` beside them. True when its
  // session is known: it came back in time and keeps its jobs. ALREADY_EXISTS when another process with the same id is
  // connected.
  absl::StatusOr<bool> Connect(const WorkerIdentity& identity, const std::vector<std::string>& bases, uint64_t link,
                               const std::vector<std::string>& unloading = {});
  // The stream closed. Nothing happens when a newer stream has replaced it.
  void Disconnect(const std::string& session, uint64_t link);
  // Renews the lease. False for a session that is not connected.
  bool Heartbeat(const std::string& session, int64_t adapters_resident, int64_t memory_bytes_used,
                 const std::vector<std::string>& jobs);
  // The worker's stream for inference.
  void SetWork(const std::string& session, bool open);
  // Answer to a load.
  void BaseLoaded(const std::string& session, const std::string& digest, bool ok);
  // All bases in the worker's memory: an unload of any other is done.
  void BasesHeld(const std::string& session, const std::vector<std::string>& digests);

  // All bases of the catalog, in the order in which they should be loaded.
  void SetBases(std::vector<Base> bases);
  // Loads to ask for now. Every base that fits goes to some worker first, then to all others while it fits.
  std::vector<Load> TakeLoads();
  // Unloads to ask for now: of bases that the catalog has no more. The worker answers no more calls on them, but they
  // take its memory until BasesHeld.
  std::vector<Load> TakeUnloads();
  // Sessions whose lease or window is over; they are forgotten.
  std::vector<std::string> TakeLost();

  bool Connected(const std::string& session) const;
  // Whether the session can answer calls on the base now.
  bool Serves(const std::string& session, const std::string& digest) const;
  BaseStage StageOf(const std::string& digest) const;
  std::vector<WorkerView> Workers() const;  // by id
  bool serving() const;                     // some base can be answered now
  const Options& options() const { return options_; }

 private:
  struct Worker {
    WorkerIdentity identity;
    uint64_t link = 0;
    bool connected = true;
    bool work = false;
    absl::Time connect_time;
    absl::Time renewed;  // last sign of life, or when the stream closed
    std::set<std::string> ready;
    std::set<std::string> loading;
    std::set<std::string> unloading;
    std::map<std::string, absl::Time> failed;  // digest -> when to try again
    std::vector<std::string> jobs;
    int64_t adapters_resident = 0;
    int64_t memory_bytes_used = 0;
  };

  WorkerStage StageOf(const Worker& worker) const;
  bool InCatalog(const std::string& digest) const;
  int64_t FreeBytes(const Worker& worker) const;
  bool MayLoad(const Worker& worker, const Base& base) const;

  const Clock& clock_;
  const Options options_;
  std::map<std::string, Worker> workers_;  // by session
  std::vector<Base> bases_;
  std::map<std::string, int64_t> bytes_;  // by digest: of the catalog's bases and of those that workers still hold
};

}  // namespace tenon::server
