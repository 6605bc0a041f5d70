// Texts of a run as token ids, and rows of which a tokenizer leaves nothing.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "common/formats/status.h"
#include "worker/engine/train/pairs.h"
#include "worker/engine/train/rows.h"

namespace tenon::engine {
namespace {

using ::testing::ElementsAre;

// A byte is a token, and what is not ASCII none: as byte pairs without an unknown token drop what their vocabulary
// lacks. `around` stands before and behind.
class AsciiTokenizer final : public Tokenizer {
 public:
  explicit AsciiTokenizer(std::vector<int32_t> around) : around_(std::move(around)) {}
  Encoding Encode(const std::string& text, int64_t max_tokens) const override {
    Encoding encoding{.ids = around_};
    for (const char c : text) {
      if (c > 0 && static_cast<int64_t>(encoding.ids.size() + around_.size()) < max_tokens) encoding.ids.push_back(c);
    }
    encoding.ids.insert(encoding.ids.end(), around_.begin(), around_.end());
    return encoding;
  }
  Encoding EncodePair(const std::string& first, const std::string& second, int64_t max_tokens) const override {
    return Encode(first + second, max_tokens);
  }
  int64_t vocab_size() const override { return 1000; }
  std::string separator() const override { return ""; }

 private:
  const std::vector<int32_t> around_;
};

bool Never() { return false; }

TEST(TokenizeData, ARowWithoutATokenIsNamed) {
  TrainData data;
  data.labels = {"x", "y"};
  data.train = {{"ab", {0}}, {"é", {1}}};
  const auto bare = TokenizeData(data, AsciiTokenizer({}), 8, Never);
  EXPECT_EQ(GetReason(bare.status()), Reason::kDatasetInvalid) << bare.status();
  EXPECT_EQ(GetField(bare.status()), "train row 2");
  const auto around = TokenizeData(data, AsciiTokenizer({500}), 8, Never);
  ASSERT_TRUE(around.ok()) << around.status();
  EXPECT_THAT((*around)->train.ids, ElementsAre(ElementsAre(500, 'a', 'b', 500), ElementsAre(500, 500)));
  std::swap(data.train, data.validation);
  data.train = {{"ab", {0}}};
  EXPECT_EQ(GetField(TokenizeData(data, AsciiTokenizer({}), 8, Never).status()), "validation row 2");
}

TEST(TokenizePairs, EmptyIsWhatHasNothingButSpecialTokens) {
  TrainData data;
  data.train_pairs = {{"ab", "c"}};
  for (const std::vector<int32_t>& around : {std::vector<int32_t>(), {500}, {500, 501}}) {
    const auto pairs = TokenizePairs(data, AsciiTokenizer(around), 16, 8, Never);
    ASSERT_TRUE(pairs.ok()) << pairs.status();
    EXPECT_EQ((*pairs)->train.targets[0].size(), 1 + 2 * around.size());
    for (const TextPair& empty : {TextPair{"é", "c"}, TextPair{"ab", "é"}}) {
      TrainData broken = data;
      broken.train_pairs.push_back(empty);
      const absl::Status status = TokenizePairs(broken, AsciiTokenizer(around), 16, 8, Never).status();
      EXPECT_EQ(GetReason(status), Reason::kDatasetInvalid);
      EXPECT_EQ(status.message(),
                empty.input == "ab" ? "train row 2 has an empty target" : "train row 2 has an empty input");
    }
  }
}

}  // namespace
}  // namespace tenon::engine
