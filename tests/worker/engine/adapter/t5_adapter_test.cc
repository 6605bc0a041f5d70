// Prompts, bottlenecks and LoRAs of a T5: read, refused by the name of what is wrong, written.
#include <ATen/ops/equal.h>
#include <ATen/ops/zeros.h>
#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <functional>

#include "common/formats/safetensors.h"
#include "common/formats/status.h"
#include "nlohmann/json.hpp"
#include "tests/common/formats/temp_folder.h"
#include "tests/worker/engine/tiny_base.h"
#include "tests/worker/engine/tiny_t5.h"
#include "worker/engine/adapter/adapter.h"
#include "worker/engine/adapter/tensors.h"
#include "worker/engine/adapter/write.h"

namespace tenon::engine {
namespace {

namespace fs = std::filesystem;
using formats::BottleneckLayout;
using formats::Safetensors;
using testing::TinyT5Adapter;

std::string ReadAll(const fs::path& file) {
  std::ifstream in(file, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

class T5AdapterTest : public ::testing::Test {
 protected:
  void SetUp() override {
    testing::WriteTinyT5(folder_ / "base", shape_);
    const auto base = Base::Load(folder_ / "base", {.digest = std::string(64, 'a')});
    ASSERT_TRUE(base.ok()) << base.status();
    base_ = *base;
  }
  fs::path Adapter() const { return folder_ / "adapter"; }
  absl::StatusOr<std::shared_ptr<const HostAdapter>> Load() const { return HostAdapter::Load(Adapter(), *base_); }
  std::shared_ptr<const HostAdapter> Loaded() const {
    const auto host = Load();
    EXPECT_TRUE(host.ok()) << host.status();
    return host.ok() ? *host : nullptr;
  }
  // Writes it, reads it back, and writes that: all files must be the same bytes. Gives the folder.
  fs::path ExpectWritesBack(const HostAdapter& adapter) {
    const fs::path written = folder_ / "written", again = folder_ / "again";
    for (const fs::path& to : {written, again}) {
      fs::remove_all(to);
      fs::create_directories(to);
    }
    EXPECT_TRUE(WriteAdapter(written, adapter.tensors()).ok());
    const auto back = HostAdapter::Load(written, *base_);
    EXPECT_TRUE(back.ok()) << back.status();
    if (!back.ok()) return written;
    EXPECT_TRUE(WriteAdapter(again, (*back)->tensors()).ok());
    for (const auto& file : fs::directory_iterator(written)) {
      EXPECT_EQ(ReadAll(file.path()), ReadAll(again / file.path().filename())) << file.path();
    }
    return written;
  }
  void ChangeConfig(const std::string& key, const nlohmann::json& value) {
    nlohmann::json config = nlohmann::json::parse(ReadAll(Adapter() / "adapter_config.json"));
    (config.contains("config") && config["config"].contains(key) ? config["config"][key] : config[key]) = value;
    std::ofstream(Adapter() / "adapter_config.json") << config.dump();
  }
  // The file without a tensor, or with another shape or value of it; `shape` empty takes it out.
  void ChangeTensor(const std::string& file, const std::string& name, const std::vector<int64_t>& shape,
                    float value = 0.5f) {
    const auto read = *Safetensors::Open(Adapter() / file, Safetensors::Limits{});
    std::vector<formats::TensorToWrite> tensors;
    std::map<std::string, std::string> bytes;
    for (const auto& [key, view] : read->tensors()) {
      if (key == name) continue;
      bytes[key].assign(reinterpret_cast<const char*>(view.data), static_cast<size_t>(view.size_bytes));
      tensors.push_back({key, view});
      tensors.back().view.data = reinterpret_cast<const uint8_t*>(bytes[key].data());
    }
    std::vector<float> values;
    if (!shape.empty()) {
      int64_t count = 1;
      for (const int64_t size : shape) count *= size;
      values.assign(static_cast<size_t>(count), value);
      formats::TensorToWrite tensor;
      tensor.name = name;
      tensor.view.shape = shape;
      tensor.view.data = reinterpret_cast<const uint8_t*>(values.data());
      tensor.view.size_bytes = count * 4;
      tensors.push_back(tensor);
    }
    ASSERT_TRUE(formats::WriteSafetensors(Adapter() / file, tensors, {}).ok());
  }
  void ExpectInvalid(const std::string& field, Reason reason = Reason::kAdapterInvalid) {
    const absl::Status status = Load().status();
    EXPECT_EQ(GetReason(status), reason) << field << ": " << status;
    EXPECT_EQ(GetField(status), field) << status;
  }

  const test::TempFolder folder_;
  testing::TinyT5 shape_;
  std::shared_ptr<const Base> base_;
};

TEST_F(T5AdapterTest, APromptsFirstRowsAreThePrompt) {
  for (const int64_t submodules : {2, 1}) {
    testing::WriteTinyT5Prompt(Adapter(), shape_, {.r = 6, .submodules = submodules});
    const auto host = Loaded();
    ASSERT_NE(host, nullptr);
    EXPECT_EQ(host->config().method, "prompt_tuning");
    EXPECT_EQ(host->config().task, "seq2seq");
    EXPECT_EQ(host->config().base_digest, base_->digest());
    EXPECT_EQ(host->num_labels(), 0);
    EXPECT_EQ(host->virtual_tokens(), 6);
    EXPECT_EQ(host->tensors().Parameters(), 6 * submodules * 32) << "PEFT counts the rows that it never reads";
    EXPECT_EQ(host->bytes(), 4 * host->tensors().Parameters());
    const auto file = *Safetensors::Open(Adapter() / "adapter_model.safetensors", Safetensors::Limits{});
    const at::Tensor& rows = host->tensors().prompt_embeddings;
    EXPECT_EQ(std::memcmp(rows.const_data_ptr(), file->Find("prompt_embeddings")->data, 6 * 32 * 4), 0);
    // Rows that nobody reads stay out of device memory, and go back into the file.
    const auto placed = DeviceAdapter::Place(host, *base_);
    ASSERT_TRUE(placed.ok()) << placed.status();
    EXPECT_EQ((*placed)->bytes(), 6 * 32 * 4);
    const fs::path written = ExpectWritesBack(*host);
    const auto back = *Safetensors::Open(written / "adapter_model.safetensors", Safetensors::Limits{});
    ASSERT_EQ(back->Find("prompt_embeddings")->shape, file->Find("prompt_embeddings")->shape);
    EXPECT_EQ(std::memcmp(back->Find("prompt_embeddings")->data, file->Find("prompt_embeddings")->data,
                          static_cast<size_t>(6 * submodules * 32 * 4)),
              0);
  }
}

TEST_F(T5AdapterTest, NoTableOfPositionsLimitsAPromptedText) {
  testing::WriteTinyT5Prompt(Adapter(), shape_, {.r = 600});
  const auto host = Loaded();
  ASSERT_NE(host, nullptr);
  EXPECT_EQ(MaxInputTokens(*base_, host.get()), base_->default_max_tokens());
  EXPECT_EQ(MaxInputTokens(*base_, host.get(), 2000), 2000);
  EXPECT_EQ(MaxInputTokens(*base_, nullptr, 70), 70);
}

TEST_F(T5AdapterTest, PromptsThatDoNotFitAreNamed) {
  const auto fresh = [&] {
    testing::WriteTinyT5Prompt(Adapter(), shape_);
    EXPECT_TRUE(Load().ok()) << Load().status();
  };
  for (const char* key : {"token_dim", "num_layers", "num_attention_heads"}) {
    fresh();
    ChangeConfig(key, 7);
    ExpectInvalid(key);
  }
  fresh();
  ChangeConfig("num_virtual_tokens", 5);
  ExpectInvalid("prompt_embeddings");
  fresh();
  ChangeConfig("num_transformer_submodules", 1);
  ExpectInvalid("prompt_embeddings");
  fresh();
  ChangeConfig("num_transformer_submodules", 3);
  ExpectInvalid("num_transformer_submodules", Reason::kUnsupported);
  fresh();
  ChangeConfig("num_transformer_submodules", nullptr);  // PEFT's own number, 2
  EXPECT_TRUE(Load().ok()) << Load().status();
  ChangeConfig("num_transformer_submodules", 1);
  ChangeConfig("task_type", "FEATURE_EXTRACTION");
  ExpectInvalid("task_type");
  constexpr char kFile[] = "adapter_model.safetensors";
  for (const std::vector<int64_t>& shape : {std::vector<int64_t>{8, 48}, {4, 32}, {256}, {}}) {
    fresh();
    ChangeTensor(kFile, "prompt_embeddings", shape);
    ExpectInvalid("prompt_embeddings");
  }
  fresh();
  ChangeTensor(kFile, "prompt_embeddings", {8, 32}, std::nanf(""));
  ExpectInvalid("prompt_embeddings");
  fresh();
  ChangeTensor(kFile, "base_model.classifier.weight", {2, 32});
  ExpectInvalid("base_model.classifier.weight");
}

struct Blocks {
  BottleneckLayout layout;
  bool crosses;
  std::vector<std::string> modules;  // of the last layers
};

TEST_F(T5AdapterTest, BlocksStandWhereTheLayoutSays) {
  const std::vector<Blocks> all = {
      {BottleneckLayout::kSeqBn,
       false,
       {"encoder.block.1.layer.1.DenseReluDense.wo", "decoder.block.1.layer.2.DenseReluDense.wo"}},
      {BottleneckLayout::kDoubleSeqBn,
       false,
       {"encoder.block.1.layer.0.SelfAttention.o", "encoder.block.1.layer.1.DenseReluDense.wo",
        "decoder.block.1.layer.0.SelfAttention.o", "decoder.block.1.layer.2.DenseReluDense.wo"}},
      {BottleneckLayout::kParBn,
       true,
       {"encoder.block.1.layer.1.DenseReluDense.wo", "decoder.block.1.layer.1.EncDecAttention.o",
        "decoder.block.1.layer.2.DenseReluDense.wo"}}};
  for (const Blocks& one : all) {
    testing::WriteTinyT5Bottleneck(Adapter(), shape_,
                                   {.r = 5, .layout = one.layout, .after_cross_attention = one.crosses});
    const auto host = Loaded();
    ASSERT_NE(host, nullptr);
    EXPECT_EQ(host->config().method, "bottleneck");
    EXPECT_EQ(host->config().task, "seq2seq");
    const AdapterTensors& tensors = host->tensors();
    EXPECT_EQ(tensors.bottlenecks.size(), 2 * one.modules.size());
    for (const std::string& module : one.modules) {
      ASSERT_EQ(tensors.bottlenecks.count(module), 1u) << module;
      EXPECT_EQ(tensors.bottlenecks.at(module).down.weight.sizes().vec(), (std::vector<int64_t>{6, 32}));
      EXPECT_EQ(tensors.bottlenecks.at(module).up.weight.sizes().vec(), (std::vector<int64_t>{32, 6}));
    }
    EXPECT_EQ(tensors.Parameters(), static_cast<int64_t>(2 * one.modules.size()) * (2 * 6 * 32 + 6 + 32));
    EXPECT_EQ(host->bytes(), 4 * tensors.Parameters());
    const fs::path written = ExpectWritesBack(*host);
    EXPECT_FALSE(fs::exists(written / "model_head.safetensors"));
    const auto config = nlohmann::json::parse(ReadAll(written / "adapter_config.json"));
    EXPECT_EQ(config["model_type"], "t5");
    EXPECT_EQ(config["model_class"], "T5ForConditionalGeneration");
  }
}

TEST_F(T5AdapterTest, AnOutputLayerBesideBlocksIsKeptWhereItIsAnother) {
  for (const bool flan : {true, false}) {
    shape_.flan = flan;
    SetUp();
    fs::remove_all(Adapter());
    testing::WriteTinyT5Bottleneck(Adapter(), shape_, {.output_layer_of = folder_ / "base"});
    auto host = Loaded();
    ASSERT_NE(host, nullptr);
    EXPECT_TRUE(host->tensors().modules.empty()) << "the base has it";
    ChangeTensor("model_head.safetensors", "lm_head.weight", {64, 32});
    host = Loaded();
    ASSERT_NE(host, nullptr);
    ASSERT_EQ(host->tensors().modules.count("lm_head"), 1u);
    EXPECT_FALSE(host->tensors().modules.at("lm_head").bias.defined());
    EXPECT_TRUE(fs::exists(ExpectWritesBack(*host) / "model_head.safetensors"));
    ChangeTensor("model_head.safetensors", "lm_head.weight", {64, 48});
    ExpectInvalid("lm_head.weight");
    ChangeTensor("model_head.safetensors", "lm_head.weight", {});
    EXPECT_FALSE(Load().ok());
    fs::remove(Adapter() / "head_config.json");
    EXPECT_EQ(GetReason(Load().status()), Reason::kAdapterInvalid);
  }
}

TEST_F(T5AdapterTest, BlocksOfAModelWithATaskPrefixAreRead) {
  testing::WriteTinyT5Bottleneck(Adapter(), shape_);
  const auto plain = Loaded();
  ASSERT_NE(plain, nullptr);
  {
    const auto file = *Safetensors::Open(Adapter() / "adapter.safetensors", Safetensors::Limits{});
    std::vector<formats::TensorToWrite> tensors;
    for (const auto& [name, view] : file->tensors()) tensors.push_back({"transformer." + name, view});
    ASSERT_TRUE(formats::WriteSafetensors(folder_ / "prefixed", tensors, {}).ok());
  }
  fs::rename(folder_ / "prefixed", Adapter() / "adapter.safetensors");
  const auto prefixed = Loaded();
  ASSERT_NE(prefixed, nullptr);
  for (const auto& [module, block] : plain->tensors().bottlenecks) {
    EXPECT_TRUE(at::equal(prefixed->tensors().bottlenecks.at(module).up.weight, block.up.weight)) << module;
  }
}

TEST_F(T5AdapterTest, BlocksThatDoNotFitAreNamed) {
  constexpr char kFile[] = "adapter.safetensors";
  const std::string down = "decoder.block.1.layer.2.adapters.tiny.adapter_down.0.weight",
                    up = "encoder.block.0.layer.1.adapters.tiny.adapter_up.bias";
  const auto fresh = [&] {
    fs::remove_all(Adapter());
    testing::WriteTinyT5Bottleneck(Adapter(), shape_);
    EXPECT_TRUE(Load().ok()) << Load().status();
  };
  fresh();
  ChangeTensor(kFile, down, {});
  ExpectInvalid(down);
  fresh();
  ChangeTensor(kFile, down, {8, 31});
  ExpectInvalid(down);
  fresh();
  ChangeTensor(kFile, up, {32}, std::nanf(""));
  ExpectInvalid(up);
  // Of a layout that the config does not say, and of a layer that the base has not.
  for (const char* stray : {"decoder.block.1.layer.1.adapters.tiny.adapter_up.bias",
                            "encoder.block.0.layer.0.adapters.tiny.adapter_up.bias",
                            "encoder.block.2.layer.1.adapters.tiny.adapter_up.bias"}) {
    fresh();
    ChangeTensor(kFile, stray, {32});
    ExpectInvalid(stray);
  }
  fresh();
  ChangeConfig("cross_adapter", true);
  ExpectInvalid("decoder.block.0.layer.1.adapters.tiny.adapter_down.0.weight");
  fresh();
  ChangeConfig("hidden_size", 48);
  ExpectInvalid("hidden_size");
  fresh();
  ChangeConfig("reduction_factor", 8);
  ExpectInvalid("encoder.block.0.layer.1.adapters.tiny.adapter_down.0.weight");
  fresh();
  ChangeConfig("model_type", "bert");
  ChangeConfig("cross_adapter", false);
  ExpectInvalid("model_type");
  fresh();
  std::ofstream(Adapter() / "pytorch_adapter.bin") << "pickle";
  ExpectInvalid("pytorch_adapter.bin", Reason::kUnsupported);
}

// An adapter of one family on a base of the other.
TEST_F(T5AdapterTest, AdaptersOfAnEncoderAreRefusedAndTheOtherWayRound) {
  const testing::TinyBase bert;
  testing::WriteTinyBase(folder_ / "bert", bert);
  const auto encoder = Base::Load(folder_ / "bert", {.digest = base_->digest()});
  ASSERT_TRUE(encoder.ok()) << encoder.status();
  testing::TinyAdapter tiny;
  testing::WriteTinyPrompt(folder_ / "prompt", bert, tiny);
  testing::WriteTinyBottleneck(folder_ / "block", bert, tiny, BottleneckLayout::kSeqBn);
  testing::WriteTinyT5Prompt(folder_ / "t5-prompt", shape_);
  testing::WriteTinyT5Bottleneck(folder_ / "t5-block", shape_);
  const auto field = [&](const char* name, const Base& base) {
    fs::remove(folder_ / name / "tenon.json");
    return GetField(HostAdapter::Load(folder_ / name, base).status());
  };
  EXPECT_EQ(field("prompt", *base_), "task_type");
  EXPECT_EQ(field("block", *base_), "model_type");
  EXPECT_EQ(field("t5-prompt", **encoder), "task_type");
  EXPECT_EQ(field("t5-block", **encoder), "model_type");
}

}  // namespace
}  // namespace tenon::engine
