// Which worker answers which call, and when: admission, fair order, credits, adapter affinity, one retry. Pure, with a
// clock.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <unordered_map>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "common/clock.h"
#include "server/dispatch/fair_queue.h"

namespace tenon::server {

// What the order needs to know of a call.
struct CallTicket {
  uint64_t id = 0;
  std::string tenant;
  std::string base_digest;
  std::string adapter_digest;  // empty: the base alone
  int rows = 0;
  int64_t bytes = 0;
  int64_t charge = 0;  // tokens: ChargeOf(call)
  absl::Time deadline = absl::InfiniteFuture();
};

// Not thread-safe.
class Dispatcher {
 public:
  struct Options {
    int64_t max_rows = 65'536;        // waiting, over all tenants; beyond: QUEUE_FULL
    int64_t max_bytes = 256ll << 20;  // likewise
    int max_attempts = 2;             // workers a call may be sent to, one after another
    size_t max_affinities = 16'384;   // adapters whose last worker is remembered
  };
  struct Assignment {
    uint64_t call = 0;
    std::string session;
    int attempt = 1;
    absl::Duration waited;  // since admission, or since the call came back
  };
  struct Dropped {
    uint64_t call = 0;
    std::string session;  // where it was running; empty when it waited
  };
  struct Load {
    int64_t calls = 0;  // waiting
    int64_t rows = 0;
    int64_t bytes = 0;
    int64_t running = 0;
    int64_t credits = 0;      // of all workers
    int64_t outstanding = 0;  // tokens of them in use
  };

  Dispatcher(const Clock& clock, const Options& options) : clock_(clock), options_(options) {}

  absl::Status Admit(const CallTicket& ticket);
  // The next call to send, and where; nothing when no waiting call has a worker with credits. Call until it returns
  // nothing.
  std::optional<Assignment> Next();
  // A worker answered: its credits are free, and the real count replaces the charge. False when the call is not running
  // there.
  bool Complete(uint64_t call, const std::string& session, int64_t tokens);
  // The client has seen a part of the worker's answer: another worker must not begin it anew. False when the call is
  // not running there.
  bool Show(uint64_t call, const std::string& session);
  // A worker gave the call back unanswered, because it is going: it gets nothing more until its stream opens again, and
  // the call waits again, in front; or it has used up its attempts, or was shown in part, and is forgotten.
  enum class GivenBack { kNotThere, kWaits, kForgotten };
  GivenBack GiveBack(uint64_t call, const std::string& session);
  // Forgets the call wherever it is.
  std::optional<Dropped> Cancel(uint64_t call);
  // Forgets and returns every call whose deadline passed.
  std::vector<Dropped> TakeExpired();
  // The waiting calls whose base is hopeless.
  std::vector<uint64_t> Unserved(const std::function<bool(const std::string& base_digest)>& hopeless) const;
  // How often a call was sent; 0 when it is not known.
  int AttemptsOf(uint64_t call) const;

  // A worker's stream for inference opened with so many tokens of credit.
  void OpenWorker(const std::string& session, int64_t credits);
  void AddBase(const std::string& session, const std::string& base_digest);
  // It gets no more calls on the base; those that it has go on.
  void RemoveBase(const std::string& session, const std::string& base_digest);
  // The stream closed: what ran there waits again, in front, and what has used up its attempts or was shown in part is
  // forgotten and returned.
  std::vector<uint64_t> CloseWorker(const std::string& session);

  Load load() const;

 private:
  struct Call {
    CallTicket ticket;
    std::string session;  // empty while it waits
    std::string avoid;    // session that it was lost with
    int attempts = 0;
    bool shown = false;  // in part
    absl::Time since;
  };
  struct Worker {
    int64_t credits = 0;
    int64_t outstanding = 0;
    bool going = false;  // takes nothing more
    std::set<std::string> bases;
    std::set<uint64_t> running;
  };

  static const std::string& ModelOf(const CallTicket& ticket) {
    return ticket.adapter_digest.empty() ? ticket.base_digest : ticket.adapter_digest;
  }
  static bool Fits(const Worker& worker, const Call& call);
  // The call when it is running on that worker, else null.
  Call* Running(uint64_t id, const std::string& session);
  std::string Choose(const Call& call, std::set<std::string>* reserved) const;
  void Enqueue(Call& call, bool front);
  void Dequeue(const Call& call);
  void Release(Call& call);
  bool SendBack(Call& call);
  void Forget(uint64_t id);

  const Clock& clock_;
  const Options options_;
  FairQueue queue_;
  std::unordered_map<uint64_t, Call> calls_;
  std::set<std::pair<absl::Time, uint64_t>> deadlines_;
  std::map<std::string, Worker> workers_;
  std::unordered_map<std::string, std::string> last_worker_;  // adapter digest -> session
  Load load_;
};

}  // namespace tenon::server
