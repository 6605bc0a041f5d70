#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <functional>
#include <map>

#include "absl/strings/str_cat.h"
#include "common/formats/adapter_config.h"
#include "common/formats/safetensors.h"
#include "common/formats/status.h"
#include "server/app/catalog_adapters.h"
#include "server/app/catalog_base_check.h"
#include "server/app/catalog_bases.h"
#include "tests/server/app_catalog/fixture.h"
#include "tests/worker/engine/tiny_bart.h"
#include "tests/worker/engine/tiny_base.h"
#include "tests/worker/engine/tiny_t5.h"

namespace tenon::server {
namespace {

using ::testing::HasSubstr;
namespace fs = std::filesystem;

std::string ReadAll(const fs::path& file) {
  std::ifstream in(file, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

class MergeTest : public CatalogFixture {
 protected:
  MergeTest()
      : bases_(Bases::Parts{store_.get(), blobs_.get(), &models_, &clock_, {}},
               Bases::Options{folder_.path() / "staging", folder_.path() / "bases"}),
        adapters_(Adapters::Parts{store_.get(), blobs_.get(), &models_, &router_, &clock_},
                  Adapters::Options{folder_.path() / "staging"}) {
    router_.SetLabels({"negative", "positive"});
  }
  // A base below the root; its digest.
  std::string Register(const std::string& id) {
    v1::RegisterBaseRequest request;
    request.set_base_id(id);
    request.set_folder(id);
    const auto base = bases_.Register(Scope(), request);
    EXPECT_TRUE(base.ok()) << base.status();
    return base.ok() ? base->digest() : "";
  }
  testing::TinyAdapter OnTiny() {
    testing::WriteTinyBase(folder_.path() / "bases/tiny");
    testing::TinyAdapter adapter;
    adapter.base_digest = Register("tiny");
    return adapter;
  }
  void Import(const std::string& id, const std::string& base) {
    std::vector<v1::ImportAdapterRequest> messages(1);
    messages[0].mutable_header()->set_adapter_id(id);
    messages[0].mutable_header()->set_base(base);
    for (const auto& entry : fs::directory_iterator(folder_.path() / id)) {
      auto& file = *messages.emplace_back().mutable_file();
      file.set_path(entry.path().filename().string());
      file.set_data(ReadAll(entry.path()));
    }
    const auto adapter = adapters_.Import(Scope(), Source(std::move(messages)));
    ASSERT_TRUE(adapter.ok()) << adapter.status();
  }
  absl::Status Export(const std::string& id, const std::function<bool(const v1::ExportAdapterResponse&)>& write) {
    v1::ExportAdapterRequest request;
    request.set_name(id);
    request.set_merged(true);
    return adapters_.Export(Scope(), request, write);
  }
  // The merged model as a folder.
  fs::path Merged(const std::string& id) {
    const fs::path folder = folder_.path() / absl::StrCat("merged-", id);
    fs::create_directories(folder);
    const absl::Status status = Export(id, [&](const v1::ExportAdapterResponse& response) {
      std::ofstream(folder / response.file().path(), std::ios::binary | std::ios::app) << response.file().data();
      return true;
    });
    EXPECT_TRUE(status.ok()) << status;
    EXPECT_EQ(CountFiles(folder_.path() / "staging"), 0);
    return folder;
  }

  Bases bases_;
  Adapters adapters_;
};

std::shared_ptr<const formats::Safetensors> Weights(const fs::path& folder) {
  auto tensors = formats::Safetensors::OpenModel(folder, formats::Safetensors::Limits());
  EXPECT_TRUE(tensors.ok()) << tensors.status();
  return tensors.ok() ? *tensors : nullptr;
}

// Tensors of `after` that have other bytes than the same of `before`, which may be named without `bert.`.
std::vector<std::string> Changed(const formats::Safetensors& before, const formats::Safetensors& after) {
  std::vector<std::string> changed;
  for (const auto& [name, view] : after.tensors()) {
    const bool wrapped = name.rfind("bert.", 0) == 0;
    const formats::TensorView* old = before.Find(wrapped ? name.substr(5) : name);
    if (old == nullptr || old->size_bytes != view.size_bytes ||
        !std::equal(view.data, view.data + view.size_bytes, old->data)) {
      changed.push_back(name);
    }
  }
  return changed;
}

TEST_F(MergeTest, AMergedClassifierIsABaseWithTheAdaptersLabels) {
  const testing::TinyAdapter adapter = OnTiny();
  testing::WriteTinyLora(folder_.path() / "style", testing::TinyBase(), adapter);
  Import("style", "tiny");
  const fs::path merged = Merged("style");
  const auto record = InspectBase(merged);
  ASSERT_TRUE(record.ok()) << record.status();
  EXPECT_EQ(std::vector<std::string>(record->labels().begin(), record->labels().end()), adapter.labels);
  EXPECT_EQ(record->base().tasks(1), v1::TASK_SEQUENCE_CLASSIFICATION);
  const auto before = Weights(folder_.path() / "bases/tiny"), after = Weights(merged);
  const std::vector<std::string> changed = {"bert.encoder.layer.0.attention.self.query.weight",
                                            "bert.encoder.layer.0.attention.self.value.weight",
                                            "bert.encoder.layer.1.attention.self.query.weight",
                                            "bert.encoder.layer.1.attention.self.value.weight",
                                            "classifier.bias",
                                            "classifier.weight"};
  EXPECT_EQ(Changed(*before, *after), changed);
  EXPECT_EQ(after->tensors().size(), before->tensors().size() + 2);
  for (const char* name : {"vocab.txt", "tokenizer_config.json"}) {
    EXPECT_EQ(ReadAll(merged / name), ReadAll(folder_.path() / "bases/tiny" / name)) << name;
  }
  EXPECT_FALSE(fs::exists(merged / "tenon.json"));
}

TEST_F(MergeTest, AMergedT5KeepsItsForm) {
  const testing::TinyT5 t5;
  testing::WriteTinyT5(folder_.path() / "bases/writer", t5);
  Register("writer");
  router_.SetLabels({});
  testing::WriteTinyT5Lora(folder_.path() / "notes", t5);
  Import("notes", "writer");
  const fs::path merged = Merged("notes"), base = folder_.path() / "bases/writer";
  ASSERT_TRUE(InspectBase(merged).ok()) << InspectBase(merged).status();
  EXPECT_EQ(ReadAll(merged / "config.json"), ReadAll(base / "config.json"));
  EXPECT_EQ(ReadAll(merged / "tokenizer.json"), ReadAll(base / "tokenizer.json"));
  const auto before = Weights(base), after = Weights(merged);
  EXPECT_EQ(after->tensors().size(), before->tensors().size());
  const std::vector<std::string> changed = Changed(*before, *after);
  // Queries and values of the encoder's and the decoder's attention, and of what the decoder sees of the encoder.
  EXPECT_EQ(changed.size(), static_cast<size_t>(t5.layers * 3 * 2));
  for (const std::string& name : changed) EXPECT_THAT(name, HasSubstr("Attention."));
}

// Whatever stands before the base's names, an adapter of PEFT's has the prefix of the model that writes.
TEST_F(MergeTest, AMergedBartKeepsItsForm) {
  router_.SetLabels({});
  for (const std::string prefix : {"model.", ""}) {
    testing::TinyBart bart;
    bart.prefix = prefix;
    const std::string name = prefix.empty() ? "plain" : "writer";
    const fs::path base = folder_.path() / "bases" / name;
    testing::WriteTinyBart(base, bart);
    Register(name);
    testing::WriteTinyBartLora(folder_.path() / ("on-" + name), bart, {.target_modules = {"q_proj", "fc1"}});
    Import("on-" + name, name);
    const fs::path merged = Merged("on-" + name);
    ASSERT_TRUE(InspectBase(merged).ok()) << InspectBase(merged).status();
    EXPECT_EQ(ReadAll(merged / "config.json"), ReadAll(base / "config.json"));
    EXPECT_EQ(ReadAll(merged / "merges.txt"), ReadAll(base / "merges.txt"));
    const std::vector<std::string> changed = Changed(*Weights(base), *Weights(merged));
    // Queries of three attentions, and the wide layers of both stacks.
    EXPECT_EQ(changed.size(), static_cast<size_t>(bart.layers * (3 + 2)));
    for (const std::string& one : changed) EXPECT_EQ(one.substr(0, prefix.size()), prefix);
  }
}

TEST_F(MergeTest, WhatCannotBeMergedSaysWhy) {
  const testing::TinyAdapter adapter = OnTiny();
  testing::WriteTinyPrompt(folder_.path() / "prompt", testing::TinyBase(), adapter);
  testing::WriteTinyBottleneck(folder_.path() / "block", testing::TinyBase(), adapter,
                               formats::BottleneckLayout::kSeqBn);
  testing::WriteTinyHead(folder_.path() / "probe", testing::TinyBase(), adapter);
  const fs::path scorer = folder_.path() / "scorer";
  testing::WriteTinyLora(scorer, testing::TinyBase(), adapter);
  formats::TenonConfig config = *formats::ParseTenonConfig(ReadAll(scorer / "tenon.json"));
  config.sentence_scorer = formats::SentenceScorer{.neighbours = 2};
  std::ofstream(scorer / "tenon.json") << formats::WriteTenonConfig(config, true);
  const std::map<std::string, std::string> reasons = {{"prompt", "method prompt_tuning"},
                                                      {"block", "method bottleneck"},
                                                      {"probe", "pooled sentence vectors"},
                                                      {"scorer", "scores the sentences"}};
  for (const auto& [id, why] : reasons) {
    Import(id, "tiny");
    int pieces = 0;
    const absl::Status status = Export(id, [&](const auto&) { return ++pieces; });
    EXPECT_REASON(status, Reason::kUnsupported, "merged");
    EXPECT_THAT(std::string(status.message()), HasSubstr(why));
    EXPECT_EQ(pieces, 0);
  }
}

TEST_F(MergeTest, AVectorPooledInAnotherWayCannotBeMerged) {
  testing::TinyAdapter adapter = OnTiny();
  adapter.labels.clear();
  router_.SetLabels({});
  for (const auto pooling : {formats::Pooling::kMean, formats::Pooling::kMax}) {
    const std::string id = pooling == formats::Pooling::kMax ? "max" : "mean";
    const fs::path folder = folder_.path() / id;
    testing::TinyAdapter classifier = adapter;
    classifier.labels = {"one", "two"};
    testing::WriteTinyLora(folder, testing::TinyBase(), classifier);
    // The same LoRA without its head.
    auto weights = formats::Safetensors::Parse(ReadAll(folder / "adapter_model.safetensors"), {});
    ASSERT_TRUE(weights.ok()) << weights.status();
    std::vector<formats::TensorToWrite> kept;
    for (const auto& [name, view] : (*weights)->tensors()) {
      if (name.find("lora_") != std::string::npos) kept.push_back({"base_model.model." + name.substr(22), view});
    }
    ASSERT_TRUE(formats::WriteSafetensors(folder / "adapter_model.safetensors", kept, {}).ok());
    formats::LoraConfig lora;
    lora.r = adapter.r;
    lora.target_modules = adapter.target_modules;
    lora.task_type = "FEATURE_EXTRACTION";
    std::ofstream(folder / "adapter_config.json") << formats::WriteLoraConfig(lora);
    formats::TenonConfig config;
    config.task = "feature_extraction";
    config.method = "lora";
    config.base_digest = adapter.base_digest;
    config.pooling = pooling;
    std::ofstream(folder / "tenon.json") << formats::WriteTenonConfig(config, true);
    Import(id, "tiny");
  }
  EXPECT_REASON(Export("max", [](const auto&) { return true; }), Reason::kUnsupported, "merged");
  const fs::path merged = Merged("mean");
  EXPECT_EQ(ReadAll(merged / "config.json"), ReadAll(folder_.path() / "bases/tiny/config.json"));
  EXPECT_EQ(Changed(*Weights(folder_.path() / "bases/tiny"), *Weights(merged)).size(), 4u);
}

TEST_F(MergeTest, ItStopsWhenTheClientGoes) {
  const testing::TinyAdapter adapter = OnTiny();
  testing::WriteTinyLora(folder_.path() / "style", testing::TinyBase(), adapter);
  Import("style", "tiny");
  for (int allowed = 0; allowed < 3; ++allowed) {
    int pieces = 0;
    EXPECT_EQ(GetReason(Export("style", [&](const auto&) { return pieces++ < allowed; })), Reason::kCancelled);
    EXPECT_EQ(pieces, allowed + 1);
  }
  // Between two pieces: before the first is read.
  v1::ExportAdapterRequest request;
  request.set_name("style");
  request.set_merged(true);
  CallScope scope = Scope();
  scope.cancelled = [] { return true; };
  EXPECT_EQ(GetReason(adapters_.Export(scope, request, [](const auto&) { return true; })), Reason::kCancelled);
  EXPECT_EQ(CountFiles(folder_.path() / "staging"), 0);
}

}  // namespace
}  // namespace tenon::server
