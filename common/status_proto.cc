#include "common/status_proto.h"

#include <string>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "google/rpc/error_details.pb.h"

namespace tenon {
namespace {

constexpr char kDomain[] = "tenon";
// Message and details travel in HTTP/2 trailers, which proxies cap at 8 KiB all told: together they stay under 4 KB.
// Unicode is cut at a code point.
constexpr size_t kMaxMessageBytes = 1500;
constexpr size_t kMaxFieldBytes = 200;

std::string Cut(const std::string& text, size_t limit) {
  if (text.size() <= limit) return text;
  size_t end = limit - 3;
  while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xC0) == 0x80) --end;
  return absl::StrCat(text.substr(0, end), "...");
}

// Seconds after which a call may be tried again; 0: no hint.
int RetryAfterSeconds(Reason reason) {
  switch (reason) {
    case Reason::kQueueFull:
    case Reason::kNoWorker:
    case Reason::kWorkerLost:
    case Reason::kShuttingDown:
      return 1;
    case Reason::kDiskFull:
    case Reason::kStorageFault:
      return 30;
    default:
      return 0;
  }
}

// Reason of a status that was not made by TenonError.
Reason ImpliedReason(absl::StatusCode code) {
  switch (code) {
    case absl::StatusCode::kCancelled:
      return Reason::kCancelled;
    case absl::StatusCode::kDeadlineExceeded:
      return Reason::kDeadlineExceeded;
    case absl::StatusCode::kNotFound:
      return Reason::kNotFound;
    case absl::StatusCode::kAlreadyExists:
      return Reason::kAlreadyExists;
    default:
      return Reason::kInternal;
  }
}

}  // namespace

google::rpc::Status ToRpcStatus(const absl::Status& status) {
  google::rpc::Status rpc;
  if (status.ok()) return rpc;
  Reason reason = GetReason(status);
  std::string message(status.message());
  absl::StatusCode code = status.code();
  if (reason == Reason::kUnspecified) {
    reason = ImpliedReason(code);
    if (reason == Reason::kInternal) {
      code = absl::StatusCode::kInternal;
      message = "internal error; the server's log has the details";
    }
  }
  rpc.set_code(static_cast<int>(code));
  rpc.set_message(Cut(message, kMaxMessageBytes));

  google::rpc::ErrorInfo info;
  info.set_reason(ReasonName(reason));
  info.set_domain(kDomain);
  rpc.add_details()->PackFrom(info);
  if (const std::string field = GetField(status); !field.empty()) {
    google::rpc::BadRequest bad_request;
    auto* violation = bad_request.add_field_violations();
    violation->set_field(Cut(field, kMaxFieldBytes));
    violation->set_description(Cut(message, kMaxFieldBytes));
    rpc.add_details()->PackFrom(bad_request);
  }
  if (const int seconds = RetryAfterSeconds(reason); seconds > 0) {
    google::rpc::RetryInfo retry;
    retry.mutable_retry_delay()->set_seconds(seconds);
    rpc.add_details()->PackFrom(retry);
  }
  return rpc;
}

grpc::Status ToGrpcStatus(const absl::Status& status) {
  if (status.ok()) return grpc::Status::OK;
  const google::rpc::Status rpc = ToRpcStatus(status);
  return grpc::Status(static_cast<grpc::StatusCode>(rpc.code()), rpc.message(), rpc.SerializeAsString());
}

absl::Status FromGrpcStatus(const grpc::Status& status) {
  if (status.ok()) return absl::OkStatus();
  google::rpc::Status rpc;
  Reason reason = Reason::kUnspecified;
  std::string field;
  if (rpc.ParseFromString(status.error_details())) {
    for (const auto& detail : rpc.details()) {
      google::rpc::ErrorInfo info;
      google::rpc::BadRequest bad_request;
      if (detail.UnpackTo(&info) && info.domain() == kDomain) reason = ReasonFromName(info.reason());
      if (detail.UnpackTo(&bad_request) && bad_request.field_violations_size() > 0) {
        field = bad_request.field_violations(0).field();
      }
    }
  }
  const absl::Status plain(static_cast<absl::StatusCode>(status.error_code()), status.error_message());
  if (reason == Reason::kUnspecified) return plain;
  absl::Status tenon_error = TenonError(reason, status.error_message(), field);
  // The code that was sent wins over the reason's own.
  return tenon_error.code() == plain.code() ? tenon_error : plain;
}

internal::v1::Error ToErrorProto(const absl::Status& status) {
  internal::v1::Error error;
  error.set_code(static_cast<int>(status.code()));
  error.set_reason(ReasonName(GetReason(status)));
  error.set_message(Cut(std::string(status.message()), kMaxMessageBytes));
  error.set_field(Cut(GetField(status), kMaxFieldBytes));
  return error;
}

absl::Status FromErrorProto(const internal::v1::Error& error) {
  const Reason reason = ReasonFromName(error.reason());
  if (reason != Reason::kUnspecified) return TenonError(reason, error.message(), error.field());
  return absl::Status(static_cast<absl::StatusCode>(error.code()), error.message());
}

}  // namespace tenon
