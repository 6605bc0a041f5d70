// tenon bases pull
#pragma once

#include "client/cli/command.h"

namespace tenon::cli {

void AddPull(CLI::App& bases, Cli& cli);

// The one line of a token's file. FIELD_INVALID when it cannot be read or is no token; its content is in no error.
absl::StatusOr<std::string> ReadToken(const std::string& file);

}  // namespace tenon::cli
