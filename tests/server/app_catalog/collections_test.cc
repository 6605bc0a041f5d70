#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "common/formats/status.h"
#include "server/app/documents.h"
#include "server/app/documents_collections.h"
#include "tests/server/app_catalog/fixture.h"

namespace tenon::server {
namespace {

class CollectionsTest : public CatalogFixture {
 protected:
  CollectionsTest()
      : indexes_(DocumentLoader(store_.get()), 1 << 20),
        collections_(Collections::Parts{store_.get(), &models_, &indexes_, &clock_}),
        documents_(Documents::Parts{store_.get(), &router_, &indexes_, &collections_}) {
    AddBase("mini");
  }
  static v1::CreateCollectionRequest Request(const std::string& id) {
    v1::CreateCollectionRequest request;
    request.set_collection_id(id);
    request.mutable_collection()->set_base("bases/mini");
    return request;
  }
  absl::Status Create(const v1::CreateCollectionRequest& request) {
    return collections_.Create(kTenant, request).status();
  }

  IndexCache indexes_;
  Collections collections_;
  Documents documents_;
};

TEST_F(CollectionsTest, FillsInDefaultsAndPinsTheBase) {
  const auto created = collections_.Create(kTenant, Request("library"));
  ASSERT_TRUE(created.ok()) << created.status();
  EXPECT_EQ(created->name(), "collections/library");
  EXPECT_EQ(created->metric(), v1::VECTOR_METRIC_COSINE);
  EXPECT_EQ(created->index_kind(), v1::INDEX_KIND_FLAT);
  EXPECT_EQ(created->pooling(), v1::POOLING_MEAN);
  EXPECT_EQ(created->dimensions(), kTestDimensions);
  EXPECT_EQ(created->base(), "bases/mini");
  EXPECT_EQ(created->model().base_digest(), models_.ResolveBase(kTenant, "mini", "")->version.base_digest());
  EXPECT_EQ(created->document_count(), 0);
  EXPECT_EQ(created->create_time().seconds(), absl::ToUnixSeconds(clock_.Now()));
  EXPECT_EQ(collections_.Get(kTenant, "library")->SerializeAsString(), created->SerializeAsString());
}

TEST_F(CollectionsTest, RefusesWhatItCannotMake) {
  v1::CreateCollectionRequest request;
  EXPECT_REASON(Create(request), Reason::kFieldRequired, "collection_id");
  request.set_collection_id("No Such Id");
  EXPECT_REASON(Create(request), Reason::kIdInvalid, "collection_id");
  request.set_collection_id("library");
  EXPECT_REASON(Create(request), Reason::kFieldRequired, "collection.base");
  request.mutable_collection()->set_base("nowhere");
  EXPECT_REASON(Create(request), Reason::kNotFound, "collection.base");
  request.mutable_collection()->set_adapter("nowhere");
  EXPECT_REASON(Create(request), Reason::kNotFound, "collection.adapter");
  request = Request("library");
  request.mutable_collection()->set_metric(static_cast<v1::VectorMetric>(99));
  EXPECT_REASON(Create(request), Reason::kFieldInvalid, "collection.metric");
  request = Request("library");
  request.mutable_collection()->set_query_prefix(std::string(2000, 'q'));
  EXPECT_REASON(Create(request), Reason::kFieldInvalid, "collection.query_prefix");
  EXPECT_EQ(collections_.List(kTenant, {})->collections_size(), 0);
}

TEST_F(CollectionsTest, CreatingTwiceNeedsTheSameRequestId) {
  v1::CreateCollectionRequest request = Request("library");
  request.set_request_id("once");
  const auto first = collections_.Create(kTenant, request);
  ASSERT_TRUE(first.ok());
  clock_.Advance(absl::Hours(1));
  const auto again = collections_.Create(kTenant, request);
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_EQ(again->SerializeAsString(), first->SerializeAsString());
  request.mutable_collection()->set_index_kind(v1::INDEX_KIND_HNSW);
  EXPECT_EQ(GetReason(Create(request)), Reason::kRequestIdReused);
  EXPECT_REASON(Create(Request("library")), Reason::kAlreadyExists, "collection_id");
}

TEST_F(CollectionsTest, TenantsDoNotSeeEachOther) {
  ASSERT_TRUE(Create(Request("library")).ok());
  EXPECT_REASON(collections_.Get("other", "library").status(), Reason::kNotFound, "name");
  EXPECT_REASON(collections_.Create("other", Request("library")).status(), Reason::kNotFound, "collection.base");
  EXPECT_EQ(collections_.List("other", {})->collections_size(), 0);
  EXPECT_EQ(GetReason(collections_.Delete("other", "library")), Reason::kNotFound);
}

TEST_F(CollectionsTest, ListsInPages) {
  for (int i = 0; i < 5; ++i) {
    clock_.Advance(absl::Seconds(1));
    ASSERT_TRUE(Create(Request(absl::StrCat("c", i))).ok());
  }
  v1::ListCollectionsRequest request;
  request.set_page_size(2);
  std::vector<std::string> names;
  do {
    const auto page = collections_.List(kTenant, request);
    ASSERT_TRUE(page.ok());
    for (const auto& collection : page->collections()) names.push_back(collection.name());
    request.set_page_token(page->next_page_token());
  } while (!request.page_token().empty());
  EXPECT_EQ(names, (std::vector<std::string>{"collections/c4", "collections/c3", "collections/c2", "collections/c1",
                                             "collections/c0"}));
  request.set_page_size(-1);
  EXPECT_REASON(collections_.List(kTenant, request).status(), Reason::kFieldInvalid, "page_size");
  request.set_page_size(2);
  request.set_page_token("made up");
  EXPECT_EQ(GetReason(collections_.List(kTenant, request).status()), Reason::kPageTokenInvalid);
}

TEST_F(CollectionsTest, DeletesDocumentsToo) {
  ASSERT_TRUE(Create(Request("library")).ok());
  v1::AddDocumentsRequest add;
  add.set_collection("library");
  add.add_documents()->set_id("a");
  add.mutable_documents(0)->set_text("text");
  ASSERT_TRUE(documents_.Add(Scope(), add).ok());
  ASSERT_TRUE(collections_.Delete(kTenant, "collections/library").ok());
  EXPECT_REASON(collections_.Get(kTenant, "library").status(), Reason::kNotFound, "name");
  ASSERT_TRUE(Create(Request("library")).ok());
  EXPECT_EQ(collections_.Get(kTenant, "library")->document_count(), 0);
  v1::RetrieveRequest query;
  query.set_collection("library");
  query.add_queries("text");
  EXPECT_EQ(documents_.Retrieve(Scope(), query)->results(0).hits_size(), 0);
}

TEST_F(CollectionsTest, DocumentsOfADeletedCollectionDoNotReachItsSuccessor) {
  ASSERT_TRUE(Create(Request("library")).ok());
  const auto stale = collections_.Find(kTenant, "library", "collection");
  ASSERT_TRUE(collections_.Delete(kTenant, "library").ok());
  ASSERT_TRUE(Create(Request("library")).ok());
  EXPECT_REASON(store_->Read([&](Snapshot& snapshot) { return CheckSameCollection(snapshot, kTenant, *stale); }),
                Reason::kNotFound, "collection");
}

TEST_F(CollectionsTest, IsKeptWhileAnEvaluationReadsIt) {
  ASSERT_TRUE(Create(Request("library")).ok());
  v1::EvalJob job;
  job.set_name("evalJobs/e");
  job.mutable_retrieval()->set_collection("collections/library");
  AddOpenJob(job);
  const absl::Status refused = collections_.Delete(kTenant, "library");
  EXPECT_EQ(GetReason(refused), Reason::kInUse);
  EXPECT_NE(std::string(refused.message()).find("evalJobs/e"), std::string::npos);
}

}  // namespace
}  // namespace tenon::server
