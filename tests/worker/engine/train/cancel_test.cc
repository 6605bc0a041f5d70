// A run that is cancelled while it is prepared.
#include <gtest/gtest.h>

#include "common/formats/status.h"
#include "tests/worker/engine/train/toy_run.h"

namespace tenon::engine {
namespace {

// Five rows and three, and what is read behind them.
constexpr int64_t kPieces = 5 + 3 + 1;

void EndsBehindEveryPiece(const std::shared_ptr<const Base>& base, const TrainOptions& options, const TrainData& data) {
  int64_t asked = 0, last = 0;
  const auto create = [&] {
    asked = 0;
    return Trainer::Create(base, options, data, std::nullopt, std::nullopt, [&] { return ++asked == last; }).status();
  };
  for (last = 1; last <= kPieces; ++last) {
    const absl::Status status = create();
    EXPECT_EQ(GetReason(status), Reason::kCancelled) << last << " " << status;
    EXPECT_EQ(asked, last) << "went on";
  }
  EXPECT_TRUE(create().ok());
  EXPECT_EQ(asked, kPieces);
}

TEST(CancelTest, ARunOfTextsEndsBeforeItsNextRow) {
  EndsBehindEveryPiece(testing::MakeToyBase(), testing::ToyOptions(), testing::ToyData(5, 3));
}

TEST(CancelTest, ARunOfPairsEndsBeforeItsNextRow) {
  EndsBehindEveryPiece(testing::MakeToyT5(), testing::ToyT5Options(), testing::ToyPairs(5, 3));
}

}  // namespace
}  // namespace tenon::engine
