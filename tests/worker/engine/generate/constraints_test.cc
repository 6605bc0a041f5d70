#include "worker/engine/generate/constraints.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace tenon::engine {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::UnorderedElementsAre;

TEST(Constraints, NothingAskedNothingDone) { EXPECT_TRUE(ConstraintsOf({}, {2, 5, 5, 5}).empty()); }

TEST(Constraints, BansWhatWouldRepeatAnNGram) {
  GenerationPlan plan;
  plan.no_repeat_ngram_size = 3;
  EXPECT_THAT(ConstraintsOf(plan, {2, 5, 6, 7, 5, 6}).banned, ElementsAre(7));
  EXPECT_THAT(ConstraintsOf(plan, {5, 6, 7, 5, 6, 8, 5, 6}).banned, UnorderedElementsAre(7, 8));
  EXPECT_THAT(ConstraintsOf(plan, {2, 5, 6, 7, 6, 5}).banned, IsEmpty());
  EXPECT_THAT(ConstraintsOf(plan, {5, 5}).banned, IsEmpty());
  EXPECT_THAT(ConstraintsOf(plan, {5, 5, 5}).banned, ElementsAre(5));
  plan.no_repeat_ngram_size = 1;
  EXPECT_THAT(ConstraintsOf(plan, {2, 5, 6}).banned, UnorderedElementsAre(2, 5, 6));
}

TEST(Constraints, BansTheEndOfABadWord) {
  GenerationPlan plan;
  plan.bad_words = {{9}, {5, 6}, {4, 5, 7}, {1, 4, 5, 8}};
  EXPECT_THAT(ConstraintsOf(plan, {4, 5}).banned, UnorderedElementsAre(9, 6, 7));
  EXPECT_THAT(ConstraintsOf(plan, {5, 4}).banned, ElementsAre(9));
}

TEST(Constraints, BarsTheEndBelowTheMinimum) {
  GenerationPlan plan;
  plan.eos_token_ids = {1, 3};
  plan.min_length = 3;
  EXPECT_THAT(ConstraintsOf(plan, {2, 5}).banned, UnorderedElementsAre(1, 3));
  EXPECT_THAT(ConstraintsOf(plan, {2, 5, 6}).banned, IsEmpty());
}

TEST(Constraints, NamesEachRepeatedTokenOnce) {
  GenerationPlan plan;
  plan.repetition_penalty = 1.5;
  EXPECT_THAT(ConstraintsOf(plan, {5, 2, 5, 6, 2}).repeated, ElementsAre(2, 5, 6));
}

TEST(Constraints, ForcesTheFirstAndTheLastToken) {
  GenerationPlan plan;
  plan.max_length = 4;
  plan.forced_bos_token_id = 8;
  plan.forced_eos_token_ids = {1};
  EXPECT_THAT(ConstraintsOf(plan, {2}).forced, ElementsAre(8));
  EXPECT_THAT(ConstraintsOf(plan, {2, 8}).forced, IsEmpty());
  EXPECT_THAT(ConstraintsOf(plan, {2, 8, 5}).forced, ElementsAre(1));
}

TEST(Constraints, SuppressesAtTheBeginningAfterAForcedToken) {
  GenerationPlan plan;
  plan.suppress_tokens = {4};
  plan.begin_suppress_tokens = {7};
  EXPECT_THAT(ConstraintsOf(plan, {2}).suppressed, ElementsAre(4, 7));
  EXPECT_THAT(ConstraintsOf(plan, {2, 5}).suppressed, ElementsAre(4));
  plan.forced_bos_token_id = 8;
  EXPECT_THAT(ConstraintsOf(plan, {2}).suppressed, ElementsAre(4));
  EXPECT_THAT(ConstraintsOf(plan, {2, 8}).suppressed, ElementsAre(4, 7));
}

}  // namespace
}  // namespace tenon::engine
