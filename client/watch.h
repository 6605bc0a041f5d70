// Follows a job to its end, over lost connections and restarts of the server.
#pragma once

#include <functional>
#include <string>

#include "absl/status/statusor.h"
#include "client/tenon_client.h"

namespace tenon::client {

struct WatchOptions {
  // Events up to this one were seen already.
  int64_t after_sequence = 0;
  // How long to try again after the last sign of the server.
  absl::Duration patience = absl::Minutes(2);
  // Called when the connection is lost, once each time.
  std::function<void(const absl::Status&)> on_lost;
};

// Every event once and in order, with the job as it is; the job in its final state. `on_update` runs on the caller's
// thread.
absl::StatusOr<v1::FinetuneJob> WatchFinetuneJob(
    Client& client, const std::string& name, const std::function<void(const v1::WatchFinetuneJobResponse&)>& on_update,
    const WatchOptions& options = {});
absl::StatusOr<v1::EvalJob> WatchEvalJob(Client& client, const std::string& name,
                                         const std::function<void(const v1::WatchEvalJobResponse&)>& on_update,
                                         const WatchOptions& options = {});

bool IsFinal(v1::JobState state);

}  // namespace tenon::client
