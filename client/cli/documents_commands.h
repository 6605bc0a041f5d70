// tenon documents add | delete
#pragma once

#include "client/cli/command.h"

namespace tenon::cli {

void AddDocuments(CLI::App& app, Cli& cli);

}  // namespace tenon::cli
