#include "tests/server/app_catalog/fixture.h"

#include <cstdlib>

#include "absl/strings/str_split.h"
#include "common/digest.h"
#include "server/blobs/dir/dir_blob_store.h"
#include "server/catalog/records.h"
#include "server/store/sqlite/sqlite_store.h"
#include "tenon/internal/v1/job_record.pb.h"

namespace tenon::server {

std::vector<float> WordVector(const std::string& text) {
  std::vector<float> vector(kTestDimensions);
  for (const std::string& word : std::vector<std::string>(absl::StrSplit(text, ' ', absl::SkipEmpty()))) {
    const std::string digest = Sha256Hex(word);
    vector[std::stoul(digest.substr(0, 8), nullptr, 16) % kTestDimensions] += 1;
  }
  return vector;
}

uint64_t WordRouter::Submit(InferenceCall call, Done done) {
  absl::MutexLock lock(&mutex_);
  seen_.push_back(call);
  const uint64_t id = seen_.size();
  waiting_[id] = std::move(done);
  if (hold_) return id;
  auto answer = Answer(call);
  loop_.Post([this, id, answer = std::move(answer)] {
    Done waiting;
    {
      absl::MutexLock inner(&mutex_);
      const auto found = waiting_.find(id);
      if (found == waiting_.end()) return;  // cancelled
      waiting = std::move(found->second);
      waiting_.erase(found);
    }
    waiting(answer);
  });
  return id;
}

absl::StatusOr<internal::v1::InferenceResult> WordRouter::Answer(const InferenceCall& call) const {
  if (!failure_.ok()) return failure_;
  internal::v1::InferenceResult result;
  if (call.kind == internal::v1::INFERENCE_KIND_CHECK_ADAPTER) {
    result.mutable_labels()->Assign(labels_.begin(), labels_.end());
    if (!text_template_.input().empty()) *result.mutable_text_template() = text_template_;
    return result;
  }
  for (const std::string& text : call.texts) {
    const std::vector<float> vector = WordVector(text);
    auto& row = *result.add_rows();
    row.mutable_values()->Assign(vector.begin(), vector.end());
    row.set_input_tokens(static_cast<int32_t>(text.size() / 4 + 1));
    result.set_input_tokens(result.input_tokens() + row.input_tokens());
  }
  return result;
}

void WordRouter::Cancel(uint64_t call) {
  absl::MutexLock lock(&mutex_);
  cancelled_ += static_cast<int>(waiting_.erase(call));
}

void WordRouter::FailWith(absl::Status status) {
  absl::MutexLock lock(&mutex_);
  failure_ = std::move(status);
}

void WordRouter::Hold(bool hold) {
  absl::MutexLock lock(&mutex_);
  hold_ = hold;
}

void WordRouter::SetLabels(std::vector<std::string> labels) {
  absl::MutexLock lock(&mutex_);
  labels_ = std::move(labels);
}

void WordRouter::SetTemplate(const std::string& input, const std::string& target) {
  absl::MutexLock lock(&mutex_);
  text_template_.set_input(input);
  text_template_.set_target(target);
}

int WordRouter::calls() const {
  absl::MutexLock lock(&mutex_);
  return static_cast<int>(seen_.size());
}

int WordRouter::cancelled() const {
  absl::MutexLock lock(&mutex_);
  return cancelled_;
}

std::vector<InferenceCall> WordRouter::seen() const {
  absl::MutexLock lock(&mutex_);
  return seen_;
}

void WordRouter::AwaitCalls(int count) const {
  absl::MutexLock lock(&mutex_);
  const auto arrived = [this, count]()
                           ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return static_cast<int>(seen_.size()) >= count; };
  mutex_.Await(absl::Condition(&arrived));
}

CatalogFixture::CatalogFixture() { Reopen(); }

void CatalogFixture::Reopen() {
  store_.reset();
  blobs_.reset();
  SqliteOptions options;
  options.folder = folder_.path() / "store";
  std::filesystem::create_directories(options.folder);
  auto store = OpenSqliteStore(options);
  ASSERT_TRUE(store.ok()) << store.status();
  store_ = *std::move(store);
  auto blobs = OpenDirBlobStore(folder_.path() / "blobs");
  ASSERT_TRUE(blobs.ok()) << blobs.status();
  blobs_ = *std::move(blobs);
  ASSERT_TRUE(models_.Reload(*store_).ok());
}

void CatalogFixture::AddBase(const std::string& id) {
  internal::v1::BaseRecord record;
  record.mutable_base()->set_name("bases/" + id);
  record.mutable_base()->set_digest(Sha256Hex("base " + id));
  record.mutable_base()->set_hidden_size(kTestDimensions);
  record.set_pooling(v1::POOLING_MEAN);
  ASSERT_TRUE(store_
                  ->Write([&](Transaction& transaction) {
                    return transaction.Insert(MakeRecord(kTenant, kBaseKind, id, "", clock_.Now(), record));
                  })
                  .ok());
  ASSERT_TRUE(models_.RefreshBase(*store_, kTenant, id).ok());
}

std::string CatalogFixture::AddRevision(const std::string& adapter, const std::string& base, const std::string& seed,
                                        const std::vector<std::string>& labels) {
  NewRevision revision;
  revision.adapter_id = adapter;
  revision.base = "bases/" + base;
  revision.base_digest = Sha256Hex("base " + base);
  revision.task = v1::TASK_SEQUENCE_CLASSIFICATION;
  revision.method = v1::METHOD_LORA;
  revision.labels = labels;
  v1::FileEntry& file = revision.files.emplace_back();
  file.set_path("adapter_model.safetensors");
  file.set_sha256(Sha256Hex(seed));
  std::string name;
  clock_.Advance(absl::Seconds(1));
  const absl::Status written = store_->Write([&](Transaction& transaction) -> absl::Status {
    ASSIGN_OR_RETURN(name, PutRevision(transaction, kTenant, revision, clock_.Now()));
    return absl::OkStatus();
  });
  EXPECT_TRUE(written.ok()) << written;
  EXPECT_TRUE(models_.RefreshAdapter(*store_, kTenant, adapter).ok());
  return name;
}

namespace {

void PutJob(Store& store, const std::string& kind, const std::string& name, const internal::v1::JobRecord& job) {
  const absl::Status written = store.Write([&](Transaction& transaction) {
    Record record = MakeRecord(kTenant, kind, name.substr(name.find('/') + 1), "", absl::UnixEpoch(), job);
    record.state = v1::JobState_Name(job.has_eval() ? job.eval().state() : job.finetune().state());
    return transaction.Insert(record);
  });
  ASSERT_TRUE(written.ok()) << written;
}

}  // namespace

void CatalogFixture::AddOpenJob(const v1::FinetuneJob& job) {
  internal::v1::JobRecord record;
  *record.mutable_finetune() = job;
  record.mutable_finetune()->set_state(v1::JOB_STATE_QUEUED);
  PutJob(*store_, "finetune_job", job.name(), record);
}

void CatalogFixture::AddOpenJob(const v1::EvalJob& job) {
  internal::v1::JobRecord record;
  *record.mutable_eval() = job;
  record.mutable_eval()->set_state(v1::JOB_STATE_RUNNING);
  PutJob(*store_, "eval_job", job.name(), record);
}

CallScope CatalogFixture::Scope() const {
  CallScope scope;
  scope.tenant = kTenant;
  scope.loopback = true;
  return scope;
}

int CountFiles(const std::filesystem::path& folder) {
  int count = 0;
  if (!std::filesystem::exists(folder)) return 0;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(folder)) count += entry.is_regular_file();
  return count;
}

}  // namespace tenon::server
