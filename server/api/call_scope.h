// A call as server/app sees it.
#pragma once

#include "server/api/call_runner.h"
#include "server/app/call_scope.h"

namespace tenon::server {

inline CallScope ToScope(const CallContext& call) {
  return {call.tenant, call.loopback, call.deadline, call.cancelled, call.when_cancelled};
}

}  // namespace tenon::server
