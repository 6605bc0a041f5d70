#include <gtest/gtest.h>

#include <fstream>
#include <functional>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/digest.h"
#include "common/formats/model_config.h"
#include "common/formats/safetensors.h"
#include "common/formats/status.h"
#include "server/app/catalog_bases.h"
#include "server/app/catalog_files.h"
#include "tests/server/app_catalog/fixture.h"
#include "tests/worker/engine/tiny_bart.h"
#include "tests/worker/engine/tiny_base.h"
#include "tests/worker/engine/tiny_causal.h"
#include "tests/worker/engine/tiny_t5.h"

namespace tenon::server {
namespace {

std::string Slurp(const std::filesystem::path& file) {
  std::ifstream in(file, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

void Spill(const std::filesystem::path& file, const std::string& bytes) {
  std::ofstream(file, std::ios::binary) << bytes;
}

class BasesTest : public CatalogFixture {
 protected:
  BasesTest()
      : root_(folder_.path() / "bases"),
        bases_(Bases::Parts{store_.get(), blobs_.get(), &models_, &clock_, [this] { ++changes_; }},
               Bases::Options{folder_.path() / "staging", root_, 1 << 20}) {
    testing::WriteTinyBase(root_ / "tiny");
  }

  // The messages that upload a folder, in chunks that pay no heed to where files end.
  std::vector<v1::UploadBaseRequest> Messages(const std::filesystem::path& folder, const std::string& id,
                                              size_t chunk = 1000) {
    std::vector<v1::UploadBaseRequest> messages(1);
    auto& header = *messages[0].mutable_header();
    header.set_base_id(id);
    std::string all;
    const auto files = formats::BaseFiles(folder);
    EXPECT_TRUE(files.ok()) << files.status();
    for (const auto& [name, path] : *files) {
      const std::string bytes = Slurp(path);
      auto& entry = *header.add_files();
      entry.set_path(name);
      entry.set_size_bytes(static_cast<int64_t>(bytes.size()));
      entry.set_sha256(Sha256Hex(bytes));
      all += bytes;
    }
    for (size_t at = 0; at < all.size(); at += chunk) {
      messages.emplace_back().set_chunk(all.substr(at, chunk));
    }
    return messages;
  }
  absl::StatusOr<v1::Base> Upload(std::vector<v1::UploadBaseRequest> messages) {
    return bases_.Upload(Scope(), Source(std::move(messages)));
  }
  absl::StatusOr<v1::Base> Register(const std::string& id, const std::string& folder) {
    v1::RegisterBaseRequest request;
    request.set_base_id(id);
    request.set_folder(folder);
    return bases_.Register(Scope(), request);
  }
  void ExpectNothingStored() {
    EXPECT_EQ(bases_.List(kTenant, {})->bases_size(), 0);
    EXPECT_EQ(CountFiles(folder_.path() / "staging"), 0);
    EXPECT_EQ(CountFiles(folder_.path() / "blobs"), 0);
    EXPECT_EQ(changes_, 0);
  }

  std::filesystem::path root_;
  int changes_ = 0;
  Bases bases_;
};

TEST_F(BasesTest, AnUploadedBaseIsTheRegisteredOne) {
  const auto uploaded = Upload(Messages(root_ / "tiny", "up"));
  ASSERT_TRUE(uploaded.ok()) << uploaded.status();
  EXPECT_EQ(uploaded->name(), "bases/up");
  EXPECT_EQ(uploaded->model_type(), "bert");
  EXPECT_EQ(uploaded->hidden_size(), 32);
  EXPECT_EQ(uploaded->tasks_size(), 1);
  EXPECT_EQ(CountFiles(folder_.path() / "staging"), 0);
  for (const v1::FileEntry& file : uploaded->files()) EXPECT_EQ(*blobs_->Size(file.sha256()), file.size_bytes());

  const auto registered = Register("here", "tiny");
  ASSERT_TRUE(registered.ok()) << registered.status();
  EXPECT_EQ(registered->digest(), uploaded->digest());
  EXPECT_EQ(registered->size_bytes(), uploaded->size_bytes());
  EXPECT_EQ(registered->files_size(), uploaded->files_size());
  EXPECT_EQ(models_.ResolveBase(kTenant, "here", "")->version.base_digest(), uploaded->digest());
  EXPECT_EQ(changes_, 2);
  EXPECT_EQ(bases_.List(kTenant, {})->bases_size(), 2);
}

TEST_F(BasesTest, ABaseWithAHeadHasLabels) {
  testing::TinyBase tiny;
  tiny.labels = {"negative", "positive"};
  testing::WriteTinyBase(root_ / "judge", tiny);
  const auto base = Register("judge", "judge");
  ASSERT_TRUE(base.ok()) << base.status();
  EXPECT_EQ(base->tasks_size(), 2);
  EXPECT_EQ(models_.ResolveBase(kTenant, "judge", "")->labels, tiny.labels);
}

TEST_F(BasesTest, TheSameAgainIsTheSameAndOthersAreRefused) {
  const auto first = Upload(Messages(root_ / "tiny", "tiny"));
  ASSERT_TRUE(first.ok());
  EXPECT_EQ(Upload(Messages(root_ / "tiny", "tiny"))->SerializeAsString(), first->SerializeAsString());
  testing::TinyBase other;
  other.seed = 2;
  testing::WriteTinyBase(root_ / "other", other);
  EXPECT_EQ(GetReason(Upload(Messages(root_ / "other", "tiny")).status()), Reason::kAlreadyExists);
  EXPECT_EQ(GetReason(Register("tiny", "other").status()), Reason::kAlreadyExists);
}

TEST_F(BasesTest, ARequestIdStandsForOneRequest) {
  testing::TinyBase other;
  other.seed = 2;
  testing::WriteTinyBase(root_ / "other", other);
  const auto upload = [&](const std::string& folder, const std::string& id, const std::string& request_id) {
    auto messages = Messages(root_ / folder, id);
    messages[0].mutable_header()->set_request_id(request_id);
    return Upload(messages).status();
  };
  EXPECT_TRUE(upload("tiny", "one", "key-1").ok());
  EXPECT_TRUE(upload("other", "two", "key-2").ok());
  EXPECT_TRUE(upload("tiny", "one", "key-1").ok());
  EXPECT_EQ(GetReason(upload("other", "three", "key-1")), Reason::kRequestIdReused);
  // Also where there is nothing to upload.
  EXPECT_EQ(GetReason(upload("other", "two", "key-1")), Reason::kRequestIdReused);
  EXPECT_TRUE(upload("other", "two", "key-3").ok());
  EXPECT_EQ(GetReason(upload("tiny", "one", "key-3")), Reason::kRequestIdReused);
  EXPECT_EQ(bases_.List(kTenant, {})->bases_size(), 2);
}

TEST_F(BasesTest, BytesMustHaveTheirDigest) {
  auto messages = Messages(root_ / "tiny", "tiny");
  (*messages[1].mutable_chunk())[3] ^= 1;
  EXPECT_REASON(Upload(messages).status(), Reason::kDigestMismatch, "config.json");
  messages = Messages(root_ / "tiny", "tiny");
  messages.pop_back();
  EXPECT_EQ(GetReason(Upload(messages).status()), Reason::kDigestMismatch);  // cut short
  messages = Messages(root_ / "tiny", "tiny");
  messages.emplace_back().set_chunk("more");
  EXPECT_EQ(GetReason(Upload(messages).status()), Reason::kDigestMismatch);
  ExpectNothingStored();
}

TEST_F(BasesTest, ABrokenOffUploadIsCancelled) {
  auto messages = Messages(root_ / "tiny", "tiny");
  messages.resize(messages.size() / 2);
  CallScope scope = Scope();
  scope.cancelled = [] { return true; };
  EXPECT_EQ(GetReason(bases_.Upload(scope, Source(std::move(messages))).status()), Reason::kCancelled);
  ExpectNothingStored();
}

TEST_F(BasesTest, HostileManifests) {
  const auto with = [&](const std::function<void(v1::UploadBaseRequest::Header*)>& change) {
    auto messages = Messages(root_ / "tiny", "tiny");
    change(messages[0].mutable_header());
    return Upload(std::move(messages)).status();
  };
  EXPECT_REASON(with([](auto* h) { h->set_base_id("../tiny"); }), Reason::kIdInvalid, "header.base_id");
  for (const char* name : {"../config.json", "/etc/passwd", ".hidden", "a/b", "", "a\\b", "nul"}) {
    const std::string bad = std::string(name) == "nul" ? std::string("a\0b", 3) : std::string(name);
    EXPECT_REASON(with([&](auto* h) { h->mutable_files(1)->set_path(bad); }), Reason::kFieldInvalid,
                  "header.files[1].path");
  }
  EXPECT_REASON(with([](auto* h) { h->mutable_files(1)->set_path(h->files(0).path()); }), Reason::kFieldInvalid,
                "header.files[1].path");
  EXPECT_REASON(with([](auto* h) { h->mutable_files(1)->set_size_bytes(-1); }), Reason::kFieldInvalid,
                "header.files[1].size_bytes");
  EXPECT_REASON(with([](auto* h) { h->mutable_files(1)->set_size_bytes(INT64_MAX); }), Reason::kTooLarge,
                "header.files[1].size_bytes");
  EXPECT_REASON(with([](auto* h) { h->mutable_files(0)->set_sha256("abc"); }), Reason::kFieldInvalid,
                "header.files[0].sha256");
  EXPECT_REASON(with([](auto* h) { h->clear_files(); }), Reason::kFieldInvalid, "header.files");
  EXPECT_REASON(Upload({}).status(), Reason::kFieldRequired, "header");
  ExpectNothingStored();
}

TEST_F(BasesTest, FilesThatNoBaseHasAreRefused) {
  Spill(root_ / "tiny" / "evil.bin", "pickle");
  auto messages = Messages(root_ / "tiny", "tiny");
  auto& entry = *messages[0].mutable_header()->add_files();
  entry.set_path("pytorch_model.bin");
  entry.set_size_bytes(6);
  entry.set_sha256(Sha256Hex("pickle"));
  messages.emplace_back().set_chunk("pickle");
  EXPECT_REASON(Upload(std::move(messages)).status(), Reason::kBaseInvalid, "pytorch_model.bin");
  ExpectNothingStored();
}

TEST_F(BasesTest, BrokenWeightsAreRefused) {
  const std::filesystem::path weights = root_ / "tiny" / "model.safetensors";
  const std::string good = Slurp(weights);
  Spill(weights, good.substr(0, good.size() - 10));
  EXPECT_EQ(GetReason(Register("tiny", "tiny").status()), Reason::kSafetensorsInvalid);
  EXPECT_EQ(GetReason(Upload(Messages(root_ / "tiny", "tiny")).status()), Reason::kSafetensorsInvalid);
  // A header that promises more than memory.
  std::string hostile = good;
  hostile[7] = '\x7f';
  Spill(weights, hostile);
  EXPECT_EQ(GetReason(Register("tiny", "tiny").status()), Reason::kSafetensorsInvalid);
  ExpectNothingStored();
}

TEST_F(BasesTest, TensorsMustFitTheConfig) {
  const std::filesystem::path config = root_ / "tiny" / "config.json";
  std::string text = Slurp(config);
  const size_t at = text.find("\"intermediate_size\": 64");
  ASSERT_NE(at, std::string::npos);
  text.replace(at, 23, "\"intermediate_size\": 48");
  Spill(config, text);
  const absl::Status status = Register("tiny", "tiny").status();
  EXPECT_REASON(status, Reason::kBaseInvalid, "encoder.layer.0.intermediate.dense.weight");
  EXPECT_TRUE(absl::StrContains(std::string(status.message()), "[64, 32]")) << status;
  ExpectNothingStored();
}

TEST_F(BasesTest, AT5IsABaseToo) {
  testing::WriteTinyT5(root_ / "flan");
  const auto base = Register("flan", "flan");
  ASSERT_TRUE(base.ok()) << base.status();
  EXPECT_EQ(base->model_type(), "t5");
  EXPECT_EQ(base->hidden_size(), 32);

  for (const std::string name : {"lm_head.weight", "shared.weight", "decoder.block.1.layer.1.EncDecAttention.v.weight",
                                 "encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight"}) {
    testing::TinyT5 broken;
    broken.change = [&](const std::string& given, std::vector<int64_t>&) { return given == name ? "" : given; };
    testing::WriteTinyT5(root_ / "broken", broken);
    EXPECT_REASON(Register("broken", "broken").status(), Reason::kBaseInvalid, name);
  }
  EXPECT_EQ(bases_.List(kTenant, {})->bases_size(), 1);
}

TEST_F(BasesTest, ABartIsABaseToo) {
  for (const std::string prefix : {"model.", ""}) {
    testing::TinyBart good;
    good.prefix = prefix;
    testing::WriteTinyBart(root_ / "bart", good);
    const std::string id = prefix.empty() ? "plain" : "writer";
    const auto base = Register(id, "bart");
    ASSERT_TRUE(base.ok()) << base.status();
    EXPECT_EQ(base->model_type(), "bart");
    EXPECT_EQ(base->hidden_size(), 32);
    ASSERT_EQ(base->tasks_size(), 1);
    EXPECT_EQ(base->tasks(0), v1::TASK_SEQ2SEQ);
  }
  for (const std::string name :
       {"model.shared.weight", "model.encoder.embed_positions.weight", "model.encoder.layers.1.fc2.bias",
        "model.decoder.layers.0.encoder_attn.q_proj.weight", "model.decoder.layernorm_embedding.weight"}) {
    testing::TinyBart broken;
    broken.change = [&](const std::string& given, std::vector<int64_t>&) { return given == name ? "" : given; };
    testing::WriteTinyBart(root_ / "broken", broken);
    EXPECT_REASON(Register("broken", "broken").status(), Reason::kBaseInvalid, name);
  }
}

TEST_F(BasesTest, ADecoderAloneIsABaseToo) {
  testing::WriteTinyCausal(root_ / "gpt2");
  const auto base = Register("gpt2", "gpt2");
  ASSERT_TRUE(base.ok()) << base.status();
  EXPECT_EQ(base->model_type(), "gpt2");
  EXPECT_EQ(base->tasks_size(), 1);
  EXPECT_EQ(base->tasks(0), v1::TASK_CAUSAL_LM);
  EXPECT_EQ(models_.ResolveBase(kTenant, "gpt2", "base")->task, v1::TASK_CAUSAL_LM);
  testing::WriteTinyCausal(root_ / "opt", {.opt = true, .norm_first = false, .word_size = 16});
  ASSERT_TRUE(Register("opt", "opt").ok());

  for (const std::string name : {"wte.weight", "h.1.attn.c_attn.weight", "h.0.ln_2.bias", "ln_f.weight"}) {
    testing::TinyCausal broken;
    broken.change = [&](const std::string& given, std::vector<int64_t>& shape) {
      if (given == "transformer." + name) ++shape[0];
      return given;
    };
    testing::WriteTinyCausal(root_ / "broken", broken);
    EXPECT_REASON(Register("broken", "broken").status(), Reason::kBaseInvalid, "transformer." + name);
  }
  EXPECT_EQ(bases_.List(kTenant, {})->bases_size(), 2);
}

TEST_F(BasesTest, FoldersAreRegisteredBelowTheRootAndOnLoopbackAlone) {
  testing::WriteTinyBase(folder_.path() / "outside");
  std::filesystem::create_directory_symlink(folder_.path() / "outside", root_ / "way-out");
  std::filesystem::create_directory_symlink(root_ / "tiny", root_ / "way-in");
  for (const std::string& folder :
       {std::string("../outside"), (folder_.path() / "outside").string(), std::string("way-out"), std::string("none"),
        std::string("/"), std::string("tiny/../../outside")}) {
    EXPECT_REASON(Register("tiny", folder).status(), Reason::kFieldInvalid, "folder");
  }
  std::filesystem::remove(root_ / "tiny" / "vocab.txt");
  std::filesystem::create_symlink(folder_.path() / "outside" / "vocab.txt", root_ / "tiny" / "vocab.txt");
  EXPECT_REASON(Register("tiny", "tiny").status(), Reason::kFieldInvalid, "folder");
  EXPECT_REASON(Register("tiny", "").status(), Reason::kFieldRequired, "folder");
  ExpectNothingStored();

  testing::WriteTinyBase(root_ / "good");
  std::filesystem::create_directory_symlink(root_ / "good", root_ / "way-to-good");
  CallScope remote = Scope();
  remote.loopback = false;
  v1::RegisterBaseRequest request;
  request.set_base_id("tiny");
  request.set_folder("good");
  EXPECT_EQ(GetReason(bases_.Register(remote, request).status()), Reason::kLoopbackOnly);
  EXPECT_TRUE(Register("tiny", "way-to-good").ok());
  EXPECT_TRUE(Register("tiny", (root_ / "good").string()).ok());
}

TEST_F(BasesTest, IsKeptWhileOthersNeedIt) {
  ASSERT_TRUE(Register("tiny", "tiny").ok());
  AddBase("mini");
  AddRevision("style", "mini", "one", {"a", "b"});
  EXPECT_REASON(bases_.Delete(kTenant, "bases/mini"), Reason::kInUse, "name");
  v1::FinetuneJob job;
  job.set_name("finetuneJobs/j");
  job.set_base("bases/tiny");
  AddOpenJob(job);
  const absl::Status status = bases_.Delete(kTenant, "tiny");
  EXPECT_EQ(GetReason(status), Reason::kInUse);
  EXPECT_TRUE(absl::StrContains(std::string(status.message()), "finetuneJobs/j")) << status;
  EXPECT_EQ(GetReason(bases_.Delete(kTenant, "nothing")), Reason::kNotFound);

  testing::TinyBase other;
  other.seed = 7;
  testing::WriteTinyBase(root_ / "other", other);
  ASSERT_TRUE(Register("other", "other").ok());
  EXPECT_TRUE(bases_.Delete(kTenant, "other").ok());
  EXPECT_EQ(GetReason(bases_.Get(kTenant, "other").status()), Reason::kNotFound);
  EXPECT_EQ(GetReason(models_.ResolveBase(kTenant, "other", "").status()), Reason::kNotFound);
}

}  // namespace
}  // namespace tenon::server
