#include "worker/engine/adapter/adapter.h"

#include <ATen/ops/equal.h>
#include <gtest/gtest.h>

#include "common/formats/status.h"
#include "tests/common/formats/temp_folder.h"
#include "tests/worker/engine/tiny_base.h"
#include "worker/engine/adapter/tensors.h"
#include "worker/engine/adapter/write.h"
#include "worker/engine/model/encoder.h"

namespace tenon::engine {
namespace {

using test::TempFolder;
using testing::TinyAdapter;
using testing::TinyBase;

class AdapterTest : public ::testing::Test {
 protected:
  void SetUp() override {
    testing::WriteTinyBase(folder_ / "base", shape_);
    auto base = Base::Load(folder_ / "base", {.digest = std::string(64, 'a')});
    ASSERT_TRUE(base.ok()) << base.status();
    base_ = *base;
    tiny_.base_digest = base_->digest();
  }

  TempFolder folder_;
  TinyBase shape_;
  TinyAdapter tiny_;
  std::shared_ptr<const Base> base_;
};

TEST_F(AdapterTest, LoraFillsItsTargets) {
  tiny_.labels = {"a", "b", "c"};
  testing::WriteTinyLora(folder_ / "lora", shape_, tiny_);
  const auto adapter = HostAdapter::Load(folder_ / "lora", *base_);
  ASSERT_TRUE(adapter.ok()) << adapter.status();
  EXPECT_EQ((*adapter)->num_labels(), 3);
  EXPECT_EQ((*adapter)->config().labels, tiny_.labels);
  const AdapterTensors& tensors = (*adapter)->tensors();
  EXPECT_EQ(tensors.pairs.size(), 4u);  // two layers, query and value
  const LoraPair& pair = tensors.pairs.at("encoder.layer.1.attention.self.value");
  EXPECT_EQ(pair.a.sizes().vec(), (std::vector<int64_t>{4, 32}));
  EXPECT_EQ(pair.b.sizes().vec(), (std::vector<int64_t>{32, 4}));
  EXPECT_EQ(pair.scale, 2);  // alpha 8 / r 4
  EXPECT_EQ(tensors.Parameters(), 4 * (4 * 32 * 2) + 3 * 32 + 3);
  EXPECT_EQ((*adapter)->bytes(), 4 * tensors.Parameters());
}

TEST_F(AdapterTest, HeadHasAClassifierAlone) {
  testing::WriteTinyHead(folder_ / "head", shape_, tiny_);
  const auto adapter = HostAdapter::Load(folder_ / "head", *base_);
  ASSERT_TRUE(adapter.ok()) << adapter.status();
  EXPECT_EQ((*adapter)->num_labels(), 2);
  EXPECT_TRUE((*adapter)->tensors().pairs.empty());
}

TEST_F(AdapterTest, WithoutTenonJsonItHasClearDefaults) {
  testing::WriteTinyLora(folder_ / "lora", shape_, tiny_);
  std::filesystem::remove((folder_ / "lora") / "tenon.json");
  const auto adapter = HostAdapter::Load(folder_ / "lora", *base_);
  ASSERT_TRUE(adapter.ok()) << adapter.status();
  const formats::TenonConfig& config = (*adapter)->config();
  EXPECT_EQ(config.labels, (std::vector<std::string>{"LABEL_0", "LABEL_1"}));
  EXPECT_EQ(config.task, "sequence_classification");
  EXPECT_EQ(config.method, "lora");
  EXPECT_EQ(config.base_digest, base_->digest());
}

TEST_F(AdapterTest, BelongsToOneBase) {
  tiny_.base_digest = std::string(64, 'b');
  testing::WriteTinyLora(folder_ / "lora", shape_, tiny_);
  EXPECT_EQ(GetReason(HostAdapter::Load(folder_ / "lora", *base_).status()), Reason::kBaseMismatch);
}

TEST_F(AdapterTest, PlacingKeepsTheHostsTensorsAsTheyWere) {
  testing::WriteTinyLora(folder_ / "lora", shape_, tiny_);
  const auto host = *HostAdapter::Load(folder_ / "lora", *base_);
  const at::Tensor before = host->tensors().pairs.begin()->second.b.clone();
  const auto placed = DeviceAdapter::Place(host, *base_);
  ASSERT_TRUE(placed.ok()) << placed.status();
  EXPECT_TRUE(at::equal(host->tensors().pairs.begin()->second.b, before));
  EXPECT_EQ((*placed)->bytes(), host->bytes());
  EXPECT_EQ(&(*placed)->host(), host.get());
}

TEST_F(AdapterTest, PlacedForBf16ItHasTheTypeOfInferencesStates) {
  testing::WriteTinyLora(folder_ / "lora", shape_, tiny_);
  const auto base = *Base::Load(folder_ / "base", {.precision = Precision::kBf16, .digest = base_->digest()});
  const auto host = *HostAdapter::Load(folder_ / "lora", *base);
  const auto placed = *DeviceAdapter::Place(host, *base);
  const int64_t head = 4 * (2 * 32 + 2);
  // Half the room but for its head, unless this processor serves bf16 weights with fp32 states.
  const auto encoder = *base->encoder(Precision::kBf16);
  const bool wide = encoder->inference_dtype() == at::kFloat;
  EXPECT_EQ(placed->bytes(), wide ? host->bytes() : (host->bytes() - head) / 2 + head);
}

TEST_F(AdapterTest, WhatIsWrittenReadsBackEqual) {
  tiny_.target_modules = {"query", "dense"};
  testing::WriteTinyLora(folder_ / "lora", shape_, tiny_);
  const auto first = *HostAdapter::Load(folder_ / "lora", *base_);
  std::filesystem::create_directories(folder_ / "written");
  ASSERT_TRUE(WriteAdapter(folder_ / "written", first->tensors()).ok());
  const auto second = HostAdapter::Load(folder_ / "written", *base_);
  ASSERT_TRUE(second.ok()) << second.status();
  ASSERT_EQ((*second)->tensors().pairs.size(), first->tensors().pairs.size());
  for (const auto& [module, pair] : first->tensors().pairs) {
    EXPECT_TRUE(at::equal((*second)->tensors().pairs.at(module).a, pair.a)) << module;
    EXPECT_TRUE(at::equal((*second)->tensors().pairs.at(module).b, pair.b)) << module;
  }
  EXPECT_TRUE(at::equal((*second)->tensors().modules.at("classifier").weight,
                        first->tensors().modules.at("classifier").weight));
}

TEST_F(AdapterTest, APromptReadsBackEqual) {
  tiny_.r = 6;
  testing::WriteTinyPrompt(folder_ / "prompt", shape_, tiny_);
  const auto first = HostAdapter::Load(folder_ / "prompt", *base_);
  ASSERT_TRUE(first.ok()) << first.status();
  EXPECT_EQ((*first)->config().method, "prompt_tuning");
  EXPECT_EQ((*first)->virtual_tokens(), 6);
  EXPECT_EQ((*first)->tensors().Parameters(), 6 * 32 + 2 * 32 + 2);
  EXPECT_EQ((*first)->bytes(), 4 * (*first)->tensors().Parameters());
  std::filesystem::create_directories(folder_ / "written");
  ASSERT_TRUE(WriteAdapter(folder_ / "written", (*first)->tensors()).ok());
  const auto second = HostAdapter::Load(folder_ / "written", *base_);
  ASSERT_TRUE(second.ok()) << second.status();
  EXPECT_TRUE(at::equal((*second)->tensors().prompt_embeddings, (*first)->tensors().prompt_embeddings));
  EXPECT_TRUE(at::equal((*second)->tensors().modules.at("classifier").weight,
                        (*first)->tensors().modules.at("classifier").weight));
  // From PEFT it comes without our file.
  std::filesystem::remove(folder_ / "written" / "tenon.json");
  const auto foreign = HostAdapter::Load(folder_ / "written", *base_);
  ASSERT_TRUE(foreign.ok()) << foreign.status();
  EXPECT_EQ((*foreign)->config().method, "prompt_tuning");
  EXPECT_EQ((*foreign)->config().labels.size(), 2u);
}

TEST_F(AdapterTest, ABottleneckReadsBackEqual) {
  tiny_.labels = {"b", "a", "c"};
  tiny_.r = 5;
  for (const auto layout : {formats::BottleneckLayout::kSeqBn, formats::BottleneckLayout::kDoubleSeqBn,
                            formats::BottleneckLayout::kParBn}) {
    testing::WriteTinyBottleneck(folder_ / "block", shape_, tiny_, layout);
    const auto first = HostAdapter::Load(folder_ / "block", *base_);
    ASSERT_TRUE(first.ok()) << first.status();
    const AdapterTensors& tensors = (*first)->tensors();
    EXPECT_EQ(tensors.bottlenecks.size(), layout == formats::BottleneckLayout::kDoubleSeqBn ? 4u : 2u);
    EXPECT_EQ(tensors.bottlenecks.at("encoder.layer.1.output.dense").down.weight.size(0), 6);
    EXPECT_EQ((*first)->bytes(), 4 * tensors.Parameters());
    std::filesystem::remove_all(folder_ / "written");
    std::filesystem::create_directories(folder_ / "written");
    ASSERT_TRUE(WriteAdapter(folder_ / "written", tensors).ok());
    std::filesystem::remove(folder_ / "written" / "tenon.json");  // as it comes from AdapterHub
    const auto second = HostAdapter::Load(folder_ / "written", *base_);
    ASSERT_TRUE(second.ok()) << second.status();
    EXPECT_EQ((*second)->config().method, "bottleneck");
    EXPECT_EQ((*second)->config().labels, tiny_.labels);
    for (const auto& [module, block] : tensors.bottlenecks) {
      const Bottleneck& other = (*second)->tensors().bottlenecks.at(module);
      EXPECT_TRUE(at::equal(other.down.weight, block.down.weight) && at::equal(other.down.bias, block.down.bias));
      EXPECT_TRUE(at::equal(other.up.weight, block.up.weight) && at::equal(other.up.bias, block.up.bias));
      EXPECT_EQ(other.scale, block.scale);
    }
    // Placing takes the scale in and leaves the host's tensors.
    const auto placed = DeviceAdapter::Place(*first, *base_);
    ASSERT_TRUE(placed.ok()) << placed.status();
    EXPECT_EQ((*placed)->tensors().bottlenecks.begin()->second.scale, 1);
    EXPECT_EQ(tensors.bottlenecks.begin()->second.scale, layout == formats::BottleneckLayout::kParBn ? 4 : 1);
  }
}

TEST_F(AdapterTest, AWrittenHeadReadsBackEqual) {
  testing::WriteTinyHead(folder_ / "head", shape_, tiny_);
  const auto first = *HostAdapter::Load(folder_ / "head", *base_);
  std::filesystem::create_directories(folder_ / "written");
  ASSERT_TRUE(WriteAdapter(folder_ / "written", first->tensors()).ok());
  const auto second = HostAdapter::Load(folder_ / "written", *base_);
  ASSERT_TRUE(second.ok()) << second.status();
  EXPECT_TRUE(
      at::equal((*second)->tensors().modules.at("classifier").bias, first->tensors().modules.at("classifier").bias));
}

}  // namespace
}  // namespace tenon::engine
