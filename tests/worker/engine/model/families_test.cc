// What every family of encoders must do, by its description alone; tests/parity holds their numbers against
// transformers'.
#include "common/formats/families/families.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/allclose.h>
#include <gtest/gtest.h>

#include <fstream>

#include "common/formats/status.h"
#include "nlohmann/json.hpp"
#include "tests/common/formats/encoder_families.h"
#include "tests/common/formats/temp_folder.h"
#include "tests/worker/engine/tiny_base.h"
#include "worker/engine/adapter/adapter.h"
#include "worker/engine/adapter/tensors.h"
#include "worker/engine/base.h"
#include "worker/engine/infer.h"
#include "worker/engine/model/encoder.h"
#include "worker/engine/train/full_encoder.h"

namespace tenon::engine {
namespace {

using formats::EncoderFamily;

class FamilyTest : public ::testing::TestWithParam<const EncoderFamily*> {
 protected:
  const EncoderFamily& family() const { return *GetParam(); }

  std::shared_ptr<const Base> Load(const testing::TinyBase& tiny = {}, Precision precision = Precision::kFp32) {
    tiny_ = tiny;
    tiny_.family = family().model_type;
    testing::WriteTinyBase(folder_ / "base", tiny_);
    auto base = Base::Load(folder_ / "base", {.precision = precision});
    EXPECT_TRUE(base.ok()) << base.status();
    return base.ok() ? *base : nullptr;
  }
  // What loading says once config.json's `key` is `value`.
  absl::Status LoadWith(const std::string& key, const nlohmann::json& value) {
    Load();
    nlohmann::json config = nlohmann::json::parse(std::ifstream(folder_ / "base" / "config.json"));
    config[key] = value;
    std::ofstream(folder_ / "base" / "config.json") << config.dump();
    return Base::Load(folder_ / "base", {}).status();
  }
  testing::TinyAdapter Adapter(uint64_t seed) const {
    return {.target_modules = family().lora_targets, .labels = {"a", "b", "c"}, .seed = seed};
  }
  // Logits of a row, or its vector where `adapter` has no head.
  static std::vector<float> Run(const Base& base, const DeviceAdapter* adapter, Output output, uint64_t seed) {
    const std::vector<int32_t> ids = base.tokenizer().Encode(testing::TinyText(seed, 7), 32).ids;
    const auto rows = Infer(base, {InferRow{.ids = &ids, .adapter = adapter, .output = output}});
    EXPECT_TRUE(rows.ok()) << rows.status();
    return rows.ok() ? rows->front() : std::vector<float>();
  }

  test::TempFolder folder_;
  testing::TinyBase tiny_;
};

// Those that have a classifier.
class ClassifierFamilyTest : public FamilyTest {};

TEST_P(FamilyTest, LoadsInBothPrecisions) {
  for (const Precision precision : {Precision::kFp32, Precision::kBf16}) {
    const auto base = Load({}, precision);
    ASSERT_NE(base, nullptr);
    EXPECT_EQ(base->config().family, &family());
    EXPECT_EQ(base->sentence().pooling, family().defaults.sentence.pooling);
    EXPECT_EQ(base->default_max_tokens(), base->config().max_tokens());
    EXPECT_EQ(Run(*base, nullptr, Output::kEmbedding, 1).size(), 32u);
  }
}

TEST_P(FamilyTest, NamesATensorThatIsMissing) {
  const absl::Status status = LoadWith(family().keys.layers, 3);
  EXPECT_EQ(GetReason(status), Reason::kBaseInvalid);
  const std::string prefix = family().plain_prefixes.empty() ? "" : family().plain_prefixes.front();
  EXPECT_EQ(GetField(status), prefix + family().Layer(2).query + ".weight");
}

TEST_P(FamilyTest, NamesATensorThatHasNoPlace) {
  const absl::Status status = LoadWith(family().keys.layers, 1);
  EXPECT_EQ(GetReason(status), Reason::kBaseInvalid);
  EXPECT_NE(GetField(status).find(family().layer_prefix + "1."), std::string::npos);
}

TEST_P(FamilyTest, NamesATensorOfTheWrongShape) {
  const absl::Status status = LoadWith(family().keys.intermediate_size, 128);
  EXPECT_EQ(GetReason(status), Reason::kBaseInvalid);
  EXPECT_NE(GetField(status).find(family().Layer(0).intermediate + ".weight"), std::string::npos);
}

TEST_P(FamilyTest, RefusesAnotherActivationByName) {
  const absl::Status status = LoadWith(family().keys.activation, "silu");
  EXPECT_EQ(GetReason(status), Reason::kUnsupported);
  EXPECT_EQ(GetField(status), family().keys.activation);
}

TEST_P(FamilyTest, TakesNoMoreTokensThanItHasPositions) {
  const auto base = Load();
  ASSERT_NE(base, nullptr);
  const std::vector<int32_t> most(static_cast<size_t>(base->config().max_tokens()), 7);
  EXPECT_TRUE(Infer(*base, {InferRow{.ids = &most}}).ok());
  std::vector<int32_t> more = most;
  more.push_back(7);
  EXPECT_EQ(GetReason(Infer(*base, {InferRow{.ids = &more}}).status()), Reason::kFieldInvalid);
}

TEST_P(ClassifierFamilyTest, ItsOwnHeadAnswersBesideAdapters) {
  const auto base = Load({.labels = {"a", "b", "c"}});
  ASSERT_NE(base, nullptr);
  testing::WriteTinyLora(folder_ / "lora", tiny_, Adapter(1));
  testing::WriteTinyPrompt(folder_ / "prompt", tiny_, Adapter(2));
  testing::WriteTinyBottleneck(folder_ / "block", tiny_, Adapter(3), formats::BottleneckLayout::kDoubleSeqBn);
  std::vector<std::shared_ptr<const DeviceAdapter>> adapters = {nullptr};
  for (const char* name : {"lora", "prompt", "block"}) {
    const auto host = HostAdapter::Load(folder_ / name, *base);
    ASSERT_TRUE(host.ok()) << host.status();
    EXPECT_EQ((*host)->num_labels(), 3);
    EXPECT_EQ((*host)->tensors().modules.size(), formats::HeadModules(family()).size());
    adapters.push_back(*DeviceAdapter::Place(*host, *base));
  }
  // One batch of all of them, and embeddings between: each row is what it is alone.
  std::vector<std::vector<int32_t>> ids;
  for (uint64_t i = 0; i < 12; ++i) ids.push_back(base->tokenizer().Encode(testing::TinyText(i, 7), 32).ids);
  std::vector<InferRow> rows;
  for (size_t i = 0; i < ids.size(); ++i) {
    rows.push_back({.ids = &ids[i],
                    .adapter = adapters[i % adapters.size()].get(),
                    .output = i < 8 ? Output::kLogits : Output::kEmbedding});
  }
  const auto together = Infer(*base, rows);
  ASSERT_TRUE(together.ok()) << together.status();
  for (size_t i = 0; i < rows.size(); ++i) {
    const std::vector<float> alone = Run(*base, rows[i].adapter, rows[i].output, i);
    ASSERT_EQ((*together)[i].size(), alone.size());
    for (size_t k = 0; k < alone.size(); ++k) EXPECT_NEAR((*together)[i][k], alone[k], 1e-5) << i;
  }
  EXPECT_NE((*together)[0], Run(*base, adapters[1].get(), Output::kLogits, 0)) << "adapters do something";
}

TEST_P(ClassifierFamilyTest, AHeadNeedsEveryOneOfItsModules) {
  const auto base = Load();
  ASSERT_NE(base, nullptr);
  const std::filesystem::path folder = folder_ / "lora";
  testing::WriteTinyLora(folder, tiny_, Adapter(1));
  const auto file = formats::Safetensors::Open(folder / "adapter_model.safetensors", formats::Safetensors::Limits());
  ASSERT_TRUE(file.ok());
  const std::string gone = "base_model.model." + formats::HeadModules(family()).back().name + ".weight";
  std::vector<formats::TensorToWrite> kept;
  for (const auto& [name, view] : (*file)->tensors()) {
    if (name != gone) kept.push_back({name, view});
  }
  std::filesystem::create_directories(folder_ / "cut");
  ASSERT_TRUE(formats::WriteSafetensors(folder_ / "cut" / "adapter_model.safetensors", kept, {}).ok());
  std::filesystem::copy(folder / "adapter_config.json", folder_ / "cut" / "adapter_config.json");
  const absl::Status status = HostAdapter::Load(folder_ / "cut", *base).status();
  EXPECT_EQ(GetReason(status), Reason::kAdapterInvalid);
  EXPECT_EQ(GetField(status), gone);
}

TEST_P(ClassifierFamilyTest, TrainedWholeItBeginsAsTheFrozenOne) {
  const auto base = Load({.labels = {"a", "b"}});
  ASSERT_NE(base, nullptr);
  formats::TenonConfig config;
  config.labels = {"x", "y", "z"};
  const auto model = CopyEncoder(*base, config, 5);
  ASSERT_TRUE(model.ok()) << model.status();
  const at::NoGradGuard no_grad;
  const FullEncoder whole(base->config(), model->modules);
  const auto frozen = *base->encoder(Precision::kFp32);
  std::vector<std::vector<int32_t>> ids;
  std::vector<const std::vector<int32_t>*> rows;
  for (uint64_t i = 0; i < 4; ++i) ids.push_back(base->tokenizer().Encode(testing::TinyText(i, 3 + 4 * i), 64).ids);
  for (const auto& row : ids) rows.push_back(&row);
  const PackedBatch batch = Pack(rows, at::Device(at::kCPU));
  at::Tensor ours = whole.Embed(batch, {}), theirs = frozen->Embed(batch, {});
  for (int64_t i = 0; i < 2; ++i) {
    ours = whole.Layer(i, ours, batch, {}, Lines::kTokens);
    theirs = frozen->Layer(i, theirs, batch, {}, Lines::kTokens);
  }
  EXPECT_TRUE(at::allclose(ours, theirs, 1e-4, 1e-5));
  EXPECT_TRUE(
      at::allclose(whole.Pool(FirstTokens(ours, batch), {}), frozen->Pool(FirstTokens(theirs, batch), {}), 1e-4, 1e-5));
  EXPECT_EQ(model->modules.at(formats::kClassifier).weight.size(0), 3);
}

INSTANTIATE_TEST_SUITE_P(All, FamilyTest, ::testing::ValuesIn(tenon::testing::Families(false)),
                         tenon::testing::FamilyName);
INSTANTIATE_TEST_SUITE_P(All, ClassifierFamilyTest, ::testing::ValuesIn(tenon::testing::Families(true)),
                         tenon::testing::FamilyName);

}  // namespace
}  // namespace tenon::engine
