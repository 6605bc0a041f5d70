// Learning rates over a run, as transformers' get_{linear,cosine,constant}_schedule_with_warmup give them. No torch.
#pragma once

#include <cstdint>

#include "common/formats/train_options.h"

namespace tenon::engine {

// Rate used by optimizer step `step`, from 1 to total_steps. The first step of a warm-up has rate 0, as in
// transformers.
double LearningRate(const formats::TrainOptions& options, int64_t total_steps, int64_t step);

}  // namespace tenon::engine
