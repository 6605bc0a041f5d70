#include "server/catalog/catalog.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "common/digest.h"
#include "common/formats/adapter_config.h"
#include "common/formats/status.h"
#include "server/app/datasets.h"
#include "server/catalog/records.h"
#include "tests/server/app_catalog/fixture.h"

namespace tenon::server {
namespace {

class CatalogTest : public CatalogFixture {
 protected:
  CatalogTest() { AddBase("mini"); }
  absl::StatusOr<v1::Adapter> Read(const std::string& id) {
    v1::Adapter adapter;
    const absl::Status status = store_->Read([&](Snapshot& snapshot) -> absl::Status {
      ASSIGN_OR_RETURN(adapter, ReadAdapter(snapshot, kTenant, id));
      return absl::OkStatus();
    });
    if (!status.ok()) return status;
    return adapter;
  }
};

TEST_F(CatalogTest, TheNewestRevisionIsTheDefault) {
  const std::string first = AddRevision("style", "mini", "one", {"no", "yes"});
  const std::string second = AddRevision("style", "mini", "two", {"bad", "good", "fine"});
  const auto adapter = Read("style");
  ASSERT_TRUE(adapter.ok()) << adapter.status();
  EXPECT_EQ(adapter->default_revision(), second);
  ASSERT_EQ(adapter->revisions_size(), 2);
  EXPECT_EQ(adapter->revisions(0).name(), second);  // newest first
  EXPECT_EQ(adapter->revisions(1).name(), first);
  EXPECT_EQ(adapter->labels_size(), 3);
  EXPECT_EQ(adapter->base(), "bases/mini");

  const auto newest = models_.ResolveAdapter(kTenant, "adapters/style", "adapter");
  ASSERT_TRUE(newest.ok());
  EXPECT_EQ(newest->labels, (std::vector<std::string>{"bad", "good", "fine"}));
  const auto pinned = models_.ResolveAdapter(kTenant, first, "adapter");
  ASSERT_TRUE(pinned.ok()) << pinned.status();
  EXPECT_EQ(pinned->labels, (std::vector<std::string>{"no", "yes"}));
  EXPECT_EQ("adapters/style/revisions/" + pinned->version.revision(), first);
  EXPECT_EQ(pinned->task, v1::TASK_SEQUENCE_CLASSIFICATION);
  EXPECT_EQ(pinned->method, v1::METHOD_LORA);
}

TEST_F(CatalogTest, TheSameRevisionAgainIsNoNewOne) {
  const std::string first = AddRevision("style", "mini", "one", {"no", "yes"});
  AddRevision("style", "mini", "two", {"no", "yes"});
  EXPECT_EQ(AddRevision("style", "mini", "one", {"no", "yes"}), first);
  EXPECT_EQ(Read("style")->revisions_size(), 2);
  EXPECT_EQ(Read("style")->default_revision(), first);  // but it is the newest published
}

TEST_F(CatalogTest, ABaseMadeOfAnotherIsItWithOtherFilesAndLabels) {
  NewBase made{.id = "tickets", .made_of = "mini", .labels = {"no", "yes"}, .multi_label = true};
  for (const char* path : {"config.json", "model.safetensors"}) {
    v1::FileEntry& file = made.files.emplace_back();
    file.set_path(path);
    file.set_sha256(Sha256Hex(path));
    file.set_size_bytes(5);
  }
  const auto put = [&](const NewBase& base) {
    return store_->Write(
        [&](Transaction& transaction) { return PutBase(transaction, kTenant, base, clock_.Now()).status(); });
  };
  ASSERT_TRUE(put(made).ok());
  ASSERT_TRUE(models_.RefreshBase(*store_, kTenant, "tickets").ok());
  const auto resolved = models_.ResolveBase(kTenant, "tickets", "base");
  ASSERT_TRUE(resolved.ok()) << resolved.status();
  EXPECT_EQ(resolved->labels, made.labels);
  EXPECT_TRUE(resolved->multi_label);
  v1::Base base, parent;
  ASSERT_TRUE(store_
                  ->Read([&](Snapshot& snapshot) -> absl::Status {
                    ASSIGN_OR_RETURN(base, ReadBase(snapshot, kTenant, "tickets"));
                    ASSIGN_OR_RETURN(parent, ReadBase(snapshot, kTenant, "mini"));
                    return absl::OkStatus();
                  })
                  .ok());
  EXPECT_EQ(base.name(), "bases/tickets");
  EXPECT_EQ(base.size_bytes(), 10);
  EXPECT_EQ(base.digest(), ManifestDigest({Sha256Hex("config.json"), Sha256Hex("model.safetensors")}));
  EXPECT_EQ(base.hidden_size(), parent.hidden_size());
  EXPECT_EQ(base.model_type(), parent.model_type());
  EXPECT_EQ(parent.name(), "bases/mini");
  EXPECT_EQ(std::count(base.tasks().begin(), base.tasks().end(), v1::TASK_SEQUENCE_CLASSIFICATION), 1);
  // One made of that in turn: the same tasks, once each.
  made.made_of = "tickets";
  made.id = "again";
  ASSERT_TRUE(put(made).ok());
  EXPECT_FALSE(put(made).ok());
  made.made_of = "nothing";
  EXPECT_EQ(GetReason(put(made)), Reason::kNotFound);
}

TEST_F(CatalogTest, AnAdapterStaysOnItsBase) {
  AddBase("other");
  AddRevision("style", "mini", "one", {"no", "yes"});
  NewRevision revision;
  revision.adapter_id = "style";
  revision.base = "bases/other";
  revision.base_digest = Sha256Hex("base other");
  const absl::Status status = store_->Write(
      [&](Transaction& transaction) { return PutRevision(transaction, kTenant, revision, clock_.Now()).status(); });
  EXPECT_REASON(status, Reason::kBaseMismatch, "base");
  EXPECT_EQ(Read("style")->revisions_size(), 1);
}

TEST_F(CatalogTest, UnknownNamesAreNotFoundAndSaySo) {
  const std::string revision = AddRevision("style", "mini", "one", {"no", "yes"});
  EXPECT_REASON(models_.ResolveAdapter(kTenant, "nothing", "adapter").status(), Reason::kNotFound, "adapter");
  EXPECT_REASON(models_.ResolveAdapter("other", "style", "adapter").status(), Reason::kNotFound, "adapter");
  EXPECT_REASON(models_.ResolveAdapter(kTenant, "style/revisions/" + std::string(64, 'a'), "x").status(),
                Reason::kNotFound, "x");
  EXPECT_REASON(models_.ResolveBase(kTenant, "nothing", "base").status(), Reason::kNotFound, "base");
  EXPECT_REASON(models_.ResolveBase(kTenant, "../mini", "base").status(), Reason::kIdInvalid, "base");
  EXPECT_EQ(GetReason(Read("nothing").status()), Reason::kNotFound);
}

TEST_F(CatalogTest, TheIndexIsTheSameAfterAReload) {
  AddRevision("style", "mini", "one", {"no", "yes"});
  AddRevision("mood", "mini", "two", {"sad", "glad"});
  ModelIndex fresh;
  ASSERT_TRUE(fresh.Reload(*store_).ok());
  for (const char* id : {"style", "mood"}) {
    const auto before = models_.ResolveAdapter(kTenant, id, "");
    const auto after = fresh.ResolveAdapter(kTenant, id, "");
    ASSERT_TRUE(after.ok());
    EXPECT_EQ(after->version.SerializeAsString(), before->version.SerializeAsString());
    EXPECT_EQ(after->labels, before->labels);
  }
  EXPECT_EQ(fresh.Bases().size(), 1u);
}

TEST_F(CatalogTest, DeletingTakesTheRevisionsAlong) {
  AddRevision("style", "mini", "one", {"no", "yes"});
  AddRevision("style", "mini", "two", {"no", "yes"});
  ASSERT_TRUE(
      store_->Write([&](Transaction& transaction) { return DeleteAdapterRecords(transaction, kTenant, "style"); })
          .ok());
  ASSERT_TRUE(models_.RefreshAdapter(*store_, kTenant, "style").ok());
  EXPECT_EQ(GetReason(models_.ResolveAdapter(kTenant, "style", "").status()), Reason::kNotFound);
  AddRevision("style", "mini", "three", {"a", "b"});
  EXPECT_EQ(Read("style")->revisions_size(), 1);
}

TEST_F(CatalogTest, ARevisionsDigestLeavesTheJobOut) {
  const auto digest = [&](const std::string& job, const std::string& label) {
    formats::TenonConfig config;
    config.task = "sequence_classification";
    config.method = "lora";
    config.labels = {"a", label};
    config.base_digest = std::string(64, 'b');
    config.job = job;
    const std::string text = formats::WriteTenonConfig(config, true);
    EXPECT_TRUE(WriteBlob(*blobs_, text, Sha256Hex(text)).ok());
    std::vector<v1::FileEntry> files(2);
    files[0].set_path("tenon.json");
    files[0].set_sha256(Sha256Hex(text));
    files[1].set_path("adapter_model.safetensors");
    files[1].set_sha256(Sha256Hex("weights"));
    const auto found = RevisionDigest(*blobs_, files);
    EXPECT_TRUE(found.ok()) << found.status();
    return found.value_or("");
  };
  EXPECT_EQ(digest("finetuneJobs/one", "b"), digest("finetuneJobs/two", "b"));
  EXPECT_NE(digest("finetuneJobs/one", "b"), digest("finetuneJobs/one", "c"));
}

TEST_F(CatalogTest, TimestampsKeepNanosecondsAlsoBefore1970) {
  EXPECT_EQ(ToTimestamp(absl::FromUnixNanos(1'500'000'000)).seconds(), 1);
  EXPECT_EQ(ToTimestamp(absl::FromUnixNanos(1'500'000'000)).nanos(), 500'000'000);
  EXPECT_EQ(ToTimestamp(absl::FromUnixNanos(-1)).seconds(), -1);
  EXPECT_EQ(ToTimestamp(absl::FromUnixNanos(-1)).nanos(), 999'999'999);
}

}  // namespace
}  // namespace tenon::server
