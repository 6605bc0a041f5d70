// A text that is shown while it is written.
#pragma once

#include <functional>

#include "absl/status/statusor.h"
#include "client/tenon_client.h"

namespace tenon::client {

// Calls `on_message` with each message as it comes, on the caller's thread, the last one included; returns the last
// one, which holds the whole text. A stream that breaks is not taken up again: what was shown stands, and the error
// says why. DATA_LOSS when it ended without its last message.
absl::StatusOr<v1::StreamGenerateResponse> StreamGenerate(
    Client& client, const v1::StreamGenerateRequest& request,
    const std::function<void(const v1::StreamGenerateResponse&)>& on_message);

}  // namespace tenon::client
