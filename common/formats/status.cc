#include "common/formats/status.h"

#include <iterator>

#include "absl/strings/cord.h"

namespace tenon {
namespace {

constexpr char kReasonUrl[] = "tenon/reason";
constexpr char kFieldUrl[] = "tenon/field";

struct Row {
  Reason reason;
  const char* name;
  absl::StatusCode code;
};

constexpr Row kRows[] = {
#define TENON_REASON(symbol, name, code, meaning) {Reason::symbol, name, absl::StatusCode::code},
#include "common/formats/reasons.inc"
#undef TENON_REASON
};

const Row* Find(Reason reason) {
  for (const Row& row : kRows) {
    if (row.reason == reason) return &row;
  }
  return nullptr;
}

std::string Payload(const absl::Status& status, const char* url) {
  const auto payload = status.GetPayload(url);
  return payload.has_value() ? std::string(*payload) : std::string();
}

}  // namespace

const char* ReasonName(Reason reason) {
  const Row* row = Find(reason);
  return row == nullptr ? "" : row->name;
}

Reason ReasonFromName(const std::string& name) {
  for (const Row& row : kRows) {
    if (name == row.name) return row.reason;
  }
  return Reason::kUnspecified;
}

absl::StatusCode ReasonCode(Reason reason) {
  const Row* row = Find(reason);
  return row == nullptr ? absl::StatusCode::kUnknown : row->code;
}

absl::Status TenonError(Reason reason, const std::string& message, const std::string& field) {
  absl::Status status(ReasonCode(reason), message);
  status.SetPayload(kReasonUrl, absl::Cord(ReasonName(reason)));
  if (!field.empty()) status.SetPayload(kFieldUrl, absl::Cord(field));
  return status;
}

Reason GetReason(const absl::Status& status) { return ReasonFromName(Payload(status, kReasonUrl)); }

std::string GetField(const absl::Status& status) { return Payload(status, kFieldUrl); }

absl::Status Annotate(const absl::Status& status, const std::string& prefix) {
  if (status.ok()) return status;
  absl::Status annotated(status.code(), prefix + std::string(status.message()));
  status.ForEachPayload([&](auto url, const absl::Cord& payload) { annotated.SetPayload(url, payload); });
  return annotated;
}

}  // namespace tenon
