// Adapter files that are broken, do not fit or mean harm: each is refused by the name of what is wrong.
#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <functional>
#include <limits>
#include <list>

#include "common/formats/safetensors.h"
#include "common/formats/status.h"
#include "nlohmann/json.hpp"
#include "tests/common/formats/temp_folder.h"
#include "tests/worker/engine/tiny_base.h"
#include "worker/engine/adapter/adapter.h"

namespace tenon::engine {
namespace {

using formats::Safetensors;
using formats::TensorToWrite;

// The tensors of a file, to change and write again.
struct Contents {
  std::map<std::string, std::vector<int64_t>> shapes;
  std::map<std::string, std::vector<float>> values;

  void Add(const std::string& name, const std::vector<int64_t>& shape, float value = 0.5f) {
    int64_t count = 1;
    for (const int64_t size : shape) count *= size;
    shapes[name] = shape;
    values[name].assign(static_cast<size_t>(count), value);
  }
  void Remove(const std::string& name) {
    ASSERT_EQ(shapes.erase(name), 1u) << name;
    values.erase(name);
  }
};

class HostileAdapterTest : public ::testing::Test {
 protected:
  void SetUp() override {
    testing::WriteTinyBase(folder_ / "base");
    auto base = Base::Load(folder_ / "base", {.digest = std::string(64, 'a')});
    ASSERT_TRUE(base.ok()) << base.status();
    base_ = *base;
    testing::TinyAdapter tiny;
    tiny.base_digest = base_->digest();
    testing::WriteTinyLora(Adapter(), {}, tiny);
    ASSERT_TRUE(Load().ok()) << Load();
  }

  std::filesystem::path Adapter() const { return folder_ / "adapter"; }
  std::filesystem::path Weights() const { return Adapter() / "adapter_model.safetensors"; }
  absl::Status Load() const { return HostAdapter::Load(Adapter(), *base_).status(); }

  void Change(const std::function<void(Contents&)>& change) {
    Contents contents;
    {
      const auto file = *Safetensors::Open(Weights(), Safetensors::Limits{});
      for (const auto& [name, view] : file->tensors()) {
        const float* data = reinterpret_cast<const float*>(view.data);
        contents.shapes[name] = view.shape;
        contents.values[name].assign(data, data + view.size_bytes / 4);
      }
    }
    change(contents);
    std::vector<TensorToWrite> tensors;
    for (const auto& [name, values] : contents.values) {
      TensorToWrite tensor;
      tensor.name = name;
      tensor.view.shape = contents.shapes[name];
      tensor.view.data = reinterpret_cast<const uint8_t*>(values.data());
      tensor.view.size_bytes = static_cast<int64_t>(values.size() * 4);
      tensors.push_back(tensor);
    }
    ASSERT_TRUE(formats::WriteSafetensors(Weights(), tensors, {}).ok());
  }
  void ChangeConfig(const std::string& file, const std::string& key, const nlohmann::json& value) {
    std::ifstream in(Adapter() / file);
    nlohmann::json config = nlohmann::json::parse(in);
    config[key] = value;
    std::ofstream(Adapter() / file) << config.dump();
  }
  void ExpectInvalid(const std::string& field) {
    const absl::Status status = Load();
    EXPECT_EQ(GetReason(status), Reason::kAdapterInvalid) << status;
    EXPECT_EQ(GetField(status), field) << status;
  }

  test::TempFolder folder_;
  std::shared_ptr<const Base> base_;
};

constexpr char kQueryA[] = "base_model.model.bert.encoder.layer.0.attention.self.query.lora_A.weight";
constexpr char kQueryB[] = "base_model.model.bert.encoder.layer.0.attention.self.query.lora_B.weight";

TEST_F(HostileAdapterTest, MissingFactor) {
  Change([](Contents& c) { c.Remove(kQueryB); });
  ExpectInvalid(kQueryB);
}

TEST_F(HostileAdapterTest, MissingHead) {
  Change([](Contents& c) { c.Remove("base_model.model.classifier.weight"); });
  ExpectInvalid("base_model.model.classifier.weight");
}

TEST_F(HostileAdapterTest, LeftOverTensor) {
  Change([](Contents& c) { c.Add("base_model.model.bert.encoder.layer.0.attention.self.key.lora_A.weight", {4, 32}); });
  ExpectInvalid("base_model.model.bert.encoder.layer.0.attention.self.key.lora_A.weight");
}

TEST_F(HostileAdapterTest, AnotherBasesLayer) {
  Change([](Contents& c) {
    c.Add("base_model.model.bert.encoder.layer.2.attention.self.query.lora_A.weight", {4, 32});
  });
  ExpectInvalid("base_model.model.bert.encoder.layer.2.attention.self.query.lora_A.weight");
}

TEST_F(HostileAdapterTest, WrongRank) {
  Change([](Contents& c) { c.Add(kQueryA, {5, 32}); });
  ExpectInvalid(kQueryA);
}

TEST_F(HostileAdapterTest, WrongWidth) {
  Change([](Contents& c) { c.Add(kQueryB, {48, 4}); });
  ExpectInvalid(kQueryB);
}

TEST_F(HostileAdapterTest, FlatTensor) {
  Change([](Contents& c) { c.Add(kQueryA, {128}); });
  ExpectInvalid(kQueryA);
}

TEST_F(HostileAdapterTest, EmptyHead) {
  Change([](Contents& c) {
    c.Add("base_model.model.classifier.weight", {0, 32});
    c.Add("base_model.model.classifier.bias", {0});
  });
  ExpectInvalid("base_model.model.classifier.weight");
}

TEST_F(HostileAdapterTest, ValuesThatAreNoNumbers) {
  for (const float bad : {std::nanf(""), std::numeric_limits<float>::infinity()}) {
    Change([&](Contents& c) { c.values[kQueryA][7] = bad; });
    ExpectInvalid(kQueryA);
  }
}

TEST_F(HostileAdapterTest, BiasThatDoesNotFitItsHead) {
  Change([](Contents& c) { c.Add("base_model.model.classifier.bias", {3}); });
  ExpectInvalid("base_model.model.classifier.bias");
}

TEST_F(HostileAdapterTest, LabelsThatAreNotAsManyAsTheHeadHas) {
  ChangeConfig("tenon.json", "labels", {"only"});
  ExpectInvalid("labels");
}

TEST_F(HostileAdapterTest, ConfigOfAnotherRank) {
  ChangeConfig("adapter_config.json", "r", 8);
  ExpectInvalid(kQueryA);
}

TEST_F(HostileAdapterTest, ConfigThatTargetsMoreThanTheFileHas) {
  ChangeConfig("adapter_config.json", "target_modules", {"query", "value", "key"});
  ExpectInvalid("base_model.model.bert.encoder.layer.0.attention.self.key.lora_A.weight");
}

TEST_F(HostileAdapterTest, RankZero) {
  ChangeConfig("adapter_config.json", "r", 0);
  EXPECT_FALSE(Load().ok());
}

TEST_F(HostileAdapterTest, MethodThatTheFilesAreNotOf) {
  ChangeConfig("tenon.json", "method", "prompt_tuning");
  ExpectInvalid("method");
}

TEST_F(HostileAdapterTest, PromptsThatDoNotFit) {
  testing::TinyAdapter tiny;
  tiny.base_digest = base_->digest();
  const auto fresh = [&] {
    testing::WriteTinyPrompt(Adapter(), {}, tiny);
    EXPECT_TRUE(Load().ok()) << Load();
  };
  for (const char* key : {"token_dim", "num_layers", "num_attention_heads"}) {
    fresh();
    ChangeConfig("adapter_config.json", key, 7);
    ExpectInvalid(key);
  }
  fresh();
  ChangeConfig("adapter_config.json", "num_virtual_tokens", 5);
  ExpectInvalid("prompt_embeddings");
  fresh();
  ChangeConfig("adapter_config.json", "num_virtual_tokens", 62);  // of 64 positions two would be left
  ExpectInvalid("num_virtual_tokens");
  fresh();
  Change([](Contents& c) { c.Add("prompt_embeddings", {4, 48}); });
  ExpectInvalid("prompt_embeddings");
  fresh();
  Change([](Contents& c) { c.Remove("prompt_embeddings"); });
  ExpectInvalid("prompt_embeddings");
  fresh();
  Change([](Contents& c) { c.Remove("base_model.classifier.weight"); });
  ExpectInvalid("base_model.classifier.weight");
  fresh();
  Change([](Contents& c) { c.Add("base_model.model.classifier.weight", {2, 32}); });  // a LoRA's name
  ExpectInvalid("base_model.model.classifier.weight");
  fresh();
  Change([](Contents& c) { c.values["prompt_embeddings"][3] = std::nanf(""); });
  ExpectInvalid("prompt_embeddings");
}

TEST_F(HostileAdapterTest, BottlenecksThatDoNotFit) {
  std::filesystem::remove(Weights());
  testing::TinyAdapter tiny;
  tiny.base_digest = base_->digest();
  const auto fresh = [&] {
    testing::WriteTinyBottleneck(Adapter(), {}, tiny, formats::BottleneckLayout::kSeqBn);
    EXPECT_TRUE(Load().ok()) << Load();
  };
  fresh();
  ChangeConfig("adapter_config.json", "hidden_size", 48);
  ExpectInvalid("hidden_size");
  fresh();
  ChangeConfig("adapter_config.json", "name", "other");
  ExpectInvalid("bert.encoder.layer.0.output.adapters.other.adapter_down.0.weight");
  fresh();
  ChangeConfig("tenon.json", "method", "lora");
  ExpectInvalid("method");
  fresh();
  ChangeConfig("head_config.json", "num_labels", 3);
  ExpectInvalid("label2id");
  fresh();
  std::filesystem::remove(Adapter() / "head_config.json");
  EXPECT_EQ(GetReason(Load()), Reason::kAdapterInvalid);
  // The blocks of another layout are left over, or lacking.
  testing::WriteTinyBottleneck(folder_ / "twice", {}, tiny, formats::BottleneckLayout::kDoubleSeqBn);
  fresh();
  std::filesystem::copy(folder_ / "twice" / "adapter.safetensors", Adapter() / "adapter.safetensors",
                        std::filesystem::copy_options::overwrite_existing);
  ExpectInvalid("bert.encoder.layer.0.attention.output.adapters.tiny.adapter_down.0.bias");
  fresh();
  std::filesystem::copy(folder_ / "twice" / "adapter_config.json", Adapter() / "adapter_config.json",
                        std::filesystem::copy_options::overwrite_existing);
  ExpectInvalid("bert.encoder.layer.0.attention.output.adapters.tiny.adapter_down.0.weight");
  for (const char* pickle : {"pytorch_adapter.bin", "pytorch_model_head.bin"}) {
    fresh();
    std::ofstream(Adapter() / pickle) << "pickle";
    EXPECT_EQ(GetReason(Load()), Reason::kUnsupported);
    EXPECT_EQ(GetField(Load()), pickle);
    std::filesystem::remove(Adapter() / pickle);
  }
}

TEST_F(HostileAdapterTest, CutAndGarbledFilesNeverCrash) {
  std::ifstream in(Weights(), std::ios::binary);
  const std::string whole((std::istreambuf_iterator<char>(in)), std::istreambuf_iterator<char>());
  for (size_t size = 0; size < whole.size(); size += whole.size() / 40 + 1) {
    std::ofstream(Weights(), std::ios::binary | std::ios::trunc) << whole.substr(0, size);
    EXPECT_EQ(GetReason(Load()), Reason::kSafetensorsInvalid) << size;
  }
  // Every place of the length and of a tensor's entry; what the metadata says is nobody's business.
  const size_t entry = whole.find("base_model.");
  std::vector<size_t> places = {0, 1, 2, 3, 4, 5, 6, 7};
  for (size_t at = entry; at < whole.find('}', entry); at += 2) places.push_back(at);
  for (const size_t at : places) {
    std::string garbled = whole;
    garbled[at] = static_cast<char>(garbled[at] ^ 0x15);
    std::ofstream(Weights(), std::ios::binary | std::ios::trunc) << garbled;
    EXPECT_FALSE(Load().ok()) << at;
  }
}

TEST_F(HostileAdapterTest, MissingFiles) {
  std::filesystem::remove(Weights());
  EXPECT_FALSE(Load().ok());
  std::filesystem::remove(Adapter() / "adapter_config.json");
  EXPECT_EQ(GetReason(Load()), Reason::kAdapterInvalid);
}

// A base that only encodes has no use for an adapter of a model that writes.
TEST_F(HostileAdapterTest, AnAdapterOfAnotherTask) {
  std::ifstream in(Adapter() / "tenon.json");
  nlohmann::json config = nlohmann::json::parse(in);
  config["task"] = "seq2seq";
  config["labels"] = nlohmann::json::array();
  std::ofstream(Adapter() / "tenon.json") << config.dump();
  EXPECT_EQ(GetReason(Load()), Reason::kAdapterInvalid);
  EXPECT_EQ(GetField(Load()), "task");
}

}  // namespace
}  // namespace tenon::engine
