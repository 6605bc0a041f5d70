#include "common/formats/merged_model.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "common/formats/half.h"
#include "common/formats/safetensors_header.h"
#include "common/formats/status.h"

namespace tenon::formats {
namespace {

using ::testing::HasSubstr;
using Files = std::map<std::string, std::string>;

struct Tensor {
  std::vector<int64_t> shape;
  std::vector<float> values;
  DType dtype = DType::kF32;
};
using Tensors = std::vector<std::pair<std::string, Tensor>>;

constexpr int64_t kHidden = 3, kLabels = 2;
constexpr char kQuery[] = "encoder.layer.0.attention.self.query";
constexpr char kPeft[] = "base_model.model.bert.";

// Numbers that repeat for no reason but the seed.
Tensor Numbers(std::vector<int64_t> shape, int seed, DType dtype = DType::kF32) {
  int64_t count = 1;
  for (const int64_t extent : shape) count *= extent;
  Tensor tensor{std::move(shape), {}, dtype};
  for (int64_t i = 0; i < count; ++i) {
    tensor.values.push_back(static_cast<float>((i * 7 + seed * 5) % 11 - 5) / 4.0f);
  }
  return tensor;
}

std::string FileOf(const Tensors& tensors) {
  std::vector<TensorToWrite> headers;
  std::string data;
  for (const auto& [name, tensor] : tensors) {
    std::string bytes(tensor.values.size() * static_cast<size_t>(ItemSize(tensor.dtype)), '\0');
    if (IsFloat(tensor.dtype)) {
      FromFloats(tensor.values.data(), static_cast<int64_t>(tensor.values.size()), tensor.dtype,
                 reinterpret_cast<uint8_t*>(bytes.data()));
    }
    headers.push_back({name,
                       {.dtype = tensor.dtype,
                        .shape = tensor.shape,
                        .data = nullptr,
                        .size_bytes = static_cast<int64_t>(bytes.size())}});
    data += bytes;
  }
  const auto begin = BeginSafetensors(headers, {{"from", "a test"}});
  EXPECT_TRUE(begin.ok()) << begin.status();
  return *begin + data;
}

std::map<std::string, Tensor> Read(const std::string& bytes) {
  const auto file = Safetensors::Parse(bytes, Safetensors::Limits());
  EXPECT_TRUE(file.ok()) << file.status();
  std::map<std::string, Tensor> tensors;
  if (!file.ok()) return tensors;
  for (const auto& [name, view] : (*file)->tensors()) {
    Tensor& tensor = tensors[name];
    tensor.shape = view.shape;
    tensor.dtype = view.dtype;
    tensor.values.resize(static_cast<size_t>(view.size_bytes / ItemSize(view.dtype)));
    ToFloats(view.dtype, view.data, static_cast<int64_t>(tensor.values.size()), tensor.values.data());
  }
  return tensors;
}

// W + scale * B A, in double.
std::vector<double> Sum(const Tensor& w, const Tensor& a, const Tensor& b, double scale) {
  const int64_t out = w.shape[0], in = w.shape[1], r = a.shape[0];
  std::vector<double> sum(w.values.begin(), w.values.end());
  for (int64_t o = 0; o < out; ++o) {
    for (int64_t k = 0; k < r; ++k) {
      for (int64_t i = 0; i < in; ++i) {
        sum[static_cast<size_t>(o * in + i)] += scale * static_cast<double>(b.values[static_cast<size_t>(o * r + k)]) *
                                                static_cast<double>(a.values[static_cast<size_t>(k * in + i)]);
      }
    }
  }
  return sum;
}

void ExpectNear(const Tensor& tensor, const std::vector<double>& expected) {
  ASSERT_EQ(tensor.values.size(), expected.size());
  for (size_t i = 0; i < expected.size(); ++i) EXPECT_NEAR(tensor.values[i], expected[i], 1e-6) << i;
}

// An encoder's checkpoint with what each kind of tensor there is, its names begun with `prefix`.
Tensors Encoder(const std::string& prefix, bool old_names, DType dtype = DType::kF32) {
  const std::string norm = prefix + "embeddings.LayerNorm.";
  return {{prefix + "embeddings.position_ids", {{1, 2}, {0, 0}, DType::kI64}},
          {prefix + "embeddings.word_embeddings.weight", Numbers({4, kHidden}, 1, dtype)},
          {norm + (old_names ? "gamma" : "weight"), Numbers({kHidden}, 2, dtype)},
          {norm + (old_names ? "beta" : "bias"), Numbers({kHidden}, 3, dtype)},
          {prefix + kQuery + ".weight", Numbers({kHidden, kHidden}, 4, dtype)},
          {prefix + kQuery + ".bias", Numbers({kHidden}, 5, dtype)},
          {prefix + "encoder.layer.0.output.dense.weight", Numbers({kHidden, 5}, 6, dtype)},
          {prefix + "pooler.dense.weight", Numbers({kHidden, kHidden}, 7, dtype)},
          {"cls.predictions.bias", Numbers({4}, 8, dtype)}};
}

class MergedModelTest : public ::testing::Test {
 protected:
  MergedModelTest() {
    base_["config.json"] = R"({"model_type":"bert","num_labels":7,"architectures":["BertModel"],"hidden_size":3})";
    base_["tokenizer.json"] = std::string("{\0 byte for byte", 16);
    base_["empty.txt"] = "";
    base_["model.safetensors"] = FileOf(Encoder("", false));
    input_.tenon.method = "lora";
    input_.tenon.task = "sequence_classification";
    input_.tenon.labels = {"bad", "good"};
    input_.lora.r = 2;
    input_.lora.alpha = 6;
    input_.lora.target_modules = {"query"};
    input_.lora.task_type = "SEQ_CLS";
    adapter_ = {{absl::StrCat(kPeft, kQuery, ".lora_A.weight"), Numbers({2, kHidden}, 11)},
                {absl::StrCat(kPeft, kQuery, ".lora_B.weight"), Numbers({kHidden, 2}, 12)},
                {"base_model.model.classifier.weight", Numbers({kLabels, kHidden}, 13)},
                {"base_model.model.classifier.bias", Numbers({kLabels}, 14)}};
  }
  Tensor& Adapter(const std::string& name) {
    for (auto& [key, tensor] : adapter_) {
      if (key == name) return tensor;
    }
    return adapter_.emplace_back(name, Tensor()).second;
  }
  void Forget(const std::string& name) {
    std::erase_if(adapter_, [&](const auto& item) { return item.first == name; });
  }
  absl::StatusOr<Files> Merge(size_t piece_size = 1 << 20) {
    input_.base.clear();
    for (const auto& [name, bytes] : base_) input_.base.push_back({name, static_cast<int64_t>(bytes.size())});
    input_.read = [&, piece_size](const std::string& name, const PieceSink& sink) {
      const std::string& bytes = base_.at(name);
      for (size_t at = 0; at < bytes.size(); at += piece_size) RETURN_IF_ERROR(sink(bytes.substr(at, piece_size)));
      return absl::OkStatus();
    };
    auto weights = Safetensors::Parse(FileOf(adapter_), Safetensors::Limits());
    RETURN_IF_ERROR(weights.status());
    input_.weights = *std::move(weights);
    Files files;
    std::string last;
    RETURN_IF_ERROR(MergeModel(input_, [&](const std::string& file, const std::string& piece) {
      EXPECT_LE(piece.size(), size_t{1} << 20);
      EXPECT_TRUE(file == last || files.count(file) == 0) << file << " comes in two parts";
      files[last = file] += piece;
      return absl::OkStatus();
    }));
    return files;
  }
  // The error; nothing may have been written before it.
  void ExpectRefused(Reason reason, const std::string& field) {
    bool written = false;
    ASSERT_EQ(Merge().status().code(), ReasonCode(reason));
    const absl::Status status = MergeModel(input_, [&](const std::string&, const std::string&) {
      written = true;
      return absl::OkStatus();
    });
    EXPECT_EQ(GetReason(status), reason) << status;
    EXPECT_EQ(GetField(status), field) << status;
    EXPECT_FALSE(written);
  }

  Files base_;
  Tensors adapter_;
  MergeInput input_;
};

TEST_F(MergedModelTest, AClassifierIsTheEncoderWithTheSumAndTheHead) {
  const auto files = Merge();
  ASSERT_TRUE(files.ok()) << files.status();
  const auto tensors = Read(files->at("model.safetensors"));
  std::vector<std::string> names;
  for (const auto& [name, tensor] : tensors) names.push_back(name);
  EXPECT_EQ(names, (std::vector<std::string>{
                       "bert.embeddings.LayerNorm.bias", "bert.embeddings.LayerNorm.weight",
                       "bert.embeddings.word_embeddings.weight", "bert.encoder.layer.0.attention.self.query.bias",
                       "bert.encoder.layer.0.attention.self.query.weight", "bert.encoder.layer.0.output.dense.weight",
                       "bert.pooler.dense.weight", "classifier.bias", "classifier.weight"}));
  ExpectNear(tensors.at(absl::StrCat("bert.", kQuery, ".weight")),
             Sum(Numbers({kHidden, kHidden}, 4), Numbers({2, kHidden}, 11), Numbers({kHidden, 2}, 12), 6.0 / 2));
  EXPECT_EQ(tensors.at("bert.encoder.layer.0.output.dense.weight").values, Numbers({kHidden, 5}, 6).values);
  EXPECT_EQ(tensors.at("classifier.weight").values, Numbers({kLabels, kHidden}, 13).values);
  EXPECT_EQ(tensors.at("classifier.bias").values, Numbers({kLabels}, 14).values);
}

TEST_F(MergedModelTest, TheConfigNamesTheLabelsAndOtherFilesStayAsTheyAre) {
  input_.tenon.multi_label = true;
  const auto files = Merge(3);
  ASSERT_TRUE(files.ok()) << files.status();
  const auto config = nlohmann::json::parse(files->at("config.json"));
  EXPECT_EQ(config["architectures"], nlohmann::json::array({"BertForSequenceClassification"}));
  EXPECT_EQ(config["id2label"], nlohmann::json::parse(R"({"0":"bad","1":"good"})"));
  EXPECT_EQ(config["label2id"], nlohmann::json::parse(R"({"bad":0,"good":1})"));
  EXPECT_EQ(config["problem_type"], "multi_label_classification");
  EXPECT_EQ(config["hidden_size"], 3);
  EXPECT_FALSE(config.contains("num_labels"));
  for (const char* name : {"tokenizer.json", "empty.txt"}) {
    ASSERT_EQ(files->count(name), 1u) << name;
    EXPECT_EQ(files->at(name), base_.at(name));
  }
}

TEST_F(MergedModelTest, ARegressionStaysOne) {
  input_.tenon.regression = true;
  const auto files = Merge(3);
  ASSERT_TRUE(files.ok()) << files.status();
  EXPECT_EQ(nlohmann::json::parse(files->at("config.json"))["problem_type"], "regression");
}

TEST_F(MergedModelTest, CheckpointsNameTheSameTensorsInSeveralWays) {
  const auto plain = Merge();
  base_["model.safetensors"] = FileOf(Encoder("bert.", true));
  const auto wrapped = Merge();
  ASSERT_TRUE(plain.ok() && wrapped.ok()) << plain.status() << wrapped.status();
  EXPECT_EQ(plain->at("model.safetensors"), wrapped->at("model.safetensors"));
}

TEST_F(MergedModelTest, HowThePiecesAreCutDoesNotMatter) {
  base_["model.safetensors"] = FileOf(Encoder("", false, DType::kBF16));
  const auto whole = Merge();
  ASSERT_TRUE(whole.ok()) << whole.status();
  for (const size_t size : {size_t{1}, size_t{7}, size_t{64}}) EXPECT_EQ(*Merge(size), *whole) << size;
}

TEST_F(MergedModelTest, ALargeWeightLeavesInPieces) {
  const int64_t wide = 700'000;
  Tensors tensors = Encoder("", false);
  tensors.push_back({"encoder.layer.0.intermediate.dense.weight", Numbers({2, wide}, 9)});
  base_["model.safetensors"] = FileOf(tensors);
  input_.lora.target_modules = {"query", "intermediate.dense"};
  Adapter(absl::StrCat(kPeft, "encoder.layer.0.intermediate.dense.lora_A.weight")) = Numbers({2, wide}, 21);
  Adapter(absl::StrCat(kPeft, "encoder.layer.0.intermediate.dense.lora_B.weight")) = Numbers({2, 2}, 22);
  const auto files = Merge(1000);
  ASSERT_TRUE(files.ok()) << files.status();
  const auto merged = Read(files->at("model.safetensors")).at("bert.encoder.layer.0.intermediate.dense.weight");
  const auto expected = Sum(Numbers({2, wide}, 9), Numbers({2, wide}, 21), Numbers({2, 2}, 22), 3);
  for (size_t i = 0; i < expected.size(); i += 9973) EXPECT_NEAR(merged.values[i], expected[i], 1e-6) << i;
  EXPECT_NEAR(merged.values.back(), expected.back(), 1e-6);
}

TEST_F(MergedModelTest, RanksAndScalesFollowTheConfig) {
  input_.lora.target_modules = {"query", "output.dense"};
  input_.lora.use_rslora = true;
  input_.lora.rank_pattern = {{"output.dense", 3}};
  input_.lora.alpha_pattern = {{"layer.0.output.dense", 5}};
  const std::string dense = "encoder.layer.0.output.dense";
  Adapter(kPeft + dense + ".lora_A.weight") = Numbers({3, 5}, 15);
  Adapter(kPeft + dense + ".lora_B.weight") = Numbers({kHidden, 3}, 16);
  const auto files = Merge();
  ASSERT_TRUE(files.ok()) << files.status();
  const auto tensors = Read(files->at("model.safetensors"));
  ExpectNear(
      tensors.at(absl::StrCat("bert.", kQuery, ".weight")),
      Sum(Numbers({kHidden, kHidden}, 4), Numbers({2, kHidden}, 11), Numbers({kHidden, 2}, 12), 6 / std::sqrt(2.0)));
  ExpectNear(tensors.at("bert." + dense + ".weight"),
             Sum(Numbers({kHidden, 5}, 6), Numbers({3, 5}, 15), Numbers({kHidden, 3}, 16), 5 / std::sqrt(3.0)));
}

TEST_F(MergedModelTest, AModuleSavedWholeTakesThePlaceOfTheBases) {
  input_.lora.modules_to_save = {"classifier", "score", "pooler"};
  Adapter(absl::StrCat(kPeft, "pooler.dense.weight")) = Numbers({kHidden, kHidden}, 17);
  const auto files = Merge();
  ASSERT_TRUE(files.ok()) << files.status();
  EXPECT_EQ(Read(files->at("model.safetensors")).at("bert.pooler.dense.weight").values,
            Numbers({kHidden, kHidden}, 17).values);
}

TEST_F(MergedModelTest, NarrowWeightsStayNarrowAndRoundToEven) {
  Tensors tensors = Encoder("", false, DType::kBF16);
  const float step = std::ldexp(1.0f, -7);  // between two numbers of this type from 1 to 2
  tensors[4].second.values = {1, 1 + step, 1, 1, 1, 1, 1, 1, 1};
  base_["model.safetensors"] = FileOf(tensors);
  // scale * B A is half a step, and a little more, in the first row; nothing in the others.
  Adapter(absl::StrCat(kPeft, kQuery, ".lora_A.weight")) = {{2, 3}, {step / 2, step / 2, step * 0.51f, 0, 0, 0}};
  Adapter(absl::StrCat(kPeft, kQuery, ".lora_B.weight")) = {{3, 2}, {1, 0, 0, 0, 0, 0}};
  input_.lora.alpha = 2;
  const auto files = Merge();
  ASSERT_TRUE(files.ok()) << files.status();
  const auto merged = Read(files->at("model.safetensors"));
  const Tensor& query = merged.at(absl::StrCat("bert.", kQuery, ".weight"));
  EXPECT_EQ(query.dtype, DType::kBF16);
  EXPECT_EQ(query.values, (std::vector<float>{1, 1 + 2 * step, 1 + step, 1, 1, 1, 1, 1, 1}));
  EXPECT_EQ(merged.at("classifier.weight").dtype, DType::kBF16);
  EXPECT_EQ(nlohmann::json::parse(files->at("config.json"))["dtype"], "bfloat16");
}

TEST_F(MergedModelTest, AnAdapterWithoutLabelsLeavesTheModelsFormAlone) {
  input_.tenon.task = "feature_extraction";
  input_.tenon.labels.clear();
  input_.lora.task_type = "FEATURE_EXTRACTION";
  adapter_ = {{absl::StrCat("base_model.model.", kQuery, ".lora_A.weight"), Numbers({2, kHidden}, 11)},
              {absl::StrCat("base_model.model.", kQuery, ".lora_B.weight"), Numbers({kHidden, 2}, 12)}};
  const auto files = Merge();
  ASSERT_TRUE(files.ok()) << files.status();
  EXPECT_EQ(files->at("config.json"), base_.at("config.json"));
  const std::string &before = base_.at("model.safetensors"), &after = files->at("model.safetensors");
  ASSERT_EQ(after.size(), before.size());
  const auto merged = Safetensors::Parse(after, Safetensors::Limits());
  ASSERT_TRUE(merged.ok()) << merged.status();
  EXPECT_EQ((*merged)->metadata().at("from"), "a test");
  EXPECT_NE((*merged)->Find("embeddings.position_ids"), nullptr);
}

TEST_F(MergedModelTest, ABaseInShardsStaysInShards) {
  const Tensors all = Encoder("", false);
  base_.erase("model.safetensors");
  base_["model-1.safetensors"] = FileOf({all.begin(), all.begin() + 4});
  base_["model-2.safetensors"] = FileOf({all.begin() + 4, all.end() - 1});
  base_["model-3.safetensors"] = FileOf({all.back()});  // of another head alone
  base_["model.safetensors.index.json"] = "{}";
  const auto files = Merge(5);
  ASSERT_TRUE(files.ok()) << files.status();
  EXPECT_EQ(files->count("model-3.safetensors"), 1u) << "it has the classifier now";
  const auto index = nlohmann::json::parse(files->at("model.safetensors.index.json"));
  int64_t bytes = 0;
  size_t count = 0;
  for (const char* shard : {"model-1.safetensors", "model-2.safetensors", "model-3.safetensors"}) {
    for (const auto& [name, tensor] : Read(files->at(shard))) {
      EXPECT_EQ(index["weight_map"][name], shard);
      bytes += static_cast<int64_t>(tensor.values.size() * sizeof(float));
      ++count;
    }
  }
  EXPECT_EQ(index["weight_map"].size(), count);
  EXPECT_EQ(index["metadata"]["total_size"], bytes);
  base_["model-0.safetensors"] = FileOf({{"cls.seq_relationship.bias", Numbers({2}, 1)}});
  EXPECT_EQ(Merge()->count("model-0.safetensors"), 0u) << "nothing of it is left";
}

TEST_F(MergedModelTest, OtherMethodsAreRefusedWithTheReason) {
  EXPECT_TRUE(CheckMergeable("lora").ok());
  for (const auto& [method, why] : std::map<std::string, std::string>{{"prompt_tuning", "changes no weight"},
                                                                      {"bottleneck", "layers of their own"},
                                                                      {"head", "pooled sentence vectors"}}) {
    input_.tenon.method = method;
    ExpectRefused(Reason::kUnsupported, "merged");
    EXPECT_THAT(std::string(CheckMergeable(method).message()), HasSubstr(why));
  }
}

TEST_F(MergedModelTest, WhatIsMissingIsNamed) {
  for (const char* half : {".lora_A.weight", ".lora_B.weight"}) {
    const std::string key = absl::StrCat(kPeft, kQuery, half);
    const Tensor kept = Adapter(key);
    Forget(key);
    ExpectRefused(Reason::kAdapterInvalid, key);
    Adapter(key) = kept;
  }
  input_.lora.target_modules = {"query", "output.dense"};
  ExpectRefused(Reason::kAdapterInvalid, absl::StrCat(kPeft, "encoder.layer.0.output.dense.lora_A.weight"));
  input_.lora.target_modules = {"query"};
  Forget("base_model.model.classifier.bias");
  ExpectRefused(Reason::kAdapterInvalid, "base_model.model.classifier.bias");
}

TEST_F(MergedModelTest, WhatHasNoPlaceOrAnotherShapeIsNamed) {
  const std::string strange = absl::StrCat(kPeft, "encoder.layer.9.attention.self.query.lora_A.weight");
  Adapter(strange) = Numbers({2, kHidden}, 1);
  ExpectRefused(Reason::kAdapterInvalid, strange);
  Forget(strange);
  const std::string key = absl::StrCat(kPeft, kQuery, ".lora_B.weight");
  Adapter(key) = Numbers({kHidden, 3}, 1);
  ExpectRefused(Reason::kAdapterInvalid, key);
  Adapter(key) = Numbers({kHidden, 2}, 1);
  input_.lora.target_modules = {"key"};
  ExpectRefused(Reason::kAdapterInvalid, absl::StrCat(kPeft, kQuery, ".lora_A.weight"));
  input_.lora.target_modules = {"query"};
  input_.tenon.labels.push_back("third");
  ExpectRefused(Reason::kAdapterInvalid, "base_model.model.classifier.weight");
}

TEST_F(MergedModelTest, ASharedOutputLayerIsNotMerged) {
  const Tensors writer = {{"decoder.block.0.layer.0.SelfAttention.q.weight", Numbers({kHidden, kHidden}, 1)},
                          {"shared.weight", Numbers({4, kHidden}, 2)}};
  base_["model.safetensors"] = FileOf(writer);
  input_.tenon.labels.clear();
  input_.lora.target_modules = {"lm_head"};
  adapter_ = {{"base_model.model.lm_head.lora_A.weight", Numbers({2, kHidden}, 3)},
              {"base_model.model.lm_head.lora_B.weight", Numbers({4, 2}, 4)}};
  ExpectRefused(Reason::kUnsupported, "base_model.model.lm_head.lora_A.weight");
  // The same table under its other name.
  base_["model.safetensors"] = FileOf({writer[0], {"lm_head.weight", Numbers({4, kHidden}, 5)}});
  ExpectRefused(Reason::kUnsupported, "base_model.model.lm_head");
  Tensors own = writer;
  own.push_back({"lm_head.weight", Numbers({4, kHidden}, 5)});
  base_["model.safetensors"] = FileOf(own);
  const auto files = Merge();
  ASSERT_TRUE(files.ok()) << files.status();
  const auto tensors = Read(files->at("model.safetensors"));
  ExpectNear(tensors.at("lm_head.weight"),
             Sum(Numbers({4, kHidden}, 5), Numbers({2, kHidden}, 3), Numbers({4, 2}, 4), 3));
  EXPECT_EQ(tensors.at("shared.weight").values, Numbers({4, kHidden}, 2).values);
}

TEST_F(MergedModelTest, ASumThatOverflowsIsNamed) {
  base_["model.safetensors"] = FileOf(Encoder("", false, DType::kF16));
  input_.lora.alpha = 1e6;
  const absl::Status status = Merge().status();
  EXPECT_EQ(GetReason(status), Reason::kResultNotFinite) << status;
  EXPECT_EQ(GetField(status), absl::StrCat("bert.", kQuery, ".weight"));
}

TEST_F(MergedModelTest, ABrokenBaseIsNamed) {
  const std::string whole = base_.at("model.safetensors");
  base_["model.safetensors"] = whole.substr(0, 20);
  ExpectRefused(Reason::kSafetensorsInvalid, "model.safetensors");
  base_["model.safetensors"] = whole.substr(0, 5);
  ExpectRefused(Reason::kSafetensorsInvalid, "model.safetensors");
  base_["model.safetensors"] = whole;
  base_["config.json"] = "[]";
  ExpectRefused(Reason::kBaseInvalid, "config.json");
}

TEST_F(MergedModelTest, AWriterThatFailsEndsIt) {
  ASSERT_TRUE(Merge().ok());
  for (int allowed = 0; allowed < 4; ++allowed) {
    int pieces = 0;
    const absl::Status status = MergeModel(input_, [&](const std::string&, const std::string&) {
      return pieces++ < allowed ? absl::OkStatus() : TenonError(Reason::kCancelled, "gone");
    });
    EXPECT_EQ(GetReason(status), Reason::kCancelled) << status;
    EXPECT_EQ(pieces, allowed + 1);
  }
}

}  // namespace
}  // namespace tenon::formats
