// absl::Status to and from the two forms it travels in.
#pragma once

#include <grpcpp/support/status.h>

#include "absl/status/status.h"
#include "common/formats/status.h"
#include "google/rpc/status.pb.h"
#include "tenon/internal/v1/worker_link_service.pb.h"

namespace tenon {

// google.rpc.Status with ErrorInfo{reason, domain "tenon"}, BadRequest for a field, RetryInfo for RESOURCE_EXHAUSTED
// and UNAVAILABLE. Message and details together stay under 4 KB. A status without a reason becomes INTERNAL with its
// message kept out: log it first.
google::rpc::Status ToRpcStatus(const absl::Status& status);
// The same in a gRPC status (`grpc-status-details-bin`).
grpc::Status ToGrpcStatus(const absl::Status& status);
// What a client got back, with reason and field again.
absl::Status FromGrpcStatus(const grpc::Status& status);

internal::v1::Error ToErrorProto(const absl::Status& status);
absl::Status FromErrorProto(const internal::v1::Error& error);

}  // namespace tenon
