// Adapters of several kinds over one batch of a decoder-only model: each line gets what it gets alone.
#include "worker/engine/model/causal/decoder.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/allclose.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/stack.h>
#include <c10/core/InferenceMode.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/formats/status.h"
#include "tests/common/formats/temp_folder.h"
#include "tests/worker/engine/tensor_file.h"
#include "tests/worker/engine/tiny_causal.h"
#include "worker/engine/adapter/adapter.h"
#include "worker/engine/base.h"
#include "worker/engine/generate/generation_batch.h"
#include "worker/engine/infer.h"

namespace tenon::engine {
namespace {

using ::tenon::testing::TinyCausal;
using ::testing::HasSubstr;

struct Row {
  std::vector<int32_t> ids;
  std::string adapter;  // empty: the base
};

class CausalDecoderTest : public ::testing::TestWithParam<TinyCausal> {
 protected:
  void SetUp() override {
    testing::WriteTinyCausal(folder_ / "base", shape_);
    const auto base = Base::Load(folder_ / "base", {.digest = std::string(64, 'a')});
    ASSERT_TRUE(base.ok()) << base.status();
    base_ = *base;
    testing::WriteTinyCausalLora(folder_ / "lora-2", shape_, {.r = 2, .seed = 11});
    testing::WriteTinyCausalLora(folder_ / "lora-7", shape_, {.r = 7, .wide = true, .spread = 0.1, .seed = 12});
    testing::WriteTinyCausalPrompt(folder_ / "prompt-3", shape_, {.r = 3, .spread = 1, .seed = 13});
    testing::WriteTinyCausalPrompt(folder_ / "prompt-20", shape_, {.r = 20, .spread = 1, .seed = 14});
    for (const char* name : {"lora-2", "lora-7", "prompt-3", "prompt-20"}) Place(name);
  }
  void Place(const std::string& name) {
    const auto host = HostAdapter::Load(folder_ / name, *base_);
    ASSERT_TRUE(host.ok()) << name << ": " << host.status();
    EXPECT_EQ((*host)->config().task, "causal_lm");
    const auto placed = DeviceAdapter::Place(*host, *base_);
    ASSERT_TRUE(placed.ok()) << name << ": " << placed.status();
    adapters_[name] = *placed;
  }
  const DeviceAdapter* Adapter(const std::string& name) const {
    return name.empty() ? nullptr : adapters_.at(name).get();
  }
  // Prompts of 0 to 16 tokens before the one that a line's first step is given.
  std::vector<Row> Rows() const {
    std::vector<Row> rows;
    int32_t n = 0;
    for (const char* name : {"", "prompt-3", "lora-7", "prompt-20", "lora-2", "", "prompt-3", "lora-7", ""}) {
      Row& row = rows.emplace_back();
      row.adapter = name;
      for (int32_t i = 0; i < n * 2 % 17; ++i) row.ids.push_back(2 + (n * 11 + i * 5) % 60);
      ++n;
    }
    return rows;
  }
  // Of each row, [steps, vocab].
  std::vector<at::Tensor> Logits(const std::vector<Row>& rows, Decoder& decoder, int32_t steps = 5) const {
    const c10::InferenceMode inference;
    std::vector<DecoderSource> sources;
    for (const Row& row : rows) sources.push_back({&row.ids, Adapter(row.adapter)});
    const absl::Status joined = decoder.Join(sources);
    EXPECT_TRUE(joined.ok()) << joined;
    std::vector<at::Tensor> given;
    for (int32_t step = 0; step < steps; ++step) {
      given.push_back(decoder.Step(std::vector<int32_t>(rows.size(), 3 + step * 7)));
    }
    return at::stack(given, 1).unbind(0);
  }
  std::vector<at::Tensor> Logits(const std::vector<Row>& rows) const {
    const auto decoder = base_->NewDecoder();
    EXPECT_TRUE(decoder.ok()) << decoder.status();
    return Logits(rows, **decoder);
  }
  static void ExpectNear(const at::Tensor& a, const at::Tensor& b, const std::string& what) {
    // Relative to the logits' size: products of one line and of many may be other kernels.
    EXPECT_LE((a - b).abs().max().item<float>(), 1e-5F * b.abs().max().item<float>()) << what;
  }

  const TinyCausal shape_ = GetParam();
  const test::TempFolder folder_;
  std::shared_ptr<const Base> base_;
  std::map<std::string, std::shared_ptr<const DeviceAdapter>> adapters_;
};

TEST_P(CausalDecoderTest, ALineInAMixedBatchIsWhatItIsAlone) {
  const std::vector<Row> rows = Rows();
  const std::vector<at::Tensor> mixed = Logits(rows);
  for (size_t i = 0; i < rows.size(); ++i) {
    ExpectNear(mixed[i], Logits({rows[i]})[0], absl::StrCat(i, " ", rows[i].adapter));
    if (rows[i].adapter.empty()) continue;
    const at::Tensor base = Logits({{rows[i].ids, ""}})[0];
    EXPECT_FALSE(at::allclose(mixed[i], base, 1e-2, 1e-2)) << rows[i].adapter << " changes nothing";
  }
}

TEST_P(CausalDecoderTest, APromptIsWhatItsTokensAreStepByStep) {
  for (const char* adapter : {"", "lora-7", "prompt-3"}) {
    const Row row{{5, 9, 2, 33, 40, 8}, adapter};
    const c10::InferenceMode inference;
    const auto decoder = *base_->NewDecoder();
    const std::vector<int32_t> none;
    ASSERT_TRUE(decoder->Join(std::vector<DecoderSource>{{&none, Adapter(adapter)}}).ok());
    for (const int32_t id : row.ids) decoder->Step(std::vector<int32_t>{id});
    std::vector<at::Tensor> steps;
    for (int32_t step = 0; step < 5; ++step) steps.push_back(decoder->Step(std::vector<int32_t>{3 + step * 7}));
    ExpectNear(at::stack(steps, 1)[0], Logits({row})[0], adapter);
  }
}

TEST_P(CausalDecoderTest, TorchsOperatorsGiveTheSame) {
  const auto config = formats::ReadCausalConfig(folder_ / "base");
  ASSERT_TRUE(config.ok()) << config.status();
  const auto weights = formats::Safetensors::OpenModel(folder_ / "base", {});
  const auto plain = CausalModel::Load(*config, **weights, Device{}, Precision::kFp32, /*prepare_inference=*/false);
  ASSERT_TRUE(plain.ok()) << plain.status();
  ASSERT_FALSE((*plain)->own_kernels());
  const auto decoder = NewCausalDecoder(*plain);
  const std::vector<Row> rows = Rows();
  const std::vector<at::Tensor> one = Logits(rows), other = Logits(rows, *decoder);
  for (size_t i = 0; i < rows.size(); ++i) {
    EXPECT_TRUE(at::allclose(one[i], other[i], 1e-4, 1e-4)) << rows[i].adapter;
  }
}

// Lines of different ages, and beams that share a prompt's tokens.
TEST_P(CausalDecoderTest, LinesJoinBranchAndLeave) {
  const c10::InferenceMode inference;
  const auto decoder = *base_->NewDecoder();
  const std::vector<int32_t> first = {4, 5, 6}, second = {30, 31};
  ASSERT_TRUE(decoder->Join(std::vector<DecoderSource>{{&first, Adapter("lora-2")}}).ok());
  decoder->Step(std::vector<int32_t>{7});
  ASSERT_TRUE(decoder->Join(std::vector<DecoderSource>{{&second, nullptr}}).ok());
  decoder->Select(std::vector<int64_t>{0, 0, 1});
  decoder->Step(std::vector<int32_t>{8, 9, 32});
  decoder->Select(std::vector<int64_t>{1, 2});
  const at::Tensor last = decoder->Step(std::vector<int32_t>{10, 33});
  const auto alone = [&](const std::vector<int32_t>& source, const char* adapter, int32_t token) {
    const auto other = *base_->NewDecoder();
    EXPECT_TRUE(other->Join(std::vector<DecoderSource>{{&source, Adapter(adapter)}}).ok());
    return other->Step(std::vector<int32_t>{token})[0];
  };
  ExpectNear(last[0], alone({4, 5, 6, 7, 9}, "lora-2", 10), "the branch");
  ExpectNear(last[1], alone({30, 31, 32}, "", 33), "the younger line");
}

TEST_P(CausalDecoderTest, WhatHasNoPlaceIsRefusedAndNothingJoins) {
  const auto decoder = *base_->NewDecoder();
  const std::vector<int32_t> good = {4}, foreign = {4, 64}, full(static_cast<size_t>(shape_.positions), 4);
  EXPECT_EQ(GetReason(decoder->Join(std::vector<DecoderSource>{{&good, nullptr}, {&foreign, nullptr}})),
            Reason::kFieldInvalid);
  const absl::Status longer = decoder->Join(std::vector<DecoderSource>{{&full, nullptr}});
  EXPECT_EQ(GetReason(longer), Reason::kFieldInvalid);
  EXPECT_THAT(std::string(longer.message()), HasSubstr("48 positions"));
  // The adapter's virtual tokens take positions, too.
  const std::vector<int32_t> most(28, 4);
  EXPECT_FALSE(decoder->Join(std::vector<DecoderSource>{{&most, Adapter("prompt-20")}}).ok());
  EXPECT_TRUE(decoder->Join(std::vector<DecoderSource>{{&most, Adapter("prompt-3")}}).ok());
  EXPECT_EQ(decoder->lines(), 1);
}

TEST_P(CausalDecoderTest, ABatchCountsAPromptOnce) {
  const auto batch = *GenerationBatch::Open(*base_, {.max_lines = 8, .max_tokens = 100});
  GenerationRequest request;
  request.prefix = {4, 5, 6, 7};
  request.source = {4, 5, 6};
  request.plan.prefix_tokens = 4;
  request.plan.max_length = 4 + 6;
  request.plan.eos_token_ids = {1};
  ASSERT_TRUE(batch->Join({request}).ok());
  EXPECT_EQ(batch->reserved_tokens(), 10);
  while (batch->requests() > 0) {
    const auto events = batch->Step();
    ASSERT_TRUE(events.ok()) << events.status();
    for (const GenerationEvent& event : *events) {
      if (event.finished) {
        EXPECT_LE(event.sequences.at(0).tokens.size(), 6u);
      }
    }
  }
}

TEST_P(CausalDecoderTest, ABaseSaysWhatItIs) {
  EXPECT_TRUE(base_->generates());
  EXPECT_TRUE(base_->decoder_only());
  EXPECT_EQ(base_->generation_limits().max_positions, 48);
  EXPECT_EQ(base_->generation_limits().vocab_size, 64);
  EXPECT_EQ(MaxInputTokens(*base_, nullptr), 47);
  EXPECT_EQ(MaxInputTokens(*base_, &adapters_.at("prompt-20")->host()), 27);
  EXPECT_EQ(MaxInputTokens(*base_, nullptr, 9), 9);
  EXPECT_GT(base_->ResidentBytes(), 0);
  EXPECT_EQ(GetReason(base_->t5(Precision::kFp32).status()), Reason::kUnsupported);
  EXPECT_EQ(GetReason(base_->encoder(Precision::kFp32).status()), Reason::kUnsupported);
  EXPECT_TRUE(WarmUp(*base_).ok());
}

TEST_P(CausalDecoderTest, Bf16IsNear) {
  const auto base = Base::Load(folder_ / "base", {.precision = Precision::kBf16});
  ASSERT_TRUE(base.ok()) << base.status();
  const auto decoder = *(*base)->NewDecoder();
  const std::vector<Row> rows = {{{4, 8, 15, 16}, ""}, {{}, ""}};
  const std::vector<at::Tensor> wide = Logits(rows), narrow = Logits(rows, *decoder);
  for (size_t i = 0; i < rows.size(); ++i) {
    EXPECT_LE((wide[i] - narrow[i]).abs().max().item<float>(), 0.1F * wide[i].abs().max().item<float>());
  }
}

std::string KindName(const ::testing::TestParamInfo<TinyCausal>& info) {
  static const char* const kNames[] = {"Gpt2", "Opt", "OptPost", "Narrow"};
  return kNames[info.index];
}
const TinyCausal kKinds[] = {TinyCausal{}, TinyCausal{.opt = true},
                             TinyCausal{.opt = true, .norm_first = false, .word_size = 16},
                             TinyCausal{.hidden = 24, .heads = 3}};
INSTANTIATE_TEST_SUITE_P(Families, CausalDecoderTest, ::testing::ValuesIn(kKinds), KindName);

class CausalModelTest : public ::testing::Test {
 protected:
  absl::Status Load(const TinyCausal& base) {
    testing::WriteTinyCausal(folder_.path(), base);
    const auto config = formats::ReadCausalConfig(folder_.path());
    EXPECT_TRUE(config.ok()) << config.status();
    const auto weights = formats::Safetensors::OpenModel(folder_.path(), {});
    EXPECT_TRUE(weights.ok()) << weights.status();
    return CausalModel::Load(*config, **weights, Device{}, Precision::kFp32, /*prepare_inference=*/true).status();
  }

  const test::TempFolder folder_;
};

TEST_F(CausalModelTest, WhatIsMissingOrMisshapenIsNamed) {
  const std::string layer = "model.decoder.layers.1.";
  for (const bool opt : {false, true}) {
    const std::vector<std::string> names =
        opt ? std::vector<std::string>{layer + "self_attn.k_proj.weight",
                                       layer + "self_attn_layer_norm.bias",
                                       layer + "fc2.bias",
                                       "model.decoder.final_layer_norm.weight",
                                       "model.decoder.embed_positions.weight",
                                       "model.decoder.project_in.weight"}
            : std::vector<std::string>{"transformer.h.1.attn.c_attn.weight", "transformer.h.0.mlp.c_proj.bias",
                                       "transformer.ln_f.weight", "transformer.wpe.weight"};
    for (const std::string& name : names) {
      TinyCausal base{.opt = opt, .word_size = 16};
      base.change = [&](const std::string& given, std::vector<int64_t>&) { return given == name ? "" : given; };
      const absl::Status missing = Load(base);
      EXPECT_EQ(GetReason(missing), Reason::kBaseInvalid) << missing;
      EXPECT_EQ(GetField(missing), name) << missing;
      base.change = [&](const std::string& given, std::vector<int64_t>& shape) {
        if (given == name) ++shape[0];
        return given;
      };
      EXPECT_EQ(GetField(Load(base)), name);
    }
  }
}

TEST_F(CausalModelTest, WhatHasNoPlaceIsNamed) {
  TinyCausal base;
  base.change = [](const std::string& name, std::vector<int64_t>&) {
    return name == "transformer.h.1.ln_2.bias" ? "transformer.h.2.ln_2.bias" : name;
  };
  EXPECT_EQ(GetReason(Load(base)), Reason::kBaseInvalid);
}

}  // namespace
}  // namespace tenon::engine
