#include "client/watch.h"

#include <algorithm>

#include "common/formats/status.h"

namespace tenon::client {
namespace {

// What the two kinds of job differ in.
struct Finetune {
  using Job = v1::FinetuneJob;
  using Response = v1::WatchFinetuneJobResponse;
  static bool HasJob(const Response& response) { return response.has_finetune_job(); }
  static const Job& JobOf(const Response& response) { return response.finetune_job(); }
  static auto Open(Client& client, grpc::ClientContext* context, const std::string& name, int64_t after) {
    v1::WatchFinetuneJobRequest request;
    request.set_name(name);
    request.set_after_sequence(after);
    return client.finetune().WatchFinetuneJob(context, request);
  }
};

struct Eval {
  using Job = v1::EvalJob;
  using Response = v1::WatchEvalJobResponse;
  static bool HasJob(const Response& response) { return response.has_eval_job(); }
  static const Job& JobOf(const Response& response) { return response.eval_job(); }
  static auto Open(Client& client, grpc::ClientContext* context, const std::string& name, int64_t after) {
    v1::WatchEvalJobRequest request;
    request.set_name(name);
    request.set_after_sequence(after);
    return client.eval().WatchEvalJob(context, request);
  }
};

// UNAVAILABLE is a server that went away or is going down; an OK end before the job's own is the same.
bool MayComeBack(const absl::Status& status) { return status.ok() || absl::IsUnavailable(status); }

template <typename Kind>
absl::StatusOr<typename Kind::Job> Watch(Client& client, const std::string& name,
                                         const std::function<void(const typename Kind::Response&)>& on_update,
                                         const WatchOptions& options) {
  int64_t after = options.after_sequence;
  typename Kind::Job job;
  absl::Time last_sign = absl::Now();
  absl::Duration pause = absl::Milliseconds(100);
  bool lost = false;
  while (true) {
    absl::Status ended;
    {
      Client::Context context(client, absl::InfiniteDuration());
      auto reader = Kind::Open(client, context.get(), name, after);
      typename Kind::Response response;
      while (reader->Read(&response)) {
        lost = false;
        last_sign = absl::Now();
        pause = absl::Milliseconds(100);
        if (Kind::HasJob(response)) job = Kind::JobOf(response);
        // After a reconnect the server may repeat what was under way when the connection broke.
        if (response.has_event()) {
          if (response.event().sequence() <= after) continue;
          after = response.event().sequence();
        }
        on_update(response);
      }
      ended = client.Decode(reader->Finish());
    }
    if (ended.ok() && IsFinal(job.state())) return job;
    if (!MayComeBack(ended)) return ended;
    if (absl::Now() - last_sign > options.patience) {
      return ended.ok() ? absl::UnavailableError("The server ended the watch before the job's end.") : ended;
    }
    if (!lost && options.on_lost) options.on_lost(ended);
    lost = true;
    if (client.calls().WaitForCancel(pause)) return TenonError(Reason::kCancelled, "The watch was cancelled.");
    pause = std::min(pause * 2, absl::Seconds(2));
  }
}

}  // namespace

bool IsFinal(v1::JobState state) {
  return state == v1::JOB_STATE_SUCCEEDED || state == v1::JOB_STATE_FAILED || state == v1::JOB_STATE_CANCELLED;
}

absl::StatusOr<v1::FinetuneJob> WatchFinetuneJob(
    Client& client, const std::string& name, const std::function<void(const v1::WatchFinetuneJobResponse&)>& on_update,
    const WatchOptions& options) {
  return Watch<Finetune>(client, name, on_update, options);
}

absl::StatusOr<v1::EvalJob> WatchEvalJob(Client& client, const std::string& name,
                                         const std::function<void(const v1::WatchEvalJobResponse&)>& on_update,
                                         const WatchOptions& options) {
  return Watch<Eval>(client, name, on_update, options);
}

}  // namespace tenon::client
