#include "server/app/documents.h"

#include <gtest/gtest.h>

#include <atomic>
#include <set>
#include <thread>

#include "absl/strings/str_cat.h"
#include "common/formats/status.h"
#include "google/rpc/error_details.pb.h"
#include "tests/server/app_catalog/fixture.h"

namespace tenon::server {
namespace {

class DocumentsTest : public CatalogFixture {
 protected:
  DocumentsTest() {
    AddBase("mini");
    Start();
  }
  // The use cases anew, over the store as it is: nothing of them was on disk.
  void Start(int64_t index_bytes = 1 << 30) {
    indexes_ = std::make_unique<IndexCache>(DocumentLoader(store_.get()), index_bytes);
    collections_ = std::make_unique<Collections>(Collections::Parts{store_.get(), &models_, indexes_.get(), &clock_});
    documents_ =
        std::make_unique<Documents>(Documents::Parts{store_.get(), &router_, indexes_.get(), collections_.get()});
  }
  absl::StatusOr<v1::Collection> Create(const std::string& id, v1::IndexKind kind = v1::INDEX_KIND_FLAT) {
    v1::CreateCollectionRequest request;
    request.set_collection_id(id);
    request.mutable_collection()->set_base("mini");
    request.mutable_collection()->set_index_kind(kind);
    return collections_->Create(kTenant, request);
  }
  static void AddRow(v1::AddDocumentsRequest* request, const std::string& id, const std::string& text) {
    v1::Document& document = *request->add_documents();
    document.set_id(id);
    document.set_text(text);
  }
  absl::StatusOr<v1::AddDocumentsResponse> Add(const std::string& collection,
                                               const std::vector<std::pair<std::string, std::string>>& rows) {
    v1::AddDocumentsRequest request;
    request.set_collection(collection);
    for (const auto& [id, text] : rows) AddRow(&request, id, text);
    return documents_->Add(Scope(), request);
  }
  std::vector<std::string> Find(const std::string& collection, const std::string& query, int top_k = 10) {
    v1::RetrieveRequest request;
    request.set_collection(collection);
    request.add_queries(query);
    request.set_top_k(top_k);
    const auto found = documents_->Retrieve(Scope(), request);
    EXPECT_TRUE(found.ok()) << found.status();
    std::vector<std::string> ids;
    if (!found.ok()) return ids;
    for (const v1::Hit& hit : found->results(0).hits()) ids.push_back(hit.id());
    return ids;
  }

  std::unique_ptr<IndexCache> indexes_;
  std::unique_ptr<Collections> collections_;
  std::unique_ptr<Documents> documents_;
};

TEST_F(DocumentsTest, StoresAndFindsAgain) {
  ASSERT_TRUE(Create("library").ok());
  const auto added = Add("collections/library", {{"a", "red apple pie"}, {"b", "blue sky"}, {"c", "red sky at night"}});
  ASSERT_TRUE(added.ok()) << added.status();
  EXPECT_EQ(added->stored_count(), 3);
  EXPECT_GT(added->usage().input_tokens(), 0);
  EXPECT_EQ(Find("library", "blue sky", 2), (std::vector<std::string>{"b", "c"}));
  EXPECT_EQ(collections_->Get(kTenant, "collections/library")->document_count(), 3);
}

TEST_F(DocumentsTest, AnswersWithTextMetadataScoreAndModel) {
  ASSERT_TRUE(Create("library").ok());
  v1::AddDocumentsRequest request;
  request.set_collection("library");
  AddRow(&request, "a", "red apple pie");
  (*request.mutable_documents(0)->mutable_metadata()->mutable_fields())["year"].set_number_value(1970);
  ASSERT_TRUE(documents_->Add(Scope(), request).ok());
  v1::RetrieveRequest query;
  query.set_collection("library");
  query.add_queries("red apple pie");
  query.add_queries("something else");
  const auto found = documents_->Retrieve(Scope(), query);
  ASSERT_TRUE(found.ok()) << found.status();
  ASSERT_EQ(found->results_size(), 2);
  const v1::Hit& hit = found->results(0).hits(0);
  EXPECT_EQ(hit.text(), "red apple pie");
  EXPECT_NEAR(hit.score(), 1, 1e-6);
  EXPECT_EQ(hit.metadata().fields().at("year").number_value(), 1970);
  EXPECT_EQ(found->model().base(), "bases/mini");
  EXPECT_FALSE(found->model().base_digest().empty());
}

TEST_F(DocumentsTest, BadRowsAreListedAndGoodOnesStored) {
  ASSERT_TRUE(Create("library").ok());
  v1::AddDocumentsRequest request;
  request.set_collection("library");
  AddRow(&request, "good", "a text");
  AddRow(&request, "empty", " \n");
  AddRow(&request, "large", std::string((1 << 20) + 1, 'x'));
  AddRow(&request, "twice", "one");
  AddRow(&request, "", "a text without an id");
  AddRow(&request, std::string(513, 'i'), "a text");
  AddRow(&request, "twice", "two");
  AddRow(&request, "odd", "a text");
  (*request.mutable_documents(7)->mutable_metadata()->mutable_fields())["list"].mutable_list_value();
  AddRow(&request, "broken", "not \xff utf-8");
  const auto added = documents_->Add(Scope(), request);
  ASSERT_TRUE(added.ok()) << added.status();
  EXPECT_EQ(added->stored_count(), 1);
  std::vector<std::string> errors;
  for (const auto& error : added->errors()) {
    google::rpc::ErrorInfo info;
    for (const auto& detail : error.error().details()) {
      if (detail.UnpackTo(&info)) break;
    }
    errors.push_back(absl::StrCat(error.index(), " ", info.reason()));
  }
  EXPECT_EQ(errors, (std::vector<std::string>{"1 TEXT_EMPTY", "2 TEXT_TOO_LARGE", "3 DOCUMENT_DUPLICATE",
                                              "4 FIELD_REQUIRED", "5 FIELD_INVALID", "6 DOCUMENT_DUPLICATE",
                                              "7 FIELD_INVALID", "8 TEXT_NOT_UTF8"}));
  EXPECT_EQ(Find("library", "one"), std::vector<std::string>{"good"});
}

TEST_F(DocumentsTest, TheSameIdAgainReplaces) {
  ASSERT_TRUE(Create("library").ok());
  ASSERT_TRUE(Add("library", {{"a", "red apple"}, {"b", "green pear"}}).ok());
  EXPECT_EQ(Find("library", "red apple", 1), std::vector<std::string>{"a"});
  ASSERT_TRUE(Add("library", {{"a", "blue sky"}}).ok());
  EXPECT_EQ(Find("library", "blue sky", 1), std::vector<std::string>{"a"});
  EXPECT_EQ(collections_->Get(kTenant, "library")->document_count(), 2);
}

TEST_F(DocumentsTest, DeletesAndSaysWhatWasMissing) {
  ASSERT_TRUE(Create("library").ok());
  ASSERT_TRUE(Add("library", {{"a", "red"}, {"b", "red red"}, {"c", "blue"}}).ok());
  EXPECT_EQ(Find("library", "red").size(), 3u);
  v1::DeleteDocumentsRequest request;
  request.set_collection("library");
  for (const char* id : {"a", "ghost", "a"}) request.add_ids(id);
  const auto deleted = documents_->Delete(kTenant, request);
  ASSERT_TRUE(deleted.ok()) << deleted.status();
  EXPECT_EQ(deleted->deleted_count(), 1);
  ASSERT_EQ(deleted->missing_ids_size(), 1);
  EXPECT_EQ(deleted->missing_ids(0), "ghost");
  EXPECT_EQ(Find("library", "red"), (std::vector<std::string>{"b", "c"}));
}

TEST_F(DocumentsTest, FiltersByMetadata) {
  ASSERT_TRUE(Create("library", v1::INDEX_KIND_HNSW).ok());
  v1::AddDocumentsRequest request;
  request.set_collection("library");
  for (int i = 0; i < 20; ++i) {
    AddRow(&request, absl::StrCat("d", 10 + i), "the same words");
    (*request.mutable_documents(i)->mutable_metadata()->mutable_fields())["odd"].set_bool_value(i % 2 == 1);
  }
  ASSERT_TRUE(documents_->Add(Scope(), request).ok());
  v1::RetrieveRequest query;
  query.set_collection("library");
  query.add_queries("words");
  query.set_top_k(3);
  (*query.mutable_filter()->mutable_fields())["odd"].set_bool_value(true);
  const auto found = documents_->Retrieve(Scope(), query);
  ASSERT_TRUE(found.ok()) << found.status();
  std::vector<std::string> ids;
  for (const v1::Hit& hit : found->results(0).hits()) ids.push_back(hit.id());
  EXPECT_EQ(ids, (std::vector<std::string>{"d11", "d13", "d15"}));
}

TEST_F(DocumentsTest, PrefixesAndPinnedAdapterReachTheWorker) {
  const std::string first = AddRevision("style", "mini", "one", {"x", "y"});
  v1::CreateCollectionRequest request;
  request.set_collection_id("library");
  request.mutable_collection()->set_adapter("adapters/style");
  request.mutable_collection()->set_document_prefix("passage: ");
  request.mutable_collection()->set_query_prefix("query: ");
  request.mutable_collection()->set_pooling(v1::POOLING_CLS);
  ASSERT_TRUE(collections_->Create(kTenant, request).ok());
  AddRevision("style", "mini", "two", {"x", "y"});  // newer, but the collection keeps its own
  ASSERT_TRUE(Add("library", {{"a", "text"}}).ok());
  Find("library", "text");
  const auto seen = router_.seen();
  ASSERT_EQ(seen.size(), 2u);
  EXPECT_EQ(seen[0].texts, std::vector<std::string>{"passage: text"});
  EXPECT_EQ(seen[1].texts, std::vector<std::string>{"query: text"});
  for (const InferenceCall& call : seen) {
    EXPECT_EQ("adapters/style/revisions/" + call.adapter.digest(), first);
    EXPECT_EQ(call.adapter.files_size(), 1);
    EXPECT_EQ(call.pooling, v1::POOLING_CLS);
  }
}

TEST_F(DocumentsTest, LargeRequestsAreSplitAndKeepTheirOrder) {
  ASSERT_TRUE(Create("library").ok());
  v1::AddDocumentsRequest request;
  request.set_collection("library");
  for (int i = 0; i < 700; ++i) AddRow(&request, absl::StrCat(i), absl::StrCat("word", i));
  ASSERT_TRUE(documents_->Add(Scope(), request).ok());
  EXPECT_GE(router_.calls(), 700 / 64);
  for (const InferenceCall& call : router_.seen()) EXPECT_LE(call.texts.size(), 64u);
  for (const int i : {0, 63, 64, 350, 699}) {
    v1::RetrieveRequest query;
    query.set_collection("library");
    query.add_queries(absl::StrCat("word", i));
    query.set_top_k(100);
    const auto found = documents_->Retrieve(Scope(), query);
    ASSERT_TRUE(found.ok());
    bool seen = false;
    for (const v1::Hit& hit : found->results(0).hits()) {
      if (hit.score() > 0.999 && hit.id() == absl::StrCat(i)) seen = hit.text() == absl::StrCat("word", i);
    }
    EXPECT_TRUE(seen) << i;
  }
}

TEST_F(DocumentsTest, AFailingWorkerStoresNothing) {
  ASSERT_TRUE(Create("library").ok());
  router_.FailWith(TenonError(Reason::kNoWorker, "no worker"));
  EXPECT_REASON(Add("library", {{"a", "text"}}).status(), Reason::kNoWorker, "");
  router_.FailWith(absl::OkStatus());
  EXPECT_EQ(collections_->Get(kTenant, "library")->document_count(), 0);
  EXPECT_TRUE(Find("library", "text").empty());
}

TEST_F(DocumentsTest, ACancelledCallStopsItsWorkAndStoresNothing) {
  ASSERT_TRUE(Create("library").ok());
  router_.Hold(true);
  CallScope scope = Scope();
  std::function<void()> cancel;
  scope.when_cancelled = [&](std::function<void()> callback) { cancel = std::move(callback); };
  v1::AddDocumentsRequest request;
  request.set_collection("library");
  for (int i = 0; i < 100; ++i) AddRow(&request, absl::StrCat(i), "text");
  absl::Status status;
  std::thread caller([&] { status = documents_->Add(scope, request).status(); });
  router_.AwaitCalls(2);
  cancel();
  caller.join();
  EXPECT_EQ(GetReason(status), Reason::kCancelled);
  EXPECT_EQ(router_.cancelled(), 2);
  EXPECT_EQ(collections_->Get(kTenant, "library")->document_count(), 0);
}

TEST_F(DocumentsTest, RefusesBadQueries) {
  ASSERT_TRUE(Create("library").ok());
  v1::RetrieveRequest request;
  EXPECT_REASON(documents_->Retrieve(Scope(), request).status(), Reason::kFieldRequired, "collection");
  request.set_collection("nowhere");
  EXPECT_REASON(documents_->Retrieve(Scope(), request).status(), Reason::kNotFound, "collection");
  request.set_collection("library");
  EXPECT_REASON(documents_->Retrieve(Scope(), request).status(), Reason::kFieldRequired, "queries");
  request.add_queries("fine");
  request.add_queries("");
  EXPECT_REASON(documents_->Retrieve(Scope(), request).status(), Reason::kTextEmpty, "queries[1]");
  request.set_queries(1, "fine too");
  request.set_top_k(1001);
  EXPECT_REASON(documents_->Retrieve(Scope(), request).status(), Reason::kFieldInvalid, "top_k");
  request.set_top_k(5);
  (*request.mutable_filter()->mutable_fields())["x"].mutable_struct_value();
  EXPECT_REASON(documents_->Retrieve(Scope(), request).status(), Reason::kFieldInvalid, "filter");
  v1::AddDocumentsRequest add;
  add.set_collection("library");
  EXPECT_REASON(documents_->Add(Scope(), add).status(), Reason::kFieldRequired, "documents");
  for (int i = 0; i < 1025; ++i) AddRow(&add, absl::StrCat(i), "text");
  EXPECT_REASON(documents_->Add(Scope(), add).status(), Reason::kFieldInvalid, "documents");
  EXPECT_EQ(router_.calls(), 0);
}

TEST_F(DocumentsTest, AnAnswerHasABound) {
  ASSERT_TRUE(Create("library").ok());
  v1::AddDocumentsRequest add;
  add.set_collection("library");
  std::string text;
  while (text.size() < (1 << 20) - 10) text += "word ";
  for (const char* id : {"a", "b", "c", "d"}) AddRow(&add, id, text);
  ASSERT_TRUE(documents_->Add(Scope(), add).ok());
  v1::RetrieveRequest request;
  request.set_collection("library");
  for (int i = 0; i < 7; ++i) request.add_queries("word");
  EXPECT_TRUE(documents_->Retrieve(Scope(), request).ok());
  for (int i = 0; i < 3; ++i) request.add_queries("word");
  EXPECT_REASON(documents_->Retrieve(Scope(), request).status(), Reason::kFieldInvalid, "top_k");
}

TEST_F(DocumentsTest, EverythingIsThereAfterARestart) {
  for (const auto kind : {v1::INDEX_KIND_FLAT, v1::INDEX_KIND_HNSW}) {
    const std::string id = kind == v1::INDEX_KIND_FLAT ? "flat" : "hnsw";
    ASSERT_TRUE(Create(id, kind).ok());
    ASSERT_TRUE(Add(id, {{"a", "red apple"}, {"b", "blue sky"}, {"c", "green pear"}}).ok());
    ASSERT_TRUE(Add(id, {{"a", "blue blue sky"}}).ok());
    v1::DeleteDocumentsRequest request;
    request.set_collection(id);
    request.add_ids("c");
    ASSERT_TRUE(documents_->Delete(kTenant, request).ok());
  }
  documents_.reset();
  collections_.reset();
  indexes_.reset();
  Reopen();
  Start();
  for (const char* id : {"flat", "hnsw"}) {
    EXPECT_EQ(Find(id, "blue sky"), (std::vector<std::string>{"b", "a"}));
    EXPECT_EQ(collections_->Get(kTenant, id)->document_count(), 2);
  }
}

TEST_F(DocumentsTest, AnIndexThatWasForgottenIsBuiltAgain) {
  Start(/*index_bytes=*/1);
  for (const char* id : {"one", "two"}) ASSERT_TRUE(Create(id).ok());
  for (int round = 0; round < 3; ++round) {
    for (const char* id : {"one", "two"}) {
      ASSERT_TRUE(Add(id, {{absl::StrCat(round), "a text"}}).ok());
      EXPECT_EQ(Find(id, "a text").size(), static_cast<size_t>(round + 1));
      EXPECT_EQ(indexes_->count(), 1);
    }
  }
}

TEST_F(DocumentsTest, WhatIsJustReplacedOrDeletedLeavesNoGapInTheAnswer) {
  for (const auto kind : {v1::INDEX_KIND_FLAT, v1::INDEX_KIND_HNSW}) {
    const std::string id = kind == v1::INDEX_KIND_FLAT ? "flat" : "hnsw";
    ASSERT_TRUE(Create(id, kind).ok());
    ASSERT_TRUE(Add(id, {{"a", "red apple"}, {"b", "red apple pie"}, {"c", "red sky"}, {"d", "blue sea"}}).ok());
    ASSERT_EQ(Find(id, "red apple", 2), (std::vector<std::string>{"a", "b"}));
    const std::string space = collections_->Find(kTenant, id, "collection")->document_space();
    // Looks while a change is committed and the index has not heard of it.
    const auto in_between = [&](const std::function<absl::Status(Transaction&, IndexChange*)>& write,
                                const std::function<void()>& look) {
      const absl::Status status = indexes_->Change({kTenant, space}, [&]() -> absl::StatusOr<IndexChange> {
        IndexChange change;
        RETURN_IF_ERROR(store_->Write([&](Transaction& transaction) { return write(transaction, &change); }));
        look();
        return change;
      });
      ASSERT_TRUE(status.ok()) << status;
    };
    const auto erase = [&](std::vector<std::string> gone) {
      return [&space, gone](Transaction& transaction, IndexChange* change) -> absl::Status {
        ASSIGN_OR_RETURN(change->removed, transaction.DeleteDocuments(kTenant, space, gone));
        return absl::OkStatus();
      };
    };
    const auto replace = [&](const std::string& document) {
      return [&space, document](Transaction& transaction, IndexChange* change) -> absl::Status {
        const DocumentRecord record{.id = document, .vector = WordVector("red apple")};
        ASSIGN_OR_RETURN(const auto numbers, transaction.PutDocuments(kTenant, space, {record}));
        change->put.push_back({numbers[0], document, {}, record.vector});
        return absl::OkStatus();
      };
    };
    in_between(replace("a"), [&] { EXPECT_EQ(Find(id, "red apple", 2), (std::vector<std::string>{"b", "c"})); });
    EXPECT_EQ(Find(id, "red apple", 2), (std::vector<std::string>{"a", "b"}));
    in_between(erase({"a"}), [&] { EXPECT_EQ(Find(id, "red apple", 2), (std::vector<std::string>{"b", "c"})); });
    in_between(erase({"b", "c"}), [&] { EXPECT_EQ(Find(id, "red apple", 2), std::vector<std::string>{"d"}); });
    in_between(replace("d"), [&] {
      v1::RetrieveRequest request;
      request.set_collection(id);
      request.add_queries("red apple");
      EXPECT_REASON(documents_->Retrieve(Scope(), request).status(), Reason::kQueueFull, "");
    });
    EXPECT_EQ(Find(id, "red apple", 2), std::vector<std::string>{"d"});
  }
}

TEST_F(DocumentsTest, ManyThreadsAddDeleteAndSearch) {
  ASSERT_TRUE(Create("library", v1::INDEX_KIND_HNSW).ok());
  constexpr int kThreads = 4, kRounds = 15;
  std::atomic<bool> done = false;
  std::thread searcher([&] {
    while (!done) {
      std::set<std::string> seen;
      // A search never gives a document twice, nor one with another's text.
      v1::RetrieveRequest query;
      query.set_collection("library");
      query.add_queries("word");
      query.set_top_k(1000);
      const auto found = documents_->Retrieve(Scope(), query);
      ASSERT_TRUE(found.ok()) << found.status();
      for (const v1::Hit& hit : found->results(0).hits()) {
        ASSERT_TRUE(seen.insert(hit.id()).second);
        ASSERT_EQ(hit.text(), absl::StrCat("word ", hit.id()));
      }
    }
  });
  std::vector<std::thread> writers;
  for (int t = 0; t < kThreads; ++t) {
    writers.emplace_back([&, t] {
      for (int round = 0; round < kRounds; ++round) {
        const std::string kept = absl::StrCat(t, "-", round), dropped = absl::StrCat(t, "-dropped");
        ASSERT_TRUE(Add("library", {{kept, "word " + kept}, {dropped, "word " + dropped}}).ok());
        v1::DeleteDocumentsRequest request;
        request.set_collection("library");
        request.add_ids(dropped);
        ASSERT_TRUE(documents_->Delete(kTenant, request).ok());
      }
    });
  }
  for (std::thread& writer : writers) writer.join();
  done = true;
  searcher.join();
  EXPECT_EQ(Find("library", "word", 1000).size(), static_cast<size_t>(kThreads * kRounds));
  EXPECT_EQ(collections_->Get(kTenant, "library")->document_count(), kThreads * kRounds);
}

}  // namespace
}  // namespace tenon::server
