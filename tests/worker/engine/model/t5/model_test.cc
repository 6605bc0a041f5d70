#include "worker/engine/model/t5/model.h"

#include <ATen/ops/allclose.h>
#include <c10/core/InferenceMode.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

#include "common/formats/status.h"
#include "tests/common/formats/temp_folder.h"
#include "tests/worker/engine/tiny_t5.h"
#include "worker/engine/model/decode/decoder.h"

namespace tenon::engine {
namespace {

using testing::TinyT5;

class T5ModelTest : public ::testing::Test {
 protected:
  absl::StatusOr<std::shared_ptr<const T5Model>> Load(const TinyT5& base, Precision precision = Precision::kFp32) {
    testing::WriteTinyT5(folder_.path(), base);
    const auto config = formats::ReadT5Config(folder_.path());
    EXPECT_TRUE(config.ok()) << config.status();
    const auto weights = formats::Safetensors::OpenModel(folder_.path(), {});
    EXPECT_TRUE(weights.ok()) << weights.status();
    return T5Model::Load(*config, **weights, Device{}, precision, /*prepare_inference=*/true);
  }
  // The network misses or has `name` otherwise than the file.
  void ExpectInvalid(const TinyT5& base, const std::string& name) {
    const absl::Status status = Load(base).status();
    EXPECT_EQ(GetReason(status), Reason::kBaseInvalid) << name << ": " << status;
    EXPECT_EQ(GetField(status), name) << status;
  }

  const test::TempFolder folder_;
};

TEST_F(T5ModelTest, WhatIsMissingOrMisshapenIsNamed) {
  const std::vector<std::string> names = {"shared.weight",
                                          "lm_head.weight",
                                          "encoder.block.1.layer.0.SelfAttention.k.weight",
                                          "encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight",
                                          "encoder.final_layer_norm.weight",
                                          "decoder.block.0.layer.1.EncDecAttention.o.weight",
                                          "decoder.block.1.layer.1.layer_norm.weight",
                                          "decoder.block.1.layer.2.DenseReluDense.wi_1.weight",
                                          "decoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight"};
  for (const std::string& name : names) {
    TinyT5 base;
    base.change = [&](const std::string& given, std::vector<int64_t>&) { return given == name ? "" : given; };
    ExpectInvalid(base, name);
    base.change = [&](const std::string& given, std::vector<int64_t>& shape) {
      if (given == name) ++shape[0];
      return given;
    };
    ExpectInvalid(base, name);
  }
}

TEST_F(T5ModelTest, WhatHasNoPlaceIsNamed) {
  TinyT5 base;
  base.flan = false;
  const std::string stray = "decoder.block.1.layer.2.DenseReluDense.wi_1.weight";
  base.change = [&](const std::string& name, std::vector<int64_t>&) {
    return name == "decoder.final_layer_norm.weight" ? stray : name;
  };
  EXPECT_EQ(GetReason(Load(base).status()), Reason::kBaseInvalid);
  // What old checkpoints have beside the network is left alone.
  base.change = [](const std::string& name, std::vector<int64_t>&) { return name; };
  EXPECT_TRUE(Load(base).ok());
}

TEST_F(T5ModelTest, TheEmbeddingGoesByItsOtherNames) {
  for (const char* other : {"encoder.embed_tokens.weight", "decoder.embed_tokens.weight", "lm_head.weight"}) {
    TinyT5 base;
    base.flan = false;
    base.change = [&](const std::string& name, std::vector<int64_t>&) {
      return name == "shared.weight" ? other : name;
    };
    const auto model = Load(base);
    EXPECT_TRUE(model.ok()) << other << ": " << model.status();
  }
}

TEST_F(T5ModelTest, LinearLayersHavePeftsNames) {
  const auto model = Load({});
  ASSERT_TRUE(model.ok()) << model.status();
  const auto& layers = (*model)->linear_layers();
  // Two stacks of two layers: four of attention, once more in the decoder, three of the feed-forward block; the output.
  EXPECT_EQ(layers.size(), 2u * 2 * 4 + 2 * 4 + 2 * 2 * 3 + 1);
  EXPECT_EQ(layers.at("decoder.block.1.layer.1.EncDecAttention.v"), (std::pair<int64_t, int64_t>(32, 32)));
  EXPECT_EQ(layers.at("encoder.block.0.layer.1.DenseReluDense.wo"), (std::pair<int64_t, int64_t>(32, 64)));
  TinyT5 tied;
  tied.flan = false;
  EXPECT_EQ((*Load(tied))->linear_layers().count("lm_head"), 0u);
}

// Both ways through attention, on the same weights.
TEST_F(T5ModelTest, OurKernelsAndTorchsGiveTheSame) {
  const c10::InferenceMode inference;
  const auto fast = Load({});
  ASSERT_TRUE(fast.ok()) << fast.status();
  EXPECT_TRUE((*fast)->own_kernels());
  const auto config = formats::ReadT5Config(folder_.path());
  const auto weights = formats::Safetensors::OpenModel(folder_.path(), {});
  const auto plain = T5Model::Load(*config, **weights, Device{}, Precision::kFp32, /*prepare_inference=*/false);
  ASSERT_TRUE(plain.ok()) << plain.status();
  EXPECT_FALSE((*plain)->own_kernels());
  const std::vector<std::vector<int32_t>> sources = {{5, 6, 7, 1}, {9, 1}, {4, 8, 12, 16, 20, 24, 28, 1}};
  std::vector<DecoderSource> joining;
  for (const auto& ids : sources) joining.push_back({&ids, nullptr});
  const auto one = NewT5Decoder(*fast), other = NewT5Decoder(*plain);
  ASSERT_TRUE(one->Join(joining).ok());
  ASSERT_TRUE(other->Join(joining).ok());
  std::vector<int32_t> tokens(3, 0);
  for (int step = 0; step < 30; ++step) {
    if (step == 10) {  // beams are reordered, one is dropped, and somebody joins
      for (const auto* decoder : {&one, &other}) {
        (*decoder)->Select({{2, 0, 0}});
        ASSERT_TRUE((*decoder)->Join(absl::MakeConstSpan(joining).subspan(1, 1)).ok());
      }
      tokens.push_back(0);
    }
    const at::Tensor a = one->Step(tokens), b = other->Step(tokens);
    ASSERT_EQ(a.size(0), static_cast<int64_t>(tokens.size()));
    ASSERT_TRUE(at::allclose(a, b, 1e-4, 1e-4)) << "step " << step;
    for (size_t i = 0; i < tokens.size(); ++i)
      tokens[i] = static_cast<int32_t>((step * 7 + static_cast<int>(i) * 3) % 60);
  }
}

TEST_F(T5ModelTest, JoinRefusesWhatItCannotRead) {
  const auto model = Load({});
  ASSERT_TRUE(model.ok()) << model.status();
  const auto decoder = NewT5Decoder(*model);
  const std::vector<int32_t> good = {4, 1}, none, high = {64}, negative = {-1};
  for (const auto* ids : {&none, &high, &negative}) {
    const std::vector<DecoderSource> sources = {{&good, nullptr}, {ids, nullptr}};
    EXPECT_EQ(GetReason(decoder->Join(sources)), ids->empty() ? Reason::kTextEmpty : Reason::kFieldInvalid);
    EXPECT_EQ(decoder->lines(), 0) << "nothing was appended";
  }
}

}  // namespace
}  // namespace tenon::engine
