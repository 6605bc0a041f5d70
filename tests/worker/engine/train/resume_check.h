// Runs that stop at a checkpoint and go on, in tests.
#pragma once

#include <gtest/gtest.h>

#include <memory>

#include "tests/worker/engine/train/toy_run.h"

namespace tenon::testing {

// From every checkpoint of a run of eleven steps the rest is what it was, to the bytes of the result.
inline void ExpectEveryCheckpointGoesOn(const std::shared_ptr<const engine::Base>& base, engine::TrainOptions options,
                                        const engine::TrainData& data) {
  options.max_steps = 11;
  options.save_steps = 2;
  options.eval_steps = 3;
  options.gradient_accumulation_steps = 2;
  options.weight_decay = 0.01;
  options.schedule = engine::Schedule::kCosine;
  options.warmup_steps = 3;
  const ToyRun whole = RunToy(base, options, data);
  ASSERT_TRUE(whole.status.ok()) << whole.status;
  ASSERT_EQ(whole.checkpoints.size(), 5u);  // steps 2, 4, 6, 8, 10
  for (size_t i = 0; i < whole.checkpoints.size(); ++i) {
    const ToyRun rest = RunToy(base, options, data, whole.checkpoints[i]);
    ASSERT_TRUE(rest.status.ok()) << rest.status;
    const int64_t step = 2 * (static_cast<int64_t>(i) + 1);
    EXPECT_EQ(rest.progress.front().step, step + 1);
    EXPECT_EQ(rest.progress.front().loss, whole.progress[static_cast<size_t>(step)].loss);
    EXPECT_EQ(rest.weights, whole.weights) << "from step " << step;
    EXPECT_EQ(rest.done->trained_tokens, whole.done->trained_tokens);
    EXPECT_EQ(rest.done->best_step, whole.done->best_step);
    EXPECT_TRUE(rest.Kind("untrained").empty());
    for (const auto& evaluation : rest.Kind("validation")) EXPECT_GT(evaluation.step, step);
  }
}

}  // namespace tenon::testing
