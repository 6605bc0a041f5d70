// A job scheduler on a real store and real blobs, with a clock turned by hand and workers played by the test.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/synchronization/notification.h"
#include "common/digest.h"
#include "server/app/job_scheduler.h"
#include "server/blobs/dir/dir_blob_store.h"
#include "server/catalog/records.h"
#include "server/store/sqlite/sqlite_store.h"
#include "tests/common/formats/temp_folder.h"

namespace tenon::server {

// A retrieval evaluator that does what a test says.
class ScriptedRetrieval final : public RetrievalEvaluator {
 public:
  std::function<absl::Status(Snapshot&)> check = [](Snapshot&) { return absl::OkStatus(); };
  std::function<absl::StatusOr<v1::EvalResult>(const std::function<void(int64_t, int64_t)>& progress,
                                               const std::function<bool()>& cancelled)>
      run;
  absl::StatusOr<v1::EvalResult> Run(const std::string&, const v1::RetrievalEval&,
                                     const std::function<void(int64_t, int64_t)>& progress,
                                     const std::function<bool()>& cancelled) override {
    return run(progress, cancelled);
  }
  absl::Status Check(Snapshot& snapshot, const std::string&, const v1::RetrievalEval&) override {
    return check(snapshot);
  }
};

class Rig : public testing::Test {
 protected:
  Rig() {
    options_.tick = absl::Hours(1);  // tests that need deadlines looked at set a short one
    OpenStore();
    PutBase("minilm", "b1");
    PutDataset("train", "{\"text\":\"good\",\"label\":\"pos\"}\n{\"text\":\"bad\",\"label\":\"neg\"}\n",
               {"neg", "pos"});
    PutDataset("validation", "{\"text\":\"fine\",\"label\":\"pos\"}\n", {"pos"});
    Start();
  }
  ~Rig() override { Stop(); }

  void OpenStore() {
    SqliteOptions options;
    options.folder = folder_.path() / "data";
    options.clock = &clock_;
    store_ = OpenSqliteStore(options).value();
    blobs_ = OpenDirBlobStore(folder_.path() / "data" / "blobs").value();
    models_ = std::make_unique<ModelIndex>();
    loop_ = std::make_unique<EventLoop>();
  }
  void Start() {
    ASSERT_TRUE(models_->Reload(*store_).ok());
    JobScheduler::Parts parts;
    parts.store = store_.get();
    parts.blobs = blobs_.get();
    parts.models = models_.get();
    parts.loop = loop_.get();
    parts.clock = &clock_;
    parts.retrieval = &retrieval_;
    parts.bases_changed = [this] { ++bases_changed_; };
    parts.send = [this](const std::string& session, internal::v1::LinkResponse message) {
      absl::MutexLock lock(&sent_mutex_);
      sent_.push_back({session, std::move(message)});
    };
    auto scheduler = JobScheduler::Create(parts, options_);
    ASSERT_TRUE(scheduler.ok()) << scheduler.status();
    jobs_ = *std::move(scheduler);
    Settle();
  }
  // As a process that ends; what is in the store stays.
  void Stop() {
    jobs_ = nullptr;
    loop_ = nullptr;
    models_ = nullptr;
    blobs_ = nullptr;
    store_ = nullptr;
  }
  void Restart() {
    Stop();
    OpenStore();
    Start();
  }
  // Until every chain of loop -> writer -> loop that is under way has ended: both run in order, so a marker through
  // each is enough.
  void Settle() {
    for (int i = 0; i < 4; ++i) {
      loop_->Run([] {});
      ASSERT_TRUE(store_->Write([](Transaction&) { return absl::OkStatus(); }).ok());
    }
    loop_->Run([] {});
  }

  // --- Things that are there.
  v1::FileEntry PutBlob(const std::string& path, const std::string& bytes) {
    const auto writer = blobs_->Create(1 << 20).value();
    EXPECT_TRUE(writer->Append(bytes).ok());
    v1::FileEntry file;
    file.set_path(path);
    file.set_sha256(writer->Commit("").value());
    file.set_size_bytes(static_cast<int64_t>(bytes.size()));
    return file;
  }
  bool HasBlob(const v1::FileEntry& file) { return blobs_->Size(file.sha256()).ok(); }
  void PutBase(const std::string& id, const std::string& digest, const std::string& tenant = "default") {
    internal::v1::BaseRecord base;
    base.mutable_base()->set_name("bases/" + id);
    base.mutable_base()->set_digest(digest);
    Insert(MakeRecord(tenant, kBaseKind, id, "", clock_.Now(), base));
  }
  void PutDataset(const std::string& id, const std::string& rows, const std::vector<std::string>& labels,
                  const std::string& tenant = "default") {
    internal::v1::DatasetRecord dataset;
    dataset.set_format(v1::DATASET_FORMAT_JSONL);
    dataset.mutable_dataset()->set_name("datasets/" + id);
    dataset.mutable_dataset()->set_kind(v1::DATASET_KIND_CLASSIFICATION);
    dataset.mutable_dataset()->set_sha256(PutBlob(id, rows).sha256());
    dataset.mutable_dataset()->set_row_count(std::count(rows.begin(), rows.end(), '\n'));
    for (const std::string& label : labels) dataset.mutable_dataset()->add_labels(label);
    Insert(MakeRecord(tenant, kDatasetKind, id, "", clock_.Now(), dataset));
  }
  void PutAdapter(const std::string& id, const std::string& base_digest, const std::vector<std::string>& labels) {
    NewRevision revision;
    revision.adapter_id = id;
    revision.base = "bases/minilm";
    revision.base_digest = base_digest;
    revision.task = v1::TASK_SEQUENCE_CLASSIFICATION;
    revision.method = v1::METHOD_LORA;
    revision.labels = labels;
    revision.files = {PutBlob("adapter_model.safetensors", "weights of " + id)};
    ASSERT_TRUE(store_
                    ->Write([&](Transaction& transaction) {
                      return PutRevision(transaction, "default", revision, clock_.Now()).status();
                    })
                    .ok());
    ASSERT_TRUE(models_->RefreshAdapter(*store_, "default", id).ok());
  }
  void Insert(const Record& record) {
    ASSERT_TRUE(store_->Write([&](Transaction& transaction) { return transaction.Insert(record); }).ok());
  }

  // --- Requests.
  static v1::CreateFinetuneJobRequest NewFinetune(const std::string& id = "", const std::string& adapter = "news") {
    v1::CreateFinetuneJobRequest request;
    request.set_finetune_job_id(id);
    v1::FinetuneJob& job = *request.mutable_finetune_job();
    job.set_base("minilm");
    job.set_adapter(adapter);
    job.set_task(v1::TASK_SEQUENCE_CLASSIFICATION);
    job.set_method(v1::METHOD_LORA);
    job.set_train_dataset("train");
    return request;
  }
  // Creates and waits until the scheduler has decided what follows.
  v1::FinetuneJob Create(const v1::CreateFinetuneJobRequest& request, const std::string& tenant = "default") {
    const auto job = jobs_->CreateFinetune(tenant, request);
    EXPECT_TRUE(job.ok()) << job.status();
    clock_.Advance(absl::Seconds(1));  // so that the order of creation is told by time
    Settle();
    return job.ok() ? *job : v1::FinetuneJob();
  }
  v1::FinetuneJob Get(const std::string& id, const std::string& tenant = "default") {
    const auto job = jobs_->GetFinetune(tenant, id);
    EXPECT_TRUE(job.ok()) << job.status();
    return job.ok() ? *job : v1::FinetuneJob();
  }
  // States and phases of the history, as `QUEUED`, `RUNNING/TRAINING`.
  std::vector<std::string> History(const std::string& name) {
    std::vector<std::string> states;
    const auto events = jobs_->Events("default", name, 0, 1000);
    EXPECT_TRUE(events.ok()) << events.status();
    for (const v1::JobEvent& event : *events) {
      if (!event.has_state_change()) continue;
      std::string text = v1::JobState_Name(event.state_change().state()).substr(10);
      if (event.state_change().phase() != v1::JOB_PHASE_UNSPECIFIED) {
        text += "/" + v1::JobPhase_Name(event.state_change().phase()).substr(10);
      }
      states.push_back(text);
    }
    return states;
  }

  // --- Workers.
  struct Sent {
    std::string session;
    internal::v1::LinkResponse message;
  };
  std::vector<internal::v1::JobHold> Connect(const std::string& session,
                                             const std::vector<internal::v1::JobHold>& held = {},
                                             const std::string& base_digest = "b1") {
    std::vector<internal::v1::JobHold> drop;
    loop_->Run([&] {
      drop = jobs_->OnWorkerHello(session, "worker-" + session, held);
      jobs_->OnBaseReady(session, base_digest);
    });
    Settle();
    return drop;
  }
  void Beat(const std::string& session, const std::vector<internal::v1::JobHold>& held) {
    loop_->Run([&] { jobs_->OnWorkerHeartbeat(session, held); });
    Settle();
  }
  void Disconnect(const std::string& session) {
    loop_->Run([&] { jobs_->OnWorkerDisconnected(session); });
    Settle();
  }
  void Lose(const std::string& session) {
    loop_->Run([&] { jobs_->OnWorkerLost(session); });
    Settle();
  }
  static internal::v1::JobHold Hold(const std::string& job, int64_t term) {
    internal::v1::JobHold hold;
    hold.set_job(job);
    hold.set_term(term);
    return hold;
  }
  // What was sent since the last call.
  std::vector<Sent> TakeSent() {
    absl::MutexLock lock(&sent_mutex_);
    return std::exchange(sent_, {});
  }
  // The next message; waits for it.
  Sent AwaitSent() {
    absl::MutexLock lock(&sent_mutex_);
    const auto has_one = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(sent_mutex_) { return !sent_.empty(); };
    EXPECT_TRUE(sent_mutex_.AwaitWithTimeout(absl::Condition(&has_one), absl::Seconds(30)));
    if (sent_.empty()) return {};
    Sent first = sent_.front();
    sent_.erase(sent_.begin());
    return first;
  }
  static internal::v1::ReportJobRequest NewReport(const std::string& session, const std::string& job, int64_t term) {
    internal::v1::ReportJobRequest report;
    report.set_session(session);
    report.set_job(job);
    report.set_term(term);
    return report;
  }
  internal::v1::ReportJobRequest Success(const std::string& session, const std::string& job, int64_t term,
                                         const std::string& weights = "weights") {
    auto report = NewReport(session, job, term);
    *report.mutable_finetune_success()->add_files() = PutBlob("adapter_model.safetensors", weights);
    report.mutable_finetune_success()->mutable_result()->set_best_step(7);
    return report;
  }
  absl::Status ReportAndSettle(const internal::v1::ReportJobRequest& report) {
    const absl::Status status = jobs_->Report(report);
    Settle();
    return status;
  }

  test::TempFolder folder_;
  ManualClock clock_;
  JobScheduler::Options options_;
  ScriptedRetrieval retrieval_;
  std::atomic<int> bases_changed_ = 0;
  absl::Mutex sent_mutex_;
  std::vector<Sent> sent_ ABSL_GUARDED_BY(sent_mutex_);
  std::unique_ptr<Store> store_;
  std::unique_ptr<BlobStore> blobs_;
  std::unique_ptr<ModelIndex> models_;
  std::unique_ptr<EventLoop> loop_;
  std::unique_ptr<JobScheduler> jobs_;
};

}  // namespace tenon::server
