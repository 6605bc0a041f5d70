#include <gtest/gtest.h>

#include <fstream>
#include <functional>
#include <map>
#include <optional>
#include <thread>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/formats/adapter_config.h"
#include "common/formats/safetensors.h"
#include "common/formats/status.h"
#include "server/app/catalog_adapters.h"
#include "server/app/catalog_bases.h"
#include "server/app/documents_collections.h"
#include "tests/server/app_catalog/fixture.h"
#include "tests/worker/engine/tiny_base.h"
#include "tests/worker/engine/tiny_t5.h"

namespace tenon::server {
namespace {

using Files = std::map<std::string, std::string>;

Files ReadFolder(const std::filesystem::path& folder) {
  Files files;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    std::ifstream in(entry.path(), std::ios::binary);
    files[entry.path().filename().string()] = {std::istreambuf_iterator<char>(in), {}};
  }
  return files;
}

class AdaptersTest : public CatalogFixture {
 protected:
  AdaptersTest()
      : adapters_(Adapters::Parts{store_.get(), blobs_.get(), &models_, &router_, &clock_},
                  Adapters::Options{folder_.path() / "staging"}) {
    Bases bases(Bases::Parts{store_.get(), blobs_.get(), &models_, &clock_, {}},
                Bases::Options{folder_.path() / "staging", folder_.path() / "bases"});
    testing::WriteTinyBase(folder_.path() / "bases" / "tiny");
    v1::RegisterBaseRequest request;
    request.set_base_id("tiny");
    request.set_folder("tiny");
    const auto base = bases.Register(Scope(), request);
    EXPECT_TRUE(base.ok()) << base.status();
    base_digest_ = base->digest();
    blobs_before_ = CountFiles(folder_.path() / "blobs");
    router_.SetLabels({"negative", "positive"});
  }
  Files Lora(uint64_t seed = 1) {
    testing::TinyAdapter adapter;
    adapter.base_digest = base_digest_;
    adapter.seed = seed;
    const auto folder = folder_.path() / absl::StrCat("lora", seed);
    testing::WriteTinyLora(folder, testing::TinyBase(), adapter);
    return ReadFolder(folder);
  }
  Files Head() {
    testing::TinyAdapter adapter;
    adapter.base_digest = base_digest_;
    testing::WriteTinyHead(folder_.path() / "head", testing::TinyBase(), adapter);
    return ReadFolder(folder_.path() / "head");
  }
  absl::StatusOr<v1::Adapter> Import(const Files& files, const std::string& id = "style",
                                     const std::vector<std::string>& labels = {}, const std::string& base = "tiny",
                                     const std::string& request_id = "") {
    std::vector<v1::ImportAdapterRequest> messages(1);
    auto& header = *messages[0].mutable_header();
    header.set_adapter_id(id);
    header.set_base(base);
    header.set_request_id(request_id);
    header.mutable_labels()->Assign(labels.begin(), labels.end());
    if (template_.has_value()) *header.mutable_text_template() = *template_;
    for (const auto& [name, bytes] : files) {
      for (size_t at = 0; at == 0 || at < bytes.size(); at += 1000) {
        auto& file = *messages.emplace_back().mutable_file();
        file.set_path(name);
        file.set_data(bytes.substr(at, 1000));
      }
    }
    return adapters_.Import(Scope(), Source(std::move(messages)));
  }
  // An adapter of a model that writes, as PEFT leaves it.
  Files Writer() {
    const auto folder = folder_.path() / "writer";
    std::filesystem::create_directories(folder);
    formats::LoraConfig config;
    config.target_modules = {"q", "v"};
    config.task_type = "SEQ_2_SEQ_LM";
    std::ofstream(folder / "adapter_config.json") << formats::WriteLoraConfig(config);
    const std::vector<float> numbers(4, 0.5f);
    const formats::TensorView view{
        .shape = {2, 2}, .data = reinterpret_cast<const uint8_t*>(numbers.data()), .size_bytes = 16};
    const std::string name = "base_model.model.encoder.block.0.layer.0.SelfAttention.q.lora_A.weight";
    EXPECT_TRUE(formats::WriteSafetensors(folder / "adapter_model.safetensors", {{name, view}}, {}).ok());
    return ReadFolder(folder);
  }
  absl::StatusOr<v1::Adapter> ImportWithTemplate(const Files& files, const std::string& input,
                                                 const std::string& target) {
    template_.emplace();
    template_->set_input(input);
    template_->set_target(target);
    auto adapter = Import(files, "writer");
    template_.reset();
    return adapter;
  }
  Files Export(const std::string& name) {
    Files files;
    v1::ExportAdapterRequest request;
    request.set_name(name);
    const absl::Status status = adapters_.Export(Scope(), request, [&](const v1::ExportAdapterResponse& response) {
      files[response.file().path()] += response.file().data();
      return true;
    });
    EXPECT_TRUE(status.ok()) << status;
    return files;
  }
  void ExpectNothingPublished() {
    EXPECT_EQ(adapters_.List(kTenant, {})->adapters_size(), 0);
    EXPECT_EQ(CountFiles(folder_.path() / "staging"), 0);
  }

  Adapters adapters_;
  std::string base_digest_;
  int blobs_before_ = 0;
  std::optional<v1::TextTemplate> template_;  // of the next imports
};

TEST_F(AdaptersTest, ImportsAndExportsTheSameFiles) {
  const Files files = Lora();
  const auto adapter = Import(files);
  ASSERT_TRUE(adapter.ok()) << adapter.status();
  EXPECT_EQ(adapter->name(), "adapters/style");
  EXPECT_EQ(adapter->base(), "bases/tiny");
  EXPECT_EQ(adapter->base_digest(), base_digest_);
  EXPECT_EQ(adapter->method(), v1::METHOD_LORA);
  EXPECT_EQ(adapter->task(), v1::TASK_SEQUENCE_CLASSIFICATION);
  EXPECT_EQ(std::vector<std::string>(adapter->labels().begin(), adapter->labels().end()),
            (std::vector<std::string>{"negative", "positive"}));
  EXPECT_EQ(Export("style"), files);
  EXPECT_EQ(Export(adapter->default_revision()), files);
  // The worker was asked about these very files.
  const InferenceCall call = router_.seen().back();
  EXPECT_EQ(call.kind, internal::v1::INFERENCE_KIND_CHECK_ADAPTER);
  EXPECT_EQ("adapters/style/revisions/" + call.adapter.digest(), adapter->default_revision());
  EXPECT_EQ(call.base_digest, base_digest_);
}

TEST_F(AdaptersTest, AScorerOfSentencesStaysOne) {
  Files files = Lora();
  formats::TenonConfig config = *formats::ParseTenonConfig(files["tenon.json"]);
  config.sentence_scorer = formats::SentenceScorer{.neighbours = 2};
  files["tenon.json"] = formats::WriteTenonConfig(config, /*with_job=*/true);
  const auto adapter = Import(files);
  ASSERT_TRUE(adapter.ok()) << adapter.status();
  EXPECT_EQ(adapter->task(), v1::TASK_EXTRACTIVE_SUMMARIZATION);
  EXPECT_EQ(adapter->labels_size(), 2);
  EXPECT_EQ(Export("style"), files);
  EXPECT_REASON(Import(Lora()).status(), Reason::kTaskMismatch, "task");
  EXPECT_EQ(Export("style"), files) << "what its callers get is what it was";
}

TEST_F(AdaptersTest, TheSameFilesAgainMakeNoNewRevision) {
  ASSERT_TRUE(Import(Lora(), "style", {}, "tiny", "once").ok());
  EXPECT_EQ(Import(Lora())->revisions_size(), 1);
  const auto second = Import(Lora(2));
  ASSERT_TRUE(second.ok()) << second.status();
  EXPECT_EQ(second->revisions_size(), 2);
  EXPECT_EQ(GetReason(Import(Lora(2), "style", {}, "tiny", "once").status()), Reason::kRequestIdReused);
  // A repeat of the first request answers with the adapter as it is, and moves nothing.
  const auto repeat = Import(Lora(), "style", {}, "tiny", "once");
  ASSERT_TRUE(repeat.ok()) << repeat.status();
  EXPECT_EQ(repeat->default_revision(), second->default_revision());
}

TEST_F(AdaptersTest, APromptIsReadByItsOwnConfig) {
  testing::TinyAdapter tiny;
  tiny.base_digest = base_digest_;
  testing::WriteTinyPrompt(folder_.path() / "prompt", testing::TinyBase(), tiny);
  Files files = ReadFolder(folder_.path() / "prompt");
  const auto adapter = Import(files, "prompt");
  ASSERT_TRUE(adapter.ok()) << adapter.status();
  EXPECT_EQ(adapter->method(), v1::METHOD_PROMPT_TUNING);
  EXPECT_EQ(adapter->task(), v1::TASK_SEQUENCE_CLASSIFICATION);
  EXPECT_EQ(Export("prompt"), files);
  // As it comes from PEFT, without our file.
  files.erase("tenon.json");
  router_.SetLabels({"bad", "good"});
  const auto foreign = Import(files, "foreign", {"bad", "good"});
  ASSERT_TRUE(foreign.ok()) << foreign.status();
  EXPECT_EQ(foreign->method(), v1::METHOD_PROMPT_TUNING);
  EXPECT_EQ(foreign->labels(1), "good");
  // Files of one method beside another's tenon.json.
  files["tenon.json"] = Lora().at("tenon.json");
  EXPECT_REASON(Import(files, "mixed").status(), Reason::kAdapterInvalid, "tenon.json");
}

TEST_F(AdaptersTest, ABottleneckHasAdapterHubsFiles) {
  testing::TinyAdapter tiny;
  tiny.base_digest = base_digest_;
  testing::WriteTinyBottleneck(folder_.path() / "block", testing::TinyBase(), tiny,
                               formats::BottleneckLayout::kDoubleSeqBn);
  Files files = ReadFolder(folder_.path() / "block");
  const auto adapter = Import(files, "block");
  ASSERT_TRUE(adapter.ok()) << adapter.status();
  EXPECT_EQ(adapter->method(), v1::METHOD_BOTTLENECK);
  EXPECT_EQ(Export("block"), files);
  // As it comes from AdapterHub: the head's own labels, unless others are given.
  files.erase("tenon.json");
  const auto foreign = Import(files, "foreign");
  ASSERT_TRUE(foreign.ok()) << foreign.status();
  EXPECT_EQ(foreign->labels(0), "negative");
  router_.SetLabels({"bad", "good"});
  const auto named = Import(files, "named", {"bad", "good"});
  ASSERT_TRUE(named.ok()) << named.status();
  EXPECT_EQ(named->labels(1), "good");
  Files flexible = files;
  flexible["head_config.json"] = R"({"config":{"head_type":"classification"},"num_labels":2})";
  EXPECT_REASON(Import(flexible, "flexible").status(), Reason::kUnsupported, "config");
  Files headless = files;
  headless.erase("head_config.json");
  EXPECT_REASON(Import(headless, "headless").status(), Reason::kAdapterInvalid, "head_config.json");
  Files pickled = files;
  pickled["pytorch_adapter.bin"] = "pickle";
  EXPECT_REASON(Import(pickled, "pickled").status(), Reason::kAdapterInvalid, "pytorch_adapter.bin");
  Files both = files;
  both["adapter_model.safetensors"] = Lora().at("adapter_model.safetensors");
  EXPECT_REASON(Import(both, "both").status(), Reason::kAdapterInvalid, "adapter_model.safetensors");
  Files stray = Lora();
  stray["model_head.safetensors"] = files.at("model_head.safetensors");
  EXPECT_REASON(Import(stray, "stray").status(), Reason::kAdapterInvalid, "model_head.safetensors");
}

// Without our file, as they come from PEFT and AdapterHub.
TEST_F(AdaptersTest, PromptsAndBottlenecksOfAWriterAreForItsTask) {
  const testing::TinyT5 shape;
  router_.SetLabels({});
  testing::WriteTinyT5(folder_.path() / "t5", shape);
  testing::WriteTinyT5Prompt(folder_.path() / "prompt", shape);
  testing::WriteTinyT5Bottleneck(folder_.path() / "block", shape);
  testing::WriteTinyT5Bottleneck(folder_.path() / "headed", shape, {.output_layer_of = folder_.path() / "t5"});
  for (const auto& [name, method] : std::vector<std::pair<std::string, v1::Method>>{
           {"prompt", v1::METHOD_PROMPT_TUNING}, {"block", v1::METHOD_BOTTLENECK}, {"headed", v1::METHOD_BOTTLENECK}}) {
    const Files files = ReadFolder(folder_.path() / name);
    const auto adapter = Import(files, name);
    ASSERT_TRUE(adapter.ok()) << name << adapter.status();
    EXPECT_EQ(adapter->method(), method) << name;
    EXPECT_EQ(adapter->task(), v1::TASK_SEQ2SEQ) << name;
    EXPECT_EQ(adapter->labels_size(), 0) << name;
    Files exported = Export(name);
    EXPECT_EQ(exported.erase("tenon.json"), 1u);
    EXPECT_EQ(exported, files) << name;
    EXPECT_REASON(Import(files, "labelled", {"a", "b"}).status(), Reason::kFieldInvalid, "header.labels");
  }
  Files flexible = ReadFolder(folder_.path() / "headed");
  flexible["head_config.json"] = R"({"config":{"head_type":"seq2seq_lm"},"num_labels":2})";
  EXPECT_REASON(Import(flexible, "flexible").status(), Reason::kUnsupported, "config");
}

TEST_F(AdaptersTest, AHeadAdapterHasItsOwnFiles) {
  const Files files = Head();
  const auto adapter = Import(files, "probe");
  ASSERT_TRUE(adapter.ok()) << adapter.status();
  EXPECT_EQ(adapter->method(), v1::METHOD_HEAD);
  EXPECT_EQ(Export("probe"), files);
  Files without = files;
  without.erase("tenon.json");
  EXPECT_REASON(Import(without, "other").status(), Reason::kAdapterInvalid, "tenon.json");
}

TEST_F(AdaptersTest, AFolderFromPeftGetsItsTenonConfig) {
  Files files = Lora();
  files.erase("tenon.json");
  files["README.md"] = "a model card";
  router_.SetLabels({"LABEL_0", "LABEL_1"});
  const auto plain = Import(files, "plain");
  ASSERT_TRUE(plain.ok()) << plain.status();
  EXPECT_EQ(plain->labels(1), "LABEL_1");
  router_.SetLabels({"bad", "good"});
  ASSERT_TRUE(Import(files, "named", {"bad", "good"}).ok());
  const Files exported = Export("named");
  EXPECT_FALSE(exported.contains("README.md"));
  const auto config = formats::ParseTenonConfig(exported.at("tenon.json"));
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->labels, (std::vector<std::string>{"bad", "good"}));
  EXPECT_EQ(config->base_digest, base_digest_);
  EXPECT_EQ(config->task, "sequence_classification");

  EXPECT_REASON(Import(files, "x", {"only one"}).status(), Reason::kFieldInvalid, "header.labels");
  EXPECT_REASON(Import(files, "x", {"same", "same"}).status(), Reason::kFieldInvalid, "header.labels[1]");
  EXPECT_REASON(Import(files, "x", {"", "b"}).status(), Reason::kFieldInvalid, "header.labels[0]");
  EXPECT_REASON(Import(Lora(), "x", {"not", "its own"}).status(), Reason::kFieldInvalid, "header.labels");
}

TEST_F(AdaptersTest, AFolderFromPeftThatWritesTakesATemplate) {
  router_.SetLabels({});
  EXPECT_REASON(ImportWithTemplate(Writer(), "{a", "").status(), Reason::kFieldInvalid, "header.text_template.input");
  EXPECT_REASON(ImportWithTemplate(Writer(), "{a}", "b").status(), Reason::kFieldInvalid,
                "header.text_template.target");
  EXPECT_REASON(ImportWithTemplate(Writer(), "summarize: {text}", "{summary}").status(), Reason::kAdapterInvalid,
                "tenon.json");  // the worker has not read it
  ExpectNothingPublished();

  router_.SetTemplate("summarize: {text}", "{summary}");
  const auto adapter = ImportWithTemplate(Writer(), "summarize: {text}", "{summary}");
  ASSERT_TRUE(adapter.ok()) << adapter.status();
  EXPECT_EQ(adapter->task(), v1::TASK_SEQ2SEQ);
  EXPECT_EQ(adapters_.Get(kTenant, "writer")->revisions(0).text_template().input(), "summarize: {text}");
  EXPECT_EQ(models_.ResolveAdapter(kTenant, "writer", "")->text_template->target(), "{summary}");

  const Files exported = Export("writer");
  const auto config = formats::ParseTenonConfig(exported.at("tenon.json"));
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->text_template, (formats::TextTemplate{"summarize: {text}", "{summary}"}));
  // Its own template comes with its tenon.json; another beside it is a mistake.
  EXPECT_EQ(Import(exported, "writer")->revisions_size(), 1);
  EXPECT_REASON(ImportWithTemplate(exported, "{text}", "{summary}").status(), Reason::kFieldInvalid,
                "header.text_template");
}

TEST_F(AdaptersTest, OnlyWhatWritesTakesATemplate) {
  EXPECT_REASON(ImportWithTemplate(Lora(), "{text}", "{label}").status(), Reason::kFieldInvalid,
                "header.text_template");
  Files peft = Lora();
  peft.erase("tenon.json");
  EXPECT_REASON(ImportWithTemplate(peft, "{text}", "{label}").status(), Reason::kFieldInvalid, "header.text_template");
}

TEST_F(AdaptersTest, BrokenFilesAreRefusedAndNothingIsPublished) {
  const auto with = [&](const std::string& name, const std::string& bytes) {
    Files files = Lora();
    files[name] = bytes;
    return Import(files).status();
  };
  const Files good = Lora();
  const std::string weights = good.at("adapter_model.safetensors");
  EXPECT_EQ(GetReason(with("adapter_model.safetensors", weights.substr(0, weights.size() - 1))),
            Reason::kSafetensorsInvalid);
  EXPECT_EQ(GetReason(with("adapter_model.safetensors", "")), Reason::kSafetensorsInvalid);
  EXPECT_EQ(GetReason(with("adapter_model.safetensors", std::string(8, '\xff') + weights.substr(8))),
            Reason::kSafetensorsInvalid);
  EXPECT_EQ(GetReason(with("adapter_config.json", "{")), Reason::kAdapterInvalid);
  EXPECT_EQ(GetReason(with("adapter_config.json", R"({"peft_type":"LORA","target_modules":["q"],"use_dora":true})")),
            Reason::kUnsupported);
  EXPECT_EQ(GetReason(with("tenon.json", "[]")), Reason::kAdapterInvalid);
  EXPECT_REASON(with("adapter_model.bin", "pickle"), Reason::kAdapterInvalid, "adapter_model.bin");
  EXPECT_EQ(GetReason(with("../adapter_config.json", "{}")), Reason::kAdapterInvalid);
  EXPECT_EQ(GetReason(with("adapter_config.json", std::string(5 << 20, ' '))), Reason::kTooLarge);
  EXPECT_EQ(GetReason(with("head.safetensors", weights)), Reason::kAdapterInvalid);
  for (const char* missing : {"adapter_config.json", "adapter_model.safetensors"}) {
    Files files = Lora();
    files.erase(missing);
    EXPECT_REASON(Import(files).status(), Reason::kAdapterInvalid, missing);
  }
  EXPECT_EQ(router_.calls(), 0);
  EXPECT_EQ(CountFiles(folder_.path() / "blobs"), blobs_before_);
  ExpectNothingPublished();
}

TEST_F(AdaptersTest, RefusesBadHeadersAndStreams) {
  EXPECT_REASON(Import(Lora(), "Bad Id").status(), Reason::kIdInvalid, "header.adapter_id");
  EXPECT_REASON(Import(Lora(), "style", {}, "").status(), Reason::kFieldRequired, "header.base");
  EXPECT_REASON(Import(Lora(), "style", {}, "nowhere").status(), Reason::kNotFound, "header.base");
  EXPECT_REASON(adapters_.Import(Scope(), Source<v1::ImportAdapterRequest>({})).status(), Reason::kFieldRequired,
                "header");
  std::vector<v1::ImportAdapterRequest> messages(4);
  messages[0].mutable_header()->set_adapter_id("style");
  messages[0].mutable_header()->set_base("tiny");
  messages[1].mutable_file()->set_path("tenon.json");
  messages[2].mutable_file()->set_path("adapter_config.json");
  messages[3].mutable_file()->set_path("tenon.json");
  EXPECT_REASON(adapters_.Import(Scope(), Source(messages)).status(), Reason::kFieldInvalid, "file.path");
  messages.resize(3);
  CallScope scope = Scope();
  scope.cancelled = [] { return true; };
  EXPECT_EQ(GetReason(adapters_.Import(scope, Source(messages)).status()), Reason::kCancelled);
  ExpectNothingPublished();
}

TEST_F(AdaptersTest, OfAnotherBaseIsAMismatch) {
  testing::TinyAdapter adapter;
  adapter.base_digest = std::string(64, 'a');
  testing::WriteTinyLora(folder_.path() / "foreign", testing::TinyBase(), adapter);
  EXPECT_REASON(Import(ReadFolder(folder_.path() / "foreign")).status(), Reason::kBaseMismatch, "header.base");
  // An adapter that is there already stays on its base.
  AddBase("mini");
  AddRevision("taken", "mini", "one", {"a", "b"});
  EXPECT_EQ(GetReason(Import(Lora(), "taken").status()), Reason::kBaseMismatch);
}

TEST_F(AdaptersTest, WhatTheWorkerRefusesIsNotPublished) {
  router_.FailWith(TenonError(Reason::kAdapterInvalid, "tensor x has another shape", "x"));
  EXPECT_REASON(Import(Lora()).status(), Reason::kAdapterInvalid, "x");
  router_.FailWith(TenonError(Reason::kNoWorker, "no worker"));
  EXPECT_EQ(GetReason(Import(Lora()).status()), Reason::kNoWorker);
  router_.FailWith(absl::OkStatus());
  router_.SetLabels({"other", "labels"});
  EXPECT_EQ(GetReason(Import(Lora()).status()), Reason::kAdapterInvalid);
  ExpectNothingPublished();
  router_.SetLabels({"negative", "positive"});
  EXPECT_TRUE(Import(Lora()).ok());
}

TEST_F(AdaptersTest, ExportStopsWhenTheClientGoes) {
  ASSERT_TRUE(Import(Lora()).ok());
  v1::ExportAdapterRequest request;
  request.set_name("style");
  int pieces = 0;
  EXPECT_EQ(GetReason(adapters_.Export(Scope(), request, [&](const auto&) { return ++pieces < 2; })),
            Reason::kCancelled);
  EXPECT_EQ(pieces, 2);
  request.set_name("nothing");
  EXPECT_REASON(adapters_.Export(Scope(), request, [](const auto&) { return true; }), Reason::kNotFound, "name");
}

TEST_F(AdaptersTest, AnImportThatWaitsForAWorkerEndsWithItsCall) {
  router_.Hold(true);
  const Files files = Lora();
  std::vector<v1::ImportAdapterRequest> messages(1);
  messages[0].mutable_header()->set_adapter_id("style");
  messages[0].mutable_header()->set_base("tiny");
  for (const auto& [name, bytes] : files) {
    auto& file = *messages.emplace_back().mutable_file();
    file.set_path(name);
    file.set_data(bytes);
  }
  CallScope scope = Scope();
  absl::Mutex mutex;
  std::function<void()> cancel;
  scope.when_cancelled = [&](std::function<void()> callback) {
    absl::MutexLock lock(&mutex);
    cancel = std::move(callback);
  };
  absl::Status status;
  std::thread import([&] { status = adapters_.Import(scope, Source(std::move(messages))).status(); });
  router_.AwaitCalls(1);
  {
    absl::MutexLock lock(&mutex);
    mutex.Await(absl::Condition(
        +[](std::function<void()>* f) { return *f != nullptr; }, &cancel));
  }
  cancel();  // the client is gone, or the server ends
  import.join();
  EXPECT_EQ(GetReason(status), Reason::kCancelled);
  EXPECT_EQ(router_.cancelled(), 1);
  EXPECT_EQ(GetReason(adapters_.Get(kTenant, "style").status()), Reason::kNotFound);
}

TEST_F(AdaptersTest, ListsArePagedByBytesWithTheirRevisions) {
  AddRevision("one", "tiny", "1", {"a"});
  AddRevision("two", "tiny", "2", {std::string(1 << 20, 'l')});
  AddRevision("three", "tiny", "3", {std::string(3 << 20, 'l')});
  v1::ListAdaptersRequest request;
  std::vector<std::string> names;
  int pages = 0;
  do {
    const auto page = adapters_.List(kTenant, request);
    ASSERT_TRUE(page.ok()) << page.status();
    ASSERT_GT(page->adapters_size(), 0);
    for (const v1::Adapter& adapter : page->adapters()) names.push_back(adapter.name());
    request.set_page_token(page->next_page_token());
    ++pages;
  } while (!request.page_token().empty());
  EXPECT_EQ(names.size(), 3u);
  EXPECT_EQ(pages, 3);
}

TEST_F(AdaptersTest, IsKeptWhileACollectionOrAJobNamesIt) {
  ASSERT_TRUE(Import(Lora()).ok());
  ASSERT_TRUE(Import(Lora(2), "mood").ok());
  IndexCache indexes(DocumentLoader(store_.get()), 1 << 20);
  Collections collections(Collections::Parts{store_.get(), &models_, &indexes, &clock_});
  v1::CreateCollectionRequest request;
  request.set_collection_id("library");
  request.mutable_collection()->set_adapter("style");
  ASSERT_TRUE(collections.Create(kTenant, request).ok());
  const absl::Status status = adapters_.Delete(kTenant, "adapters/style");
  EXPECT_REASON(status, Reason::kInUse, "name");
  EXPECT_TRUE(absl::StrContains(std::string(status.message()), "collections/library")) << status;
  ASSERT_TRUE(collections.Delete(kTenant, "library").ok());
  EXPECT_TRUE(adapters_.Delete(kTenant, "adapters/style").ok());
  EXPECT_EQ(GetReason(adapters_.Get(kTenant, "style").status()), Reason::kNotFound);

  v1::EvalJob job;
  job.set_name("evalJobs/e");
  job.mutable_classification()->add_adapters("adapters/mood/revisions/" + std::string(64, 'a'));
  AddOpenJob(job);
  EXPECT_EQ(GetReason(adapters_.Delete(kTenant, "mood")), Reason::kInUse);
  EXPECT_EQ(GetReason(adapters_.Delete(kTenant, "style")), Reason::kNotFound);
}

}  // namespace
}  // namespace tenon::server
