// The worker's numbers for Prometheus; docs/metrics.md has the table.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "worker/link/link.h"
#include "worker/runtime/runtime.h"

namespace tenon::link {

// Thread-safe. Labels are bounded: tiers, kinds and results, never ids.
class Metrics {
 public:
  Metrics();
  ~Metrics();

  // Counts what the runtime does. Give it to Runtime::Create; it may outlive neither.
  runtime::RuntimeObserver observer();
  void OnTrainStep();
  // Read at every scrape, until Detach.
  void Attach(const runtime::Runtime* runtime, const WorkerLink* link, const BlobCache* cache);
  void Detach();

  // Serves /metrics on host:port, port 0 for any free one; answers with the port.
  absl::StatusOr<int> Listen(const std::string& address);
  // Serves no more.
  void Close();
  // The page's text.
  std::string Render() const;

 private:
  struct State;
  std::shared_ptr<State> state_;
};

}  // namespace tenon::link
