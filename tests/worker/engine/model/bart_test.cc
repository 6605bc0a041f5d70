// A tiny BART: its files, our kernels against torch's operators, many adapters over one batch, its limits.
#include <ATen/TensorOperators.h>
#include <ATen/ops/allclose.h>
#include <ATen/ops/stack.h>
#include <c10/core/InferenceMode.h>
#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "common/formats/status.h"
#include "tests/common/formats/temp_folder.h"
#include "tests/worker/engine/tensor_file.h"
#include "tests/worker/engine/tiny_bart.h"
#include "worker/engine/adapter/tensors.h"
#include "worker/engine/adapter/write.h"
#include "worker/engine/base.h"
#include "worker/engine/generate/decoder.h"
#include "worker/engine/infer.h"
#include "worker/engine/model/bart/model.h"
#include "worker/engine/model/decode/decoder.h"

namespace tenon::engine {
namespace {

using testing::TinyBart;

struct Row {
  std::vector<int32_t> ids;
  std::string adapter;  // empty: the base
};

class BartTest : public ::testing::Test {
 protected:
  absl::StatusOr<std::shared_ptr<const BartModel>> Load(const TinyBart& base, bool prepare_inference = true,
                                                        Precision precision = Precision::kFp32) {
    testing::WriteTinyBart(folder_ / "model", base);
    const auto config = formats::ReadBartConfig(folder_ / "model");
    EXPECT_TRUE(config.ok()) << config.status();
    const auto weights = formats::Safetensors::OpenModel(folder_ / "model", {});
    EXPECT_TRUE(weights.ok()) << weights.status();
    return BartModel::Load(*config, **weights, Device{}, precision, prepare_inference);
  }
  void ExpectInvalid(const TinyBart& base, const std::string& name) {
    const absl::Status status = Load(base).status();
    EXPECT_EQ(GetReason(status), Reason::kBaseInvalid) << name << ": " << status;
    EXPECT_EQ(GetField(status), name) << status;
  }
  // A base with adapters of all kinds placed in it.
  void LoadBase() {
    testing::WriteTinyBart(folder_ / "base", shape_);
    const auto base = Base::Load(folder_ / "base", {.digest = std::string(64, 'a')});
    ASSERT_TRUE(base.ok()) << base.status();
    base_ = *base;
    testing::WriteTinyBartLora(folder_ / "lora-2", shape_, {.r = 2, .seed = 11});
    testing::WriteTinyBartLora(
        folder_ / "lora-7", shape_,
        {.r = 7, .target_modules = {"k_proj", "out_proj", "fc1", "fc2"}, .spread = 0.1, .seed = 12});
    testing::WriteTinyBartPrompt(folder_ / "prompt-3", shape_, {.r = 3, .spread = 1, .seed = 13});
    for (const char* name : {"lora-2", "lora-7", "prompt-3"}) Place(name);
  }
  absl::Status TryPlace(const std::string& name) {
    ASSIGN_OR_RETURN(const auto host, HostAdapter::Load(folder_ / name, *base_));
    ASSIGN_OR_RETURN(adapters_[name], DeviceAdapter::Place(host, *base_));
    return absl::OkStatus();
  }
  void Place(const std::string& name) {
    const absl::Status placed = TryPlace(name);
    ASSERT_TRUE(placed.ok()) << name << ": " << placed;
  }
  // Of each row, [steps, vocab].
  std::vector<at::Tensor> Logits(const std::vector<Row>& rows, Decoder& decoder) const {
    const c10::InferenceMode inference;
    std::vector<DecoderSource> sources;
    for (const Row& row : rows) {
      sources.push_back({&row.ids, row.adapter.empty() ? nullptr : adapters_.at(row.adapter).get()});
    }
    const absl::Status joined = decoder.Join(sources);
    EXPECT_TRUE(joined.ok()) << joined;
    std::vector<at::Tensor> steps;
    for (int32_t step = 0; step < 6; ++step) {
      steps.push_back(decoder.Step(std::vector<int32_t>(rows.size(), step == 0 ? 2 : 3 + step * 7)));
    }
    return at::stack(steps, 1).unbind(0);
  }
  std::vector<at::Tensor> Logits(const std::vector<Row>& rows) const {
    const auto decoder = base_->NewDecoder();
    EXPECT_TRUE(decoder.ok()) << decoder.status();
    return Logits(rows, **decoder);
  }
  static std::vector<Row> Rows() {
    std::vector<Row> rows;
    int32_t n = 0;
    for (const char* name : {"lora-2", "", "prompt-3", "lora-7", "prompt-3", "", "lora-2"}) {
      Row& row = rows.emplace_back(Row{{0}, name});
      for (int32_t i = 0; i < 1 + n % 5 * 3; ++i) row.ids.push_back(4 + (n * 11 + i * 5) % 58);
      row.ids.push_back(2);
      ++n;
    }
    return rows;
  }

  const test::TempFolder folder_;
  TinyBart shape_;
  std::shared_ptr<const Base> base_;
  std::map<std::string, std::shared_ptr<const DeviceAdapter>> adapters_;
};

TEST_F(BartTest, WhatIsMissingOrMisshapenIsNamed) {
  for (const char* suffix :
       {"shared.weight", "encoder.embed_positions.weight", "decoder.embed_positions.weight",
        "encoder.layernorm_embedding.bias", "encoder.layers.1.self_attn.k_proj.weight", "decoder.layers.0.fc1.bias",
        "decoder.layers.1.encoder_attn.out_proj.bias", "decoder.layers.0.encoder_attn_layer_norm.weight"}) {
    const std::string name = shape_.prefix + suffix;
    TinyBart base;
    base.change = [&](const std::string& given, std::vector<int64_t>&) { return given == name ? "" : given; };
    const absl::Status missing = Load(base).status();
    EXPECT_EQ(GetReason(missing), Reason::kBaseInvalid) << name << ": " << missing;
    base.change = [&](const std::string& given, std::vector<int64_t>& shape) {
      if (given == name) ++shape[0];
      return given;
    };
    ExpectInvalid(base, name);
  }
}

TEST_F(BartTest, WhatHasNoPlaceIsNamed) {
  TinyBart base;
  base.change = [](const std::string& given, std::vector<int64_t>&) {
    return given == "model.decoder.layernorm_embedding.bias" ? std::string("model.decoder.layer_norm.bias") : given;
  };
  EXPECT_EQ(GetReason(Load(base).status()), Reason::kBaseInvalid);
  base.layers = 3;
  base.change = nullptr;
  testing::WriteTinyBart(folder_ / "model", base);
  auto config = *formats::ReadBartConfig(folder_ / "model");
  config.decoder_layers = 2;
  const auto weights = *formats::Safetensors::OpenModel(folder_ / "model", {});
  const absl::Status left = BartModel::Load(config, *weights, Device{}, Precision::kFp32, true).status();
  EXPECT_EQ(GetReason(left), Reason::kBaseInvalid);
  EXPECT_EQ(GetField(left), "model.decoder.layers.2.encoder_attn.k_proj.bias");
}

TEST_F(BartTest, LinearLayersHavePeftsNames) {
  for (const char* prefix : {"model.", ""}) {
    TinyBart base;
    base.prefix = prefix;
    const auto model = Load(base);
    ASSERT_TRUE(model.ok()) << model.status();
    const auto& layers = (*model)->linear_layers();
    EXPECT_EQ(layers.size(), 2U * 6 + 2U * 10);
    EXPECT_EQ(layers.at("encoder.layers.0.fc1"), (std::pair<int64_t, int64_t>(64, 32)));
    EXPECT_EQ(layers.count("decoder.layers.1.encoder_attn.v_proj"), 1U);
    EXPECT_GT((*model)->ResidentBytes(), 64 * 32 * 4);
  }
}

TEST_F(BartTest, OurKernelsAndTorchsGiveTheSame) {
  const c10::InferenceMode inference;
  const auto fast = Load({}), plain = Load({}, /*prepare_inference=*/false);
  ASSERT_TRUE(fast.ok()) << fast.status();
  ASSERT_TRUE(plain.ok()) << plain.status();
  EXPECT_TRUE((*fast)->own_kernels());
  EXPECT_FALSE((*plain)->own_kernels());
  const std::vector<std::vector<int32_t>> sources = {{0, 6, 7, 2}, {0, 2}, {0, 8, 12, 16, 20, 24, 28, 2}};
  std::vector<DecoderSource> joining;
  for (const auto& ids : sources) joining.push_back({&ids, nullptr});
  const auto one = NewSourceDecoder(*fast), other = NewSourceDecoder(*plain);
  ASSERT_TRUE(one->Join(joining).ok());
  ASSERT_TRUE(other->Join(joining).ok());
  std::vector<int32_t> tokens(3, 2);
  for (int step = 0; step < 30; ++step) {
    if (step == 10) {  // beams are reordered, one is dropped, and somebody joins
      for (const auto* decoder : {&one, &other}) {
        (*decoder)->Select({{2, 0, 0}});
        ASSERT_TRUE((*decoder)->Join(absl::MakeConstSpan(joining).subspan(1, 1)).ok());
      }
      tokens.push_back(2);
    }
    const at::Tensor a = one->Step(tokens), b = other->Step(tokens);
    ASSERT_EQ(a.size(0), static_cast<int64_t>(tokens.size()));
    ASSERT_TRUE(at::allclose(a, b, 1e-4, 1e-4)) << "step " << step;
    for (size_t i = 0; i < tokens.size(); ++i)
      tokens[i] = static_cast<int32_t>((step * 7 + static_cast<int>(i) * 3) % 60);
  }
}

TEST_F(BartTest, ARowInAMixedBatchIsWhatItIsAlone) {
  LoadBase();
  const std::vector<Row> rows = Rows();
  const std::vector<at::Tensor> mixed = Logits(rows);
  for (size_t i = 0; i < rows.size(); ++i) {
    const at::Tensor alone = Logits({rows[i]})[0];
    // Relative to the logits' size: products of one line and of many may be other kernels.
    const at::Tensor difference = (mixed[i] - alone).abs().max();
    EXPECT_LE(difference.item<float>(), 1e-5F * alone.abs().max().item<float>()) << i << " " << rows[i].adapter;
    if (rows[i].adapter.empty()) continue;
    const at::Tensor base = Logits({{rows[i].ids, ""}})[0];
    EXPECT_FALSE(at::allclose(alone, base, 1e-2, 1e-2)) << rows[i].adapter << " changes nothing";
  }
}

// A prompt of words' own embeddings is those words.
TEST_F(BartTest, VirtualTokensStandWhereTokensWould) {
  LoadBase();
  const auto weights = *formats::Safetensors::OpenModel(folder_ / "base", {});
  const auto* table = reinterpret_cast<const float*>(weights->Find("model.shared.weight")->data);
  const std::vector<int32_t> words = {9, 33, 9, 50};
  testing::WriteTinyBartPrompt(folder_ / "words", shape_, {.r = 4});
  testing::TensorFile file(1);
  std::vector<float>& rows = file.Add("prompt_embeddings", {8, shape_.d_model}, 0, 1);
  for (size_t i = 0; i < words.size(); ++i) {
    std::copy_n(table + words[i] * shape_.d_model, shape_.d_model,
                rows.begin() + static_cast<int64_t>(i) * shape_.d_model);
  }
  file.Write(folder_ / "words" / "adapter_model.safetensors");
  Place("words");
  const std::vector<int32_t> text = {20, 21, 22, 2};
  std::vector<int32_t> whole = words;
  whole.insert(whole.end(), text.begin(), text.end());
  const auto both = Logits({{text, "words"}, {whole, ""}, {text, "lora-2"}});
  EXPECT_TRUE(at::allclose(both[0], both[1], 1e-5, 1e-5));
}

TEST_F(BartTest, WhatIsReadIsWrittenAgain) {
  LoadBase();
  for (const char* name : {"lora-7", "prompt-3"}) {
    std::filesystem::create_directories(folder_ / "again");
    ASSERT_TRUE(WriteAdapter(folder_ / "again", adapters_.at(name)->host().tensors()).ok());
    Place("again");
    const std::vector<int32_t> ids = {0, 8, 30, 2};
    const auto rows = Logits({{ids, name}, {ids, "again"}});
    EXPECT_TRUE(at::allclose(rows[0], rows[1], 0, 1e-6)) << name;
    std::filesystem::remove_all(folder_ / "again");
  }
}

TEST_F(BartTest, ItsPositionsAreItsLimits) {
  LoadBase();
  EXPECT_EQ(base_->max_tokens(), 40);
  EXPECT_EQ(base_->default_max_tokens(), 40);
  EXPECT_EQ(base_->generation_limits().max_positions, 40);
  EXPECT_EQ(base_->summary_prefix(), "");
  EXPECT_EQ(base_->generation_defaults().decoder_start_token_id, 2);
  EXPECT_EQ(base_->generation_defaults().forced_eos_token_ids, std::vector<int32_t>{2});
  EXPECT_EQ(MaxInputTokens(*base_, nullptr, 100), 40);
  EXPECT_EQ(MaxInputTokens(*base_, &adapters_.at("prompt-3")->host()), 37);
  EXPECT_EQ(MaxInputTokens(*base_, &adapters_.at("lora-2")->host(), 12), 12);
  EXPECT_TRUE(WarmUp(*base_).ok());

  const auto decoder = *base_->NewDecoder();
  const std::vector<int32_t> most(40, 5), more(41, 5), none, high = {64};
  EXPECT_TRUE(decoder->Join({{&most, nullptr}}).ok());
  EXPECT_EQ(GetReason(decoder->Join({{&most, adapters_.at("prompt-3").get()}})), Reason::kFieldInvalid);
  EXPECT_EQ(GetReason(decoder->Join({{&more, nullptr}})), Reason::kFieldInvalid);
  EXPECT_EQ(GetReason(decoder->Join({{&high, nullptr}})), Reason::kFieldInvalid);
  EXPECT_EQ(GetReason(decoder->Join({{&none, nullptr}})), Reason::kTextEmpty);
  EXPECT_EQ(decoder->lines(), 1) << "nothing was appended";
}

TEST_F(BartTest, WhatItDoesNotTakeIsNamed) {
  LoadBase();
  testing::WriteTinyBartPrompt(folder_ / "long", shape_, {.r = 38});
  EXPECT_EQ(GetField(TryPlace("long")), "num_virtual_tokens");
  TinyBart wide = shape_;
  wide.ffn_dim = 96;
  testing::WriteTinyBartLora(folder_ / "wide", wide, {.target_modules = {"fc2"}});
  const absl::Status misshapen = TryPlace("wide");
  EXPECT_EQ(GetReason(misshapen), Reason::kAdapterInvalid);
  EXPECT_EQ(GetField(misshapen), "base_model.model.model.decoder.layers.0.fc2.lora_A.weight");
  EXPECT_EQ(GetReason(base_->t5(Precision::kFp32).status()), Reason::kUnsupported) << "it is not trained";
  EXPECT_EQ(GetReason(base_->encoder(Precision::kFp32).status()), Reason::kUnsupported);
}

}  // namespace
}  // namespace tenon::engine
