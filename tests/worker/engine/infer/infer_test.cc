#include "worker/engine/infer.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <deque>
#include <numeric>

#include "common/formats/status.h"
#include "tests/common/formats/temp_folder.h"
#include "tests/worker/engine/tiny_base.h"
#include "worker/engine/model/panel_gemm.h"

namespace tenon::engine {
namespace {

using testing::TinyAdapter;
using testing::TinyBase;
using testing::TinyText;

class InferTest : public ::testing::Test {
 protected:
  void Load(const TinyBase& shape, Precision precision = Precision::kFp32) {
    shape_ = shape;
    testing::WriteTinyBase(folder_ / "base", shape);
    auto base = Base::Load(folder_ / "base", {.precision = precision, .digest = std::string(64, 'a')});
    ASSERT_TRUE(base.ok()) << base.status();
    base_ = *base;
  }
  enum class Kind { kLora, kHead, kPrompt, kSeqBn, kDoubleSeqBn, kParBn };
  const DeviceAdapter* Add(const TinyAdapter& adapter, Kind kind = Kind::kLora) {
    TinyAdapter bound = adapter;
    bound.base_digest = base_->digest();
    const auto folder = folder_ / ("adapter" + std::to_string(adapters_.size()));
    switch (kind) {
      case Kind::kLora:
        testing::WriteTinyLora(folder, shape_, bound);
        break;
      case Kind::kHead:
        testing::WriteTinyHead(folder, shape_, bound);
        break;
      case Kind::kPrompt:
        testing::WriteTinyPrompt(folder, shape_, bound);
        break;
      case Kind::kSeqBn:
      case Kind::kDoubleSeqBn:
      case Kind::kParBn:
        testing::WriteTinyBottleneck(folder, shape_, bound,
                                     kind == Kind::kSeqBn         ? formats::BottleneckLayout::kSeqBn
                                     : kind == Kind::kDoubleSeqBn ? formats::BottleneckLayout::kDoubleSeqBn
                                                                  : formats::BottleneckLayout::kParBn);
        break;
    }
    auto host = HostAdapter::Load(folder, *base_);
    EXPECT_TRUE(host.ok()) << host.status();
    adapters_.push_back(*DeviceAdapter::Place(*host, *base_));
    return adapters_.back().get();
  }
  InferRow Row(const std::string& text, const DeviceAdapter* adapter = nullptr, Output output = Output::kEmbedding) {
    InferRow row;
    row.ids = &ids_.emplace_back(base_->tokenizer().Encode(text, 64).ids);
    row.adapter = adapter;
    row.output = output;
    return row;
  }
  std::vector<float> Alone(const InferRow& row) { return (*Infer(*base_, {&row, 1}))[0]; }

  test::TempFolder folder_;
  TinyBase shape_;
  std::shared_ptr<const Base> base_;
  std::vector<std::shared_ptr<const DeviceAdapter>> adapters_;
  std::deque<std::vector<int32_t>> ids_;
};

double Distance(const std::vector<float>& a, const std::vector<float>& b) {
  EXPECT_EQ(a.size(), b.size());
  double worst = 0;
  for (size_t i = 0; i < a.size(); ++i) worst = std::max(worst, std::abs(static_cast<double>(a[i]) - b[i]));
  return worst;
}

// A hidden size of 32 may be taken by rows; 48 never is.
class MixedBatchTest : public InferTest, public ::testing::WithParamInterface<int64_t> {};

TEST_P(MixedBatchTest, GivesEachRowWhatItGivesAlone) {
  Load({.hidden = GetParam()});
  std::vector<const DeviceAdapter*> choices = {nullptr};
  const std::vector<std::vector<std::string>> targets = {
      {"query", "value"}, {"key"}, {"dense"}, {"query", "key", "value", "dense"}, {"intermediate.dense", "value"}};
  for (uint64_t i = 0; i < 32; ++i) {
    TinyAdapter adapter;
    adapter.r = 1 + static_cast<int64_t>(i % 9);
    adapter.target_modules = targets[i % targets.size()];
    adapter.labels.assign(2 + i % 4, "");
    for (size_t l = 0; l < adapter.labels.size(); ++l) adapter.labels[l] = std::to_string(l);
    adapter.seed = 100 + i;
    const std::vector<Kind> kinds = {Kind::kLora, Kind::kLora,  Kind::kPrompt, Kind::kSeqBn,
                                     Kind::kLora, Kind::kParBn, Kind::kHead,   Kind::kDoubleSeqBn};
    choices.push_back(Add(adapter, kinds[i % kinds.size()]));
  }
  std::vector<InferRow> rows;
  for (uint64_t i = 0; i < 64; ++i) {
    const DeviceAdapter* adapter = choices[(i * 7) % choices.size()];
    const Output output = adapter == nullptr ? Output::kEmbedding
                          : i % 3 == 0       ? Output::kEmbedding
                          : i % 3 == 1       ? Output::kLogits
                                             : Output::kProbabilities;
    rows.push_back(Row(TinyText(i, 1 + static_cast<int64_t>(i * 13 % 50)), adapter, output));
  }
  const auto together = Infer(*base_, rows);
  ASSERT_TRUE(together.ok()) << together.status();
  ASSERT_EQ(together->size(), rows.size());
  for (size_t i = 0; i < rows.size(); ++i) EXPECT_LE(Distance((*together)[i], Alone(rows[i])), 1e-5) << i;
}

INSTANTIATE_TEST_SUITE_P(Hidden, MixedBatchTest, ::testing::Values(32, 48));

TEST_F(InferTest, APromptTakesPositionsAndSaysWhatItsRowsSay) {
  Load({});
  TinyAdapter tiny;
  tiny.r = 10;
  const DeviceAdapter* prompt = Add(tiny, Kind::kPrompt);
  EXPECT_EQ(prompt->host().virtual_tokens(), 10);
  EXPECT_EQ(prompt->bytes(), 4 * (10 * 32 + 2 * 32 + 2));
  // Of 64 positions 54 are left for a text.
  EXPECT_EQ(MaxInputTokens(*base_, nullptr), 64);
  EXPECT_EQ(MaxInputTokens(*base_, &prompt->host()), 54);
  EXPECT_EQ(MaxInputTokens(*base_, &prompt->host(), 60), 54);
  EXPECT_EQ(MaxInputTokens(*base_, &prompt->host(), 20), 20);
  const std::vector<int32_t> full(54, 5), over(55, 5);
  InferRow row{.ids = &full, .adapter = prompt, .output = Output::kLogits};
  EXPECT_TRUE(Infer(*base_, {&row, 1}).ok());
  row.ids = &over;
  EXPECT_EQ(GetField(Infer(*base_, {&row, 1}).status()), "rows[0]");
  // Other prompts, other answers; the base's rows beside them are its own.
  tiny.seed = 2;
  const DeviceAdapter* other = Add(tiny, Kind::kPrompt);
  const auto results = *Infer(*base_, std::vector<InferRow>{Row("good tea", prompt), Row("good tea", other),
                                                            Row("good tea"), Row("good tea", prompt)});
  EXPECT_GT(Distance(results[0], results[1]), 1e-2);
  EXPECT_LE(Distance(results[0], results[3]), 1e-6);
  EXPECT_LE(Distance(results[2], Alone(Row("good tea"))), 1e-5);
}

TEST_F(InferTest, ABottleneckIsReadBeforeResidualAndNorm) {
  for (const Kind kind : {Kind::kSeqBn, Kind::kDoubleSeqBn, Kind::kParBn}) {
    Load({});
    TinyAdapter tiny;
    tiny.r = 8;
    const DeviceAdapter* one = Add(tiny, kind);
    const int64_t blocks = kind == Kind::kDoubleSeqBn ? 4 : 2;
    const int64_t numbers = blocks * (4 * 32 + 4 + 32 * 4 + 32), head = 2 * 32 + 2;
    EXPECT_EQ(one->host().bytes(), 4 * (numbers + head));
    // For our own product each part is filled up to whole panels of 32 outputs.
    const int64_t in_panels = blocks * (32 * 32 + 32 + 4 * 32 + 32);
    const int64_t expected = PanelWeight::Supported() ? in_panels : numbers;
    EXPECT_EQ(one->bytes(), 4 * (expected + head));
    tiny.seed = 2;
    const DeviceAdapter* other = Add(tiny, kind);
    const auto results = *Infer(*base_, std::vector<InferRow>{Row("good tea", one), Row("good tea", other),
                                                              Row("good tea"), Row("good tea", one)});
    EXPECT_GT(Distance(results[0], results[1]), 1e-2);
    EXPECT_GT(Distance(results[0], results[2]), 1e-2);
    EXPECT_LE(Distance(results[0], results[3]), 1e-6);
    EXPECT_LE(Distance(results[2], Alone(Row("good tea"))), 1e-5);
  }
}

TEST_F(InferTest, LabelsAloneAreThoseBesideAnEmbedding) {
  Load({.labels = {"x", "y", "z"}});
  std::vector<InferRow> rows;
  for (uint64_t i = 0; i < 21; ++i) {
    TinyAdapter adapter;
    adapter.target_modules = i % 2 == 0 ? std::vector<std::string>{"dense"} : std::vector<std::string>{"query", "key"};
    adapter.seed = 40 + i;
    const DeviceAdapter* own = i % 3 == 0 ? nullptr : Add(adapter, i % 4 == 1 ? Kind::kSeqBn : Kind::kLora);
    rows.push_back(Row(TinyText(i, 1 + static_cast<int64_t>(i * 13 % 50)), own, Output::kLogits));
  }
  const auto alone = *Infer(*base_, rows);
  rows.push_back(Row("tea"));  // the last layer is computed whole
  const auto beside = *Infer(*base_, rows);
  for (size_t i = 0; i < alone.size(); ++i) EXPECT_LE(Distance(alone[i], beside[i]), 1e-5) << i;
}

TEST_F(InferTest, AnAdapterChangesItsOwnRowsAlone) {
  Load({});
  const DeviceAdapter* adapter = Add({});
  const std::vector<InferRow> rows = {Row("good tea"), Row("good tea", adapter), Row("good tea")};
  const auto results = *Infer(*base_, rows);
  EXPECT_LE(Distance(results[0], results[2]), 1e-6);
  EXPECT_GT(Distance(results[0], results[1]), 1e-2);
}

TEST_F(InferTest, DisjointFavouritesAnswerTheirOwnRows) {
  Load({});
  std::vector<const DeviceAdapter*> adapters;
  for (int64_t i = 0; i < 8; ++i) {
    TinyAdapter adapter;
    adapter.labels = {"0", "1", "2", "3", "4", "5", "6", "7"};
    adapter.favourite = i;
    adapter.favour = 50;
    adapter.seed = static_cast<uint64_t>(i);
    adapters.push_back(Add(adapter, i % 4 == 2 ? Kind::kPrompt : i % 2 == 1 ? Kind::kHead : Kind::kLora));
  }
  std::vector<InferRow> rows;
  for (uint64_t i = 0; i < 40; ++i) rows.push_back(Row(TinyText(i, 5), adapters[i * 5 % 8], Output::kProbabilities));
  const auto results = *Infer(*base_, rows);
  for (size_t i = 0; i < rows.size(); ++i) {
    const auto& shares = results[i];
    EXPECT_EQ(std::max_element(shares.begin(), shares.end()) - shares.begin(), static_cast<int64_t>(i * 5 % 8));
    EXPECT_NEAR(std::accumulate(shares.begin(), shares.end(), 0.0), 1, 1e-5);
  }
}

TEST_F(InferTest, ABasesOwnHeadAnswersWhereNoAdapterIs) {
  Load({.labels = {"x", "y", "z"}});
  const DeviceAdapter* adapter = Add({});
  const auto results =
      *Infer(*base_, std::vector<InferRow>{Row("tea", nullptr, Output::kLogits), Row("tea", adapter, Output::kLogits)});
  EXPECT_EQ(results[0].size(), 3u);
  EXPECT_EQ(results[1].size(), 2u);
}

// An adapter of huge finite weights: its rows' results are not finite, and its neighbours' are what they were.
TEST_F(InferTest, AnOverflowIsSeenInTheResult) {
  Load({});
  TinyAdapter huge;
  huge.target_modules = {"query", "key", "value", "intermediate.dense"};
  huge.spread = 1e25;
  const DeviceAdapter* adapter = Add(huge);
  const InferRow plain = Row(TinyText(1, 9));
  const std::vector<InferRow> rows = {Row(TinyText(2, 9), adapter, Output::kProbabilities), plain,
                                      Row(TinyText(3, 9), adapter, Output::kLogits), Row(TinyText(4, 9), adapter)};
  const auto values = Infer(*base_, rows);
  ASSERT_TRUE(values.ok()) << values.status();
  const auto finite = [](const std::vector<float>& row) {
    return std::all_of(row.begin(), row.end(), [](float value) { return std::isfinite(value); });
  };
  for (size_t i = 0; i < rows.size(); ++i) EXPECT_EQ(finite((*values)[i]), i == 1) << i;
  EXPECT_LT(Distance((*values)[1], Alone(plain)), 1e-5);
}

// Softmax and sigmoid of an infinity can be 0 and 1.
TEST_F(InferTest, NoProbabilityIsMadeOfAnInfiniteLogit) {
  Load({});
  for (const bool multi_label : {false, true}) {
    int overflows = 0;
    for (uint64_t seed = 1; seed <= 12; ++seed) {
      TinyAdapter sure;
      sure.spread = 7e37;  // a few such weights add up to more than there is
      sure.multi_label = multi_label;
      sure.seed = seed;
      const std::vector<float> values = Alone(Row(TinyText(2, 9), Add(sure, Kind::kHead), Output::kProbabilities));
      overflows += std::isnan(values[0]) || std::isnan(values[1]);
    }
    EXPECT_GT(overflows, 0) << multi_label;
    EXPECT_LT(overflows, 12) << multi_label;
  }
}

TEST_F(InferTest, RefusesRowsByTheirPlace) {
  Load({});
  const std::vector<int32_t> none, foreign = {2, 100000, 3}, negative = {2, -1, 3}, endless(65, 5);
  for (const auto* ids : {&none, &foreign, &negative, &endless}) {
    InferRow bad;
    bad.ids = ids;
    const auto results = Infer(*base_, std::vector<InferRow>{Row("tea"), bad});
    ASSERT_FALSE(results.ok());
    EXPECT_EQ(GetField(results.status()), "rows[1]");
  }
  const auto labels = Infer(*base_, std::vector<InferRow>{Row("tea", nullptr, Output::kLogits)});
  EXPECT_EQ(GetReason(labels.status()), Reason::kNoClassifier);
}

TEST_F(InferTest, NoRowsNoResults) {
  Load({});
  EXPECT_TRUE(Infer(*base_, {})->empty());
}

TEST_F(InferTest, Bf16IsNearFp32) {
  Load({});
  const auto fp32 = Alone(Row("the good cheese and the bad tea"));
  Load({}, Precision::kBf16);
  const DeviceAdapter* adapter = Add({});
  const InferRow row = Row("the good cheese and the bad tea");
  EXPECT_LE(Distance(Alone(row), fp32), 0.1);
  const auto mixed = Infer(*base_, std::vector<InferRow>{row, Row("tea", adapter, Output::kLogits)});
  ASSERT_TRUE(mixed.ok()) << mixed.status();
  EXPECT_LE(Distance((*mixed)[0], fp32), 0.1);
}

TEST_F(InferTest, WarmsUp) {
  Load({});
  EXPECT_TRUE(WarmUp(*base_).ok());
}

}  // namespace
}  // namespace tenon::engine
