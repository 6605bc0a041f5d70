#include "server/api/call_runner.h"

#include <spdlog/spdlog.h>

#include <chrono>
#include <exception>
#include <nlohmann/json.hpp>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/ids.h"
#include "common/status_proto.h"
#include "server/access/access.h"

namespace tenon::server {
namespace {

constexpr char kRequestIdKey[] = "x-request-id";

// The client's own request id when it sent a fit one, so that its logs and ours can be joined.
std::string RequestIdOf(const grpc::ServerContextBase& context) {
  const auto& metadata = context.client_metadata();
  const auto found = metadata.find(kRequestIdKey);
  if (found != metadata.end()) {
    std::string id(found->second.data(), found->second.size());
    if (IsRequestId(id)) return id;
  }
  return RandomId();
}

absl::Time DeadlineOf(const grpc::ServerContextBase& context) {
  const auto deadline = context.deadline();
  return deadline == std::chrono::system_clock::time_point::max() ? absl::InfiniteFuture() : absl::FromChrono(deadline);
}

}  // namespace

ActiveCall::ActiveCall(const Clock& clock, RpcMetrics::Method* metrics, spdlog::logger* log,
                       grpc::ServerContextBase* context, std::string method)
    : clock_(clock), metrics_(metrics), log_(log), method_(std::move(method)), start_(clock.Now()) {
  context_.tenant = kDefaultTenant;
  context_.request_id = RequestIdOf(*context);
  context_.peer = std::string(context->peer());
  context_.loopback = IsLoopbackPeer(context_.peer);
  context_.deadline = DeadlineOf(*context);
  context_.cancelled = [state = cancellation_] { return state->flag.load(); };
  context_.when_cancelled = [state = cancellation_](std::function<void()> callback) {
    {
      absl::MutexLock lock(&state->mutex);
      if (state->closed) return;
      if (!state->flag.load()) {
        state->callbacks.push_back(std::move(callback));
        return;
      }
    }
    callback();
  };
  context->AddTrailingMetadata(kRequestIdKey, context_.request_id);
  metrics_->Started();
}

void ActiveCall::Cancel() {
  std::vector<std::function<void()>> callbacks;
  {
    absl::MutexLock lock(&cancellation_->mutex);
    cancellation_->flag.store(true);
    callbacks.swap(cancellation_->callbacks);
  }
  for (const auto& callback : callbacks) callback();
}

absl::Status ActiveCall::Check() const {
  // gRPC cancels a call whose deadline passed: name the cause, not the means.
  if (clock_.Now() >= context_.deadline) {
    return TenonError(Reason::kDeadlineExceeded, "the deadline passed before the work was done");
  }
  if (cancellation_->flag.load()) return TenonError(Reason::kCancelled, "the client cancelled the call");
  return absl::OkStatus();
}

grpc::Status ActiveCall::Finish(absl::Status status) {
  // Callbacks hold the call itself: let go of them.
  std::vector<std::function<void()>> callbacks;
  {
    absl::MutexLock lock(&cancellation_->mutex);
    cancellation_->closed = true;
    callbacks.swap(cancellation_->callbacks);
  }
  const double seconds = absl::ToDoubleSeconds(clock_.Now() - start_);
  const absl::Status original = status;
  if (!status.ok() && GetReason(status) == Reason::kUnspecified) {
    const auto implied = ReasonFromName(absl::StatusCodeToString(status.code()));
    if (implied == Reason::kUnspecified || implied == Reason::kInternal) {
      status =
          TenonError(Reason::kInternal,
                     absl::StrCat("internal error; the server's log has the details of request ", context_.request_id));
    }
  }
  metrics_->Handled(status.code(), seconds);
  if (log_ != nullptr) {
    nlohmann::json line = {
        {"event", "rpc"},        {"method", method_},         {"code", CodeName(status.code())},  {"seconds", seconds},
        {"peer", context_.peer}, {"tenant", context_.tenant}, {"request_id", context_.request_id}};
    if (!status.ok()) {
      line["reason"] = ReasonName(GetReason(status));
      if (const std::string field = GetField(original); !field.empty()) line["field"] = field;
    }
    // The message of a defect only: others may quote what the client sent.
    const bool defect = status.code() == absl::StatusCode::kInternal;
    if (defect) line["error"] = std::string(original.message());
    log_->log(defect ? spdlog::level::err : spdlog::level::info,
              line.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace));
  }
  return ToGrpcStatus(status);
}

CallRunner::CallRunner(const Clock& clock, RpcMetrics* metrics, std::shared_ptr<spdlog::logger> access_log,
                       const Options& options)
    : clock_(clock),
      metrics_(metrics),
      access_log_(std::move(access_log)),
      calls_(options.threads, options.queue),
      streams_(options.streams, 0) {}

std::shared_ptr<ActiveCall> CallRunner::Begin(grpc::ServerContextBase* context, const std::string& method) {
  return std::make_shared<ActiveCall>(clock_, metrics_->Find(method), access_log_.get(), context, method);
}

absl::Status RunHandler(const CallContext& call, const std::function<absl::Status()>& handler) {
  try {
    return handler();
  } catch (const std::exception& error) {
    return absl::InternalError(absl::StrCat("exception in request ", call.request_id, ": ", error.what()));
  } catch (...) {
    return absl::InternalError(absl::StrCat("unknown exception in request ", call.request_id));
  }
}

absl::Status PoolFull() { return TenonError(Reason::kQueueFull, "the server is busy: too many calls are waiting"); }

}  // namespace tenon::server
