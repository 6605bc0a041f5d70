// Every family of encoders as the server meets it: its bases, and the adapters on them.
#include "common/formats/families/families.h"

#include <gtest/gtest.h>

#include <fstream>

#include "absl/strings/str_cat.h"
#include "common/formats/status.h"
#include "nlohmann/json.hpp"
#include "server/app/catalog_adapters.h"
#include "server/app/catalog_base_check.h"
#include "server/app/catalog_bases.h"
#include "tests/common/formats/encoder_families.h"
#include "tests/server/app_catalog/fixture.h"
#include "tests/worker/engine/tiny_base.h"

namespace tenon::server {
namespace {

namespace fs = std::filesystem;
using formats::EncoderFamily;

class FamiliesTest : public CatalogFixture, public ::testing::WithParamInterface<const EncoderFamily*> {
 protected:
  FamiliesTest()
      : bases_(Bases::Parts{store_.get(), blobs_.get(), &models_, &clock_, {}},
               Bases::Options{folder_.path() / "staging", folder_.path() / "bases"}),
        adapters_(Adapters::Parts{store_.get(), blobs_.get(), &models_, &router_, &clock_},
                  Adapters::Options{folder_.path() / "staging"}) {
    tiny_.family = family().model_type;
    router_.SetLabels({"negative", "positive"});
  }
  const EncoderFamily& family() const { return *GetParam(); }
  bool classifies() const { return !family().head.model_class.empty(); }
  fs::path Base() const { return folder_.path() / "bases" / "tiny"; }

  absl::StatusOr<v1::Base> Register() {
    testing::WriteTinyBase(Base(), tiny_);
    v1::RegisterBaseRequest request;
    request.set_base_id("tiny");
    request.set_folder("tiny");
    return bases_.Register(Scope(), request);
  }
  // What the server says of the base once config.json's `key` is `value`.
  absl::Status InspectWith(const std::string& key, const nlohmann::json& value) {
    testing::WriteTinyBase(Base(), tiny_);
    nlohmann::json config = nlohmann::json::parse(std::ifstream(Base() / "config.json"));
    config[key] = value;
    std::ofstream(Base() / "config.json") << config.dump();
    return InspectBase(Base()).status();
  }
  absl::StatusOr<v1::Adapter> Import(const std::string& id, const fs::path& folder) {
    std::vector<v1::ImportAdapterRequest> messages(1);
    messages[0].mutable_header()->set_adapter_id(id);
    messages[0].mutable_header()->set_base("tiny");
    for (const auto& entry : fs::directory_iterator(folder)) {
      // As it comes from elsewhere: the head alone says how many labels there are.
      if (entry.path().filename() == "tenon.json") continue;
      std::ifstream in(entry.path(), std::ios::binary);
      auto& file = *messages.emplace_back().mutable_file();
      file.set_path(entry.path().filename().string());
      file.set_data(std::string(std::istreambuf_iterator<char>(in), {}));
    }
    return adapters_.Import(Scope(), Source(std::move(messages)));
  }
  testing::TinyAdapter Adapter() const { return {.target_modules = family().lora_targets}; }

  Bases bases_;
  Adapters adapters_;
  testing::TinyBase tiny_;
};

// Those that have a classifier.
class ClassifierFamiliesTest : public FamiliesTest {};

TEST_P(FamiliesTest, ABaseIsItsTypeAndTasks) {
  if (classifies()) tiny_.labels = {"a", "b"};
  const auto base = Register();
  ASSERT_TRUE(base.ok()) << base.status();
  EXPECT_EQ(base->model_type(), family().model_type);
  EXPECT_EQ(base->hidden_size(), 32);
  EXPECT_EQ(base->tasks_size(), classifies() ? 2 : 1);
}

TEST_P(FamiliesTest, NamesWhatABaseLacks) {
  const absl::Status missing = InspectWith(family().keys.layers, 3);
  EXPECT_EQ(GetReason(missing), Reason::kBaseInvalid);
  EXPECT_NE(GetField(missing).find(family().Layer(2).query), std::string::npos) << missing;
  const absl::Status shape = InspectWith(family().keys.intermediate_size, 128);
  EXPECT_EQ(GetReason(shape), Reason::kBaseInvalid);
  EXPECT_NE(GetField(shape).find(family().Layer(0).intermediate), std::string::npos) << shape;
  const absl::Status activation = InspectWith(family().keys.activation, "silu");
  EXPECT_EQ(GetReason(activation), Reason::kUnsupported);
  EXPECT_EQ(GetField(activation), family().keys.activation);
  const absl::Status type = InspectWith("model_type", "mamba");
  EXPECT_EQ(GetReason(type), Reason::kUnsupported);
  EXPECT_NE(std::string(type.message()).find(formats::SupportedTypes()), std::string::npos) << type;
}

TEST_P(ClassifierFamiliesTest, NamesWhatAHeadLacks) {
  tiny_.labels = {"a", "b"};
  const absl::Status status = InspectWith("id2label", {{"0", "a"}, {"1", "b"}, {"2", "c"}});
  EXPECT_EQ(GetReason(status), Reason::kBaseInvalid);
  EXPECT_EQ(GetField(status), family().head.output + ".weight");
}

TEST_P(ClassifierFamiliesTest, ImportsAdaptersWithTheHeadOfTheFamily) {
  ASSERT_TRUE(Register().ok());
  testing::WriteTinyLora(folder_.path() / "lora", tiny_, Adapter());
  testing::WriteTinyPrompt(folder_.path() / "prompt", tiny_, Adapter());
  testing::WriteTinyBottleneck(folder_.path() / "block", tiny_, Adapter(), formats::BottleneckLayout::kSeqBn);
  router_.SetLabels({"LABEL_0", "LABEL_1"});
  for (const auto& [id, method] : {std::pair<std::string, v1::Method>{"lora", v1::METHOD_LORA},
                                   {"prompt", v1::METHOD_PROMPT_TUNING},
                                   {"block", v1::METHOD_BOTTLENECK}}) {
    if (id == "block") router_.SetLabels({"negative", "positive"});  // AdapterHub's files name them
    const auto adapter = Import(id, folder_.path() / id);
    ASSERT_TRUE(adapter.ok()) << id << adapter.status();
    EXPECT_EQ(adapter->method(), method);
    EXPECT_EQ(adapter->labels_size(), 2);
  }
}

TEST_P(ClassifierFamiliesTest, AMergedAdapterIsABaseOfTheFamily) {
  ASSERT_TRUE(Register().ok());
  router_.SetLabels({"LABEL_0", "LABEL_1"});
  testing::WriteTinyLora(folder_.path() / "lora", tiny_, Adapter());
  ASSERT_TRUE(Import("lora", folder_.path() / "lora").ok());
  const fs::path merged = folder_.path() / "merged";
  fs::create_directories(merged);
  v1::ExportAdapterRequest request;
  request.set_name("lora");
  request.set_merged(true);
  const absl::Status status = adapters_.Export(Scope(), request, [&](const v1::ExportAdapterResponse& response) {
    std::ofstream(merged / response.file().path(), std::ios::binary | std::ios::app) << response.file().data();
    return true;
  });
  ASSERT_TRUE(status.ok()) << status;
  const auto record = InspectBase(merged);
  ASSERT_TRUE(record.ok()) << record.status();
  EXPECT_EQ(record->base().model_type(), family().model_type);
  EXPECT_EQ(record->labels_size(), 2);
}

INSTANTIATE_TEST_SUITE_P(All, FamiliesTest, ::testing::ValuesIn(tenon::testing::Families(false)),
                         tenon::testing::FamilyName);
INSTANTIATE_TEST_SUITE_P(All, ClassifierFamiliesTest, ::testing::ValuesIn(tenon::testing::Families(true)),
                         tenon::testing::FamilyName);

}  // namespace
}  // namespace tenon::server
