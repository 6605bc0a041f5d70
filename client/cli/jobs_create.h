// tenon jobs finetune | evaluate
#pragma once

#include "client/cli/command.h"

namespace tenon::cli {

void AddFinetune(CLI::App& jobs, Cli& cli);
void AddEvaluate(CLI::App& jobs, Cli& cli);

}  // namespace tenon::cli
