// Errors that keep a reason and a field on their way from the engine to the client.
//
// Inside the program every error is an absl::Status. `TenonError` adds two payloads: the reason, one word of the table
// in docs/errors.md, and the request field, data row or key at fault. No protobuf here, so that the engine may use it;
// server/api turns them into google.rpc.ErrorInfo and BadRequest.
#pragma once

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace tenon {

// Every reason that a client can see. docs/errors.md lists the same names; a test keeps the two equal.
enum class Reason {
  kUnspecified,
#define TENON_REASON(symbol, name, code, meaning) symbol,
#include "common/formats/reasons.inc"
#undef TENON_REASON
};

// `TEXT_EMPTY` for Reason::kTextEmpty.
const char* ReasonName(Reason reason);
// The reason with this name; kUnspecified when there is none.
Reason ReasonFromName(const std::string& name);
// Status code that goes with a reason.
absl::StatusCode ReasonCode(Reason reason);

// An error with the reason's own code. `field` names the request field, data row or key at fault, and may be empty.
absl::Status TenonError(Reason reason, const std::string& message, const std::string& field = "");

// What TenonError stored; kUnspecified and "" for any other status.
Reason GetReason(const absl::Status& status);
std::string GetField(const absl::Status& status);

// The same error with `prefix` put before its message; payloads are kept.
absl::Status Annotate(const absl::Status& status, const std::string& prefix);

}  // namespace tenon

#define TENON_CONCAT_INNER(a, b) a##b
#define TENON_CONCAT(a, b) TENON_CONCAT_INNER(a, b)

// Returns the status from the enclosing function when it is an error.
#define RETURN_IF_ERROR(expression)              \
  do {                                           \
    absl::Status tenon_status = (expression);    \
    if (!tenon_status.ok()) return tenon_status; \
  } while (false)

// ASSIGN_OR_RETURN(auto value, Compute()): the value, or return the error.
#define ASSIGN_OR_RETURN(lhs, expression) \
  TENON_ASSIGN_OR_RETURN(TENON_CONCAT(tenon_status_or_, __LINE__), lhs, expression)
#define TENON_ASSIGN_OR_RETURN(statusor, lhs, expression) \
  auto statusor = (expression);                           \
  if (!statusor.ok()) return statusor.status();           \
  lhs = std::move(statusor).value()
