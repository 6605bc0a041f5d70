// Order of the fair queue.
#include "server/dispatch/fair_queue.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <random>
#include <vector>

namespace tenon::server {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

// Heads of all queues, least served first.
std::vector<uint64_t> Heads(const FairQueue& queue) {
  std::vector<uint64_t> heads;
  queue.Scan([&](uint64_t call) {
    heads.push_back(call);
    return FairQueue::Visit::kNext;
  });
  return heads;
}

TEST(FairQueueTest, OneQueueIsFirstInFirstOut) {
  FairQueue queue;
  for (uint64_t call : {1, 2, 3}) queue.PushBack("t", "m", call);
  EXPECT_THAT(Heads(queue), ElementsAre(1));
  queue.Remove("t", "m", 1);
  EXPECT_THAT(Heads(queue), ElementsAre(2));
  queue.PushFront("t", "m", 1);
  EXPECT_THAT(Heads(queue), ElementsAre(1));
}

TEST(FairQueueTest, LeastServedGoesFirst) {
  FairQueue queue;
  queue.PushBack("t", "a", 1);
  queue.PushBack("t", "b", 2);
  queue.Charge("t", "a", 100);
  EXPECT_THAT(Heads(queue), ElementsAre(2, 1));
  queue.Charge("t", "b", 150);
  EXPECT_THAT(Heads(queue), ElementsAre(1, 2));
  queue.Charge("t", "b", -120);
  EXPECT_THAT(Heads(queue), ElementsAre(2, 1)) << "what an estimate took too much comes back";
}

TEST(FairQueueTest, TenantsComeBeforeTheirModels) {
  FairQueue queue;
  for (int model = 0; model < 10; ++model) queue.PushBack("busy", "m" + std::to_string(model), 10 + model);
  queue.PushBack("quiet", "m", 1);
  queue.Charge("busy", "m0", 50);
  EXPECT_EQ(Heads(queue).front(), 1u) << "ten models buy one tenant no more than one";
}

TEST(FairQueueTest, APauseSavesUpNothing) {
  FairQueue queue;
  queue.PushBack("t", "a", 1);
  queue.Charge("t", "a", 1000);
  queue.PushBack("t", "b", 2);  // starts level with a
  queue.Charge("t", "b", 1);
  EXPECT_THAT(Heads(queue), ElementsAre(1, 2));
}

TEST(FairQueueTest, EmptyingTheQueueDoesNotWipeTheDebt) {
  FairQueue queue;
  queue.PushBack("t", "a", 1);
  queue.PushBack("t", "b", 2);
  queue.Charge("t", "a", 1000);
  queue.Remove("t", "a", 1);
  queue.PushBack("t", "a", 3);
  EXPECT_THAT(Heads(queue), ElementsAre(2, 3));
}

TEST(FairQueueTest, RemovingWhatIsNotThereDoesNothing) {
  FairQueue queue;
  queue.Remove("t", "m", 1);
  queue.PushBack("t", "m", 2);
  queue.Remove("t", "m", 1);
  EXPECT_THAT(Heads(queue), ElementsAre(2));
  queue.Remove("t", "m", 2);
  EXPECT_THAT(Heads(queue), IsEmpty());
  EXPECT_TRUE(queue.empty());
}

// The bound of the paper: among those who always wait, served tokens differ by no more than the largest call.
TEST(FairQueueTest, BackloggedModelsAreServedEvenly) {
  FairQueue queue;
  std::mt19937 random(7);
  std::uniform_int_distribution<int> size(1, 100);
  std::map<uint64_t, std::pair<std::string, int>> calls;
  uint64_t next = 0;
  const auto add = [&](const std::string& model) {
    calls[++next] = {model, model == "heavy" ? 100 : size(random)};
    queue.PushBack("t", model, next);
  };
  const std::vector<std::string> models = {"heavy", "m1", "m2", "m3"};
  for (const std::string& model : models) add(model);
  std::map<std::string, int> served;
  for (int i = 0; i < 2000; ++i) {
    const uint64_t head = Heads(queue).front();
    const auto [model, tokens] = calls.at(head);
    add(model);  // always backlogged
    queue.Remove("t", model, head);
    queue.Charge("t", model, tokens);
    served[model] += tokens;
    for (const std::string& other : models) {
      ASSERT_LE(std::abs(served[model] - served[other]), 200) << model << " against " << other << " after " << i;
    }
  }
}

}  // namespace
}  // namespace tenon::server
