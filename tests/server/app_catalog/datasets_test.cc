#include "server/app/datasets.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/digest.h"
#include "common/formats/status.h"
#include "server/app/catalog_sweep.h"
#include "server/app/retrieval_eval.h"
#include "server/catalog/records.h"
#include "server/retrieval/metrics.h"
#include "tests/server/app_catalog/fixture.h"

namespace tenon::server {
namespace {

constexpr char kRows[] =
    "{\"text\":\"good film\",\"label\":\"pos\"}\n{\"text\":\"bad film\",\"label\":\"neg\"}\n"
    "{\"text\":\"so so\",\"label\":\"neg\"}\n";

class DatasetsTest : public CatalogFixture {
 protected:
  DatasetsTest() : datasets_(Datasets::Parts{store_.get(), blobs_.get(), &clock_}, Datasets::Options{4096, 8192}) {}

  static std::vector<v1::UploadDatasetRequest> Messages(const std::string& id, const std::string& bytes,
                                                        v1::DatasetFormat format = v1::DATASET_FORMAT_JSONL) {
    std::vector<v1::UploadDatasetRequest> messages(1);
    messages[0].mutable_header()->set_dataset_id(id);
    messages[0].mutable_header()->set_format(format);
    for (size_t at = 0; at < bytes.size(); at += 7) messages.emplace_back().set_chunk(bytes.substr(at, 7));
    return messages;
  }
  absl::StatusOr<v1::UploadDatasetResponse> Upload(std::vector<v1::UploadDatasetRequest> messages) {
    return datasets_.Upload(Scope(), Source(std::move(messages)));
  }
  void ExpectNothingStored() {
    EXPECT_EQ(datasets_.List(kTenant, {})->datasets_size(), 0);
    EXPECT_EQ(CountFiles(folder_.path() / "blobs"), 0);
  }

  Datasets datasets_;
};

TEST_F(DatasetsTest, DescribesWhatWasUploaded) {
  const auto uploaded = Upload(Messages("films", kRows));
  ASSERT_TRUE(uploaded.ok()) << uploaded.status();
  const v1::Dataset& dataset = uploaded->dataset();
  EXPECT_EQ(dataset.name(), "datasets/films");
  EXPECT_EQ(dataset.kind(), v1::DATASET_KIND_CLASSIFICATION);
  EXPECT_EQ(dataset.row_count(), 3);
  EXPECT_EQ(dataset.labels(0), "neg");
  EXPECT_EQ(dataset.labels(1), "pos");
  EXPECT_EQ(dataset.sha256(), Sha256Hex(kRows));
  EXPECT_EQ(*blobs_->ReadAll(dataset.sha256(), 4096), kRows);
  EXPECT_EQ(datasets_.Get(kTenant, "films")->SerializeAsString(), dataset.SerializeAsString());
}

TEST_F(DatasetsTest, RecordsHaveFieldsAndMayBeAskedFor) {
  const auto told = Upload(Messages("talks", "{\"dialogue\":\"a\",\"summary\":\"b\",\"tags\":[1]}\n"));
  ASSERT_TRUE(told.ok()) << told.status();
  EXPECT_EQ(told->dataset().kind(), v1::DATASET_KIND_RECORDS);
  ASSERT_EQ(told->dataset().fields_size(), 2);
  EXPECT_EQ(told->dataset().fields(1), "summary");
  EXPECT_EQ(told->dataset().warnings(0), "ignored columns: tags (row 1: is a list)");

  auto forced = Messages("films-as-records", kRows);
  forced[0].mutable_header()->set_kind(v1::DATASET_KIND_RECORDS);
  const auto records = Upload(forced);
  ASSERT_TRUE(records.ok()) << records.status();
  EXPECT_EQ(records->dataset().kind(), v1::DATASET_KIND_RECORDS);
  EXPECT_EQ(records->dataset().labels_size(), 0);
  EXPECT_EQ(Upload(forced)->SerializeAsString(), records->SerializeAsString());
  // The same bytes, read as what their columns say, are something else.
  EXPECT_REASON(Upload(Messages("films-as-records", kRows)).status(), Reason::kAlreadyExists, "header.dataset_id");
  EXPECT_EQ(Upload(Messages("films", kRows))->dataset().fields_size(), 2) << "a template may use text and label";

  forced[0].mutable_header()->set_kind(v1::DATASET_KIND_QUERIES);
  EXPECT_EQ(GetReason(Upload(forced).status()), Reason::kDatasetInvalid);
  forced[0].mutable_header()->set_kind(static_cast<v1::DatasetKind>(99));
  EXPECT_REASON(Upload(forced).status(), Reason::kFieldInvalid, "header.kind");
}

TEST_F(DatasetsTest, ABrokenRowIsNamedAndNothingIsStored) {
  const absl::Status status = Upload(Messages("films", absl::StrCat(kRows, "{\"text\":\"no label\"}\n"))).status();
  EXPECT_EQ(GetReason(status), Reason::kDatasetInvalid);
  EXPECT_TRUE(absl::StrContains(std::string(status.message()), "4")) << status;
  EXPECT_EQ(GetReason(Upload(Messages("films", "")).status()), Reason::kDatasetInvalid);
  ExpectNothingStored();
}

TEST_F(DatasetsTest, ValidateOnlyStoresNothing) {
  auto messages = Messages("", kRows);
  messages[0].mutable_header()->set_validate_only(true);
  const auto checked = Upload(messages);
  ASSERT_TRUE(checked.ok()) << checked.status();
  EXPECT_EQ(checked->dataset().row_count(), 3);
  ExpectNothingStored();
}

TEST_F(DatasetsTest, TheSameBytesAgainAreTheSameDataSet) {
  const auto first = Upload(Messages("films", kRows));
  ASSERT_TRUE(first.ok());
  clock_.Advance(absl::Hours(1));
  EXPECT_EQ(Upload(Messages("films", kRows))->SerializeAsString(), first->SerializeAsString());
  EXPECT_REASON(Upload(Messages("films", absl::StrCat(kRows, kRows))).status(), Reason::kAlreadyExists,
                "header.dataset_id");
  auto once = Messages("others", kRows);
  once[0].mutable_header()->set_request_id("once");
  ASSERT_TRUE(Upload(once).ok());
  auto again = Messages("others", absl::StrCat(kRows, kRows));
  again[0].mutable_header()->set_request_id("once");
  EXPECT_EQ(GetReason(Upload(again).status()), Reason::kRequestIdReused);
}

TEST_F(DatasetsTest, UploadsAreBounded) {
  EXPECT_REASON(Upload(Messages("films", std::string(5000, ' '))).status(), Reason::kTooLarge, "chunk");
  auto messages = Messages("films", kRows);
  messages[1].set_chunk(std::string((1 << 20) + 1, ' '));
  EXPECT_REASON(Upload(messages).status(), Reason::kFieldInvalid, "chunk");
  // What the refused ones had reserved is free again.
  for (int i = 0; i < 5; ++i)
    EXPECT_EQ(GetReason(Upload(Messages("f", std::string(4097, ' '))).status()), Reason::kTooLarge);
  EXPECT_TRUE(Upload(Messages("films", kRows)).ok());
}

TEST_F(DatasetsTest, RefusesBadStreams) {
  EXPECT_REASON(Upload({}).status(), Reason::kFieldRequired, "header");
  EXPECT_REASON(Upload(Messages("", kRows)).status(), Reason::kFieldRequired, "header.dataset_id");
  EXPECT_REASON(Upload(Messages("a/b", kRows)).status(), Reason::kIdInvalid, "header.dataset_id");
  EXPECT_REASON(Upload(Messages("films", kRows, v1::DATASET_FORMAT_UNSPECIFIED)).status(), Reason::kFieldRequired,
                "header.format");
  auto messages = Messages("films", kRows);
  messages[2] = messages[0];
  EXPECT_REASON(Upload(messages).status(), Reason::kFieldInvalid, "chunk");
  CallScope scope = Scope();
  scope.cancelled = [] { return true; };
  EXPECT_EQ(GetReason(datasets_.Upload(scope, Source(Messages("films", kRows))).status()), Reason::kCancelled);
  ExpectNothingStored();
}

TEST_F(DatasetsTest, IsKeptWhileAJobReadsIt) {
  ASSERT_TRUE(Upload(Messages("films", kRows)).ok());
  ASSERT_TRUE(Upload(Messages("more", kRows)).ok());
  v1::FinetuneJob job;
  job.set_name("finetuneJobs/j");
  job.set_train_dataset("datasets/films");
  AddOpenJob(job);
  EXPECT_REASON(datasets_.Delete(kTenant, "datasets/films"), Reason::kInUse, "name");
  EXPECT_TRUE(datasets_.Delete(kTenant, "datasets/more").ok());
  EXPECT_EQ(GetReason(datasets_.Delete(kTenant, "more")), Reason::kNotFound);
  // The other data set has the same bytes, and they are still there.
  EXPECT_TRUE(blobs_->Size(Sha256Hex(kRows)).ok());
}

TEST_F(DatasetsTest, TheSweepTakesOnlyWhatNobodyNames) {
  ASSERT_TRUE(Upload(Messages("films", kRows)).ok());
  const std::string orphan = "nobody's bytes", checkpoint = "a checkpoint's bytes";
  ASSERT_TRUE(WriteBlob(*blobs_, orphan, Sha256Hex(orphan)).ok());
  ASSERT_TRUE(WriteBlob(*blobs_, checkpoint, Sha256Hex(checkpoint)).ok());
  v1::FinetuneJob job;
  job.set_name("finetuneJobs/j");
  job.set_worker("checkpoint " + Sha256Hex(checkpoint));  // wherever in the record
  AddOpenJob(job);
  EXPECT_EQ(*SweepBlobs(*store_, *blobs_, absl::Hours(1)), 0);  // all too young
  EXPECT_EQ(*SweepBlobs(*store_, *blobs_, absl::ZeroDuration()), 1);
  EXPECT_FALSE(blobs_->Size(Sha256Hex(orphan)).ok());
  EXPECT_TRUE(blobs_->Size(Sha256Hex(checkpoint)).ok());
  EXPECT_TRUE(blobs_->Size(Sha256Hex(kRows)).ok());
}

TEST_F(DatasetsTest, TheSweepTakesABlobThatIsAlsoLinked) {
  const std::string bytes = "uploaded once, registered once";
  ASSERT_TRUE(WriteBlob(*blobs_, bytes, Sha256Hex(bytes)).ok());
  const std::filesystem::path file = folder_.path() / "registered";
  std::ofstream(file) << bytes;
  ASSERT_TRUE(blobs_->Link(file, Sha256Hex(bytes)).ok());
  const auto swept = SweepBlobs(*store_, *blobs_, absl::ZeroDuration());
  ASSERT_TRUE(swept.ok()) << swept.status();
  EXPECT_EQ(*swept, 1);
  EXPECT_FALSE(blobs_->Size(Sha256Hex(bytes)).ok());
  EXPECT_TRUE(std::filesystem::exists(file)) << "the folder it was registered from is not ours";
}

class RetrievalEvalTest : public CatalogFixture {
 protected:
  RetrievalEvalTest()
      : datasets_(Datasets::Parts{store_.get(), blobs_.get(), &clock_}, Datasets::Options()),
        indexes_(DocumentLoader(store_.get()), 1 << 20),
        collections_(Collections::Parts{store_.get(), &models_, &indexes_, &clock_}),
        evaluator_(CollectionEvaluator::Parts{store_.get(), blobs_.get(), &router_, &indexes_, &collections_}) {
    AddBase("mini");
    v1::CreateCollectionRequest request;
    request.set_collection_id("library");
    request.mutable_collection()->set_base("mini");
    EXPECT_TRUE(collections_.Create(kTenant, request).ok());
    const std::string space = collections_.Find(kTenant, "library", "")->document_space();
    const std::vector<std::string> texts = {"red apple pie", "blue sky at night", "green pear tree",
                                            "red sky at night"};
    std::vector<DocumentRecord> documents;
    for (size_t i = 0; i < texts.size(); ++i) {
      documents.push_back({absl::StrCat("d", i), 0, WordVector(texts[i]), ""});
    }
    EXPECT_TRUE(store_
                    ->Write([&](Transaction& transaction) {
                      return transaction.PutDocuments(kTenant, space, documents).status();
                    })
                    .ok());
    Upload("queries", v1::DATASET_FORMAT_JSONL,
           "{\"_id\":\"q1\",\"text\":\"red apple pie\"}\n{\"_id\":\"q2\",\"text\":\"blue sky at night\"}\n"
           "{\"_id\":\"unjudged\",\"text\":\"pear\"}\n");
    // q1: its best is found first. q2: only the second best is relevant. `gone` is in no query set.
    Upload("qrels", v1::DATASET_FORMAT_TSV,
           "query-id\tcorpus-id\tscore\nq1\td0\t2\nq1\td3\t0\nq2\td3\t1\nq2\td9\t1\ngone\td1\t1\n");
  }
  void Upload(const std::string& id, v1::DatasetFormat format, const std::string& bytes) {
    std::vector<v1::UploadDatasetRequest> messages(2);
    messages[0].mutable_header()->set_dataset_id(id);
    messages[0].mutable_header()->set_format(format);
    messages[1].set_chunk(bytes);
    const auto uploaded = datasets_.Upload(Scope(), Source(std::move(messages)));
    ASSERT_TRUE(uploaded.ok()) << uploaded.status();
  }
  static v1::RetrievalEval Spec() {
    v1::RetrievalEval spec;
    spec.set_collection("collections/library");
    spec.set_queries("datasets/queries");
    spec.set_qrels("datasets/qrels");
    spec.add_ks(1);
    spec.add_ks(2);
    return spec;
  }
  absl::Status Check(const v1::RetrievalEval& spec) {
    return store_->Read([&](Snapshot& snapshot) { return evaluator_.Check(snapshot, kTenant, spec); });
  }

  Datasets datasets_;
  IndexCache indexes_;
  Collections collections_;
  CollectionEvaluator evaluator_;
};

TEST_F(RetrievalEvalTest, ScoresJudgedQueries) {
  ASSERT_TRUE(Check(Spec()).ok());
  std::vector<std::pair<int64_t, int64_t>> progress;
  const auto result = evaluator_.Run(
      kTenant, Spec(), [&](int64_t done, int64_t total) { progress.emplace_back(done, total); }, [] { return false; });
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(result->examples(), 2);
  EXPECT_EQ(result->model().base(), "bases/mini");
  std::map<std::string, double> metrics;
  for (const v1::Metric& metric : result->metrics()) metrics[metric.name()] = metric.value();
  EXPECT_EQ(metrics.size(), 6u);
  EXPECT_NEAR(metrics["ndcg@1"], 0.5, 1e-12);
  EXPECT_NEAR(metrics["recall@1"], 0.5, 1e-12);
  EXPECT_NEAR(metrics["mrr@2"], 0.75, 1e-12);
  EXPECT_NEAR(metrics["recall@2"], 0.75, 1e-12);
  EXPECT_NEAR(metrics["ndcg@2"], (1 + Ndcg({"d1", "d3"}, {{"d3", 1}, {"d9", 1}}, 2)) / 2, 1e-12);
  EXPECT_EQ(progress, (std::vector<std::pair<int64_t, int64_t>>{{2, 2}}));
}

TEST_F(RetrievalEvalTest, ChecksNamesAndKindsBeforeTheJobIsStored) {
  v1::RetrievalEval spec = Spec();
  spec.set_collection("nowhere");
  EXPECT_REASON(Check(spec), Reason::kNotFound, "eval_job.retrieval.collection");
  spec = Spec();
  spec.set_qrels("datasets/queries");
  EXPECT_REASON(Check(spec), Reason::kFieldInvalid, "eval_job.retrieval.qrels");
  spec = Spec();
  spec.clear_queries();
  EXPECT_REASON(Check(spec), Reason::kFieldRequired, "eval_job.retrieval.queries");
  spec = Spec();
  spec.set_ks(0, 1001);
  EXPECT_REASON(Check(spec), Reason::kFieldInvalid, "eval_job.retrieval.ks");
}

TEST_F(RetrievalEvalTest, CanBeCancelledAndFailsWithItsWorkers) {
  EXPECT_EQ(GetReason(evaluator_.Run(kTenant, Spec(), {}, [] { return true; }).status()), Reason::kCancelled);
  router_.FailWith(TenonError(Reason::kNoWorker, "no worker"));
  EXPECT_EQ(GetReason(evaluator_.Run(kTenant, Spec(), {}, {}).status()), Reason::kNoWorker);
}

TEST_F(RetrievalEvalTest, ACancelReachesItWhileItWaitsForWorkers) {
  router_.Hold(true);
  const auto result = evaluator_.Run(kTenant, Spec(), {}, [this] { return router_.calls() > 0; });
  EXPECT_EQ(GetReason(result.status()), Reason::kCancelled);
  EXPECT_EQ(router_.cancelled(), 1);
}

TEST_F(RetrievalEvalTest, NoJudgedQueryIsAnError) {
  Upload("others", v1::DATASET_FORMAT_TSV, "query-id\tcorpus-id\tscore\ngone\td1\t1\n");
  v1::RetrievalEval spec = Spec();
  spec.set_qrels("others");
  EXPECT_EQ(GetReason(evaluator_.Run(kTenant, spec, {}, {}).status()), Reason::kDatasetInvalid);
}

}  // namespace
}  // namespace tenon::server
