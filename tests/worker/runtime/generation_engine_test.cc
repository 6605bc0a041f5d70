// The runtime over the engine's own batch and searches, with a toy decoder: every row gets what it gets alone.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <thread>

#include "absl/strings/str_join.h"
#include "common/formats/status.h"
#include "tests/worker/runtime/runtime_fixture.h"

namespace tenon::runtime {
namespace {

using GenerationEngineTest = RuntimeFixture;

// All kinds of search, told apart by `n`.
GenerationCall Mixed(int n) {
  GenerationCall call{.base_digest = "writer", .texts = {absl::StrCat(n, " ", n * 7)}};
  call.options.max_new_tokens = 5 + n % 20;
  if (n % 3 == 1) {
    call.options.num_beams = 2 + n % 3;
    call.options.num_return_sequences = 2;
  }
  if (n % 3 == 2) {
    call.options.do_sample = true;
    call.options.num_return_sequences = 1 + n % 4;
    call.options.seed = n;
  }
  call.options.return_scores = n % 2 == 0;
  call.stream = n % 3 == 0;
  return call;
}

TEST_F(GenerationEngineTest, RowsGetWhatTheyGetAloneWhoeverIsBesideThem) {
  constexpr int kCalls = 60;
  options_.max_decoder_lines = 12;
  StartWriter();
  std::vector<absl::StatusOr<GenerationReply>> alone;
  for (int n = 0; n < kCalls; ++n) alone.push_back(Generate(Mixed(n)));
  std::vector<Pending> together(kCalls);
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      for (int n = t; n < kCalls; n += 4) Submit(Mixed(n), together[n]);
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (int n = 0; n < kCalls; ++n) {
    SCOPED_TRACE(n);
    together[n].done.WaitForNotification();
    ASSERT_TRUE(together[n].reply.ok() && alone[n].ok()) << together[n].reply.status() << alone[n].status();
    const auto& got = together[n].reply->rows[0].sequences;
    const auto& wanted = alone[n]->rows[0].sequences;
    ASSERT_EQ(got.size(), wanted.size());
    int64_t tokens = 0;
    for (size_t i = 0; i < got.size(); ++i) {
      EXPECT_EQ(got[i].tokens, wanted[i].tokens);
      EXPECT_EQ(got[i].text, wanted[i].text);
      EXPECT_EQ(got[i].score, wanted[i].score);
      EXPECT_EQ(got[i].log_probs.size(), n % 2 == 0 ? got[i].tokens.size() : 0);
      tokens += static_cast<int64_t>(got[i].tokens.size());
    }
    EXPECT_EQ(together[n].reply->rows[0].output_tokens, tokens);
    EXPECT_EQ(absl::StrJoin(together[n].deltas, ""), n % 3 == 0 ? got[0].text : "");
  }
}

TEST_F(GenerationEngineTest, CancelledBeamsLeaveTheOthersAsTheyAre) {
  options_.max_decoder_lines = 16;
  StartWriter();
  const auto alone = Generate(Mixed(30));
  for (int round = 0; round < 30; ++round) {
    Pending beams, kept;
    GenerationCall call = Mixed(1);
    call.options.num_beams = 6;
    call.options.max_new_tokens = 500;
    call.options.min_new_tokens = 499;
    Submit(call, beams);
    Submit(Mixed(30), kept);
    runtime_->Cancel(beams.id);
    kept.done.WaitForNotification();
    ASSERT_TRUE(kept.reply.ok());
    EXPECT_EQ(kept.reply->rows[0].sequences[0].tokens, alone->rows[0].sequences[0].tokens);
  }
}

TEST_F(GenerationEngineTest, MoreBeamsThanThereAreLinesAreRefused) {
  options_.max_decoder_lines = 4;
  StartWriter();
  GenerationCall call = Mixed(1);
  call.options.num_beams = 5;
  EXPECT_EQ(GetField(Generate(call).status()), "num_beams");
}

}  // namespace
}  // namespace tenon::runtime
