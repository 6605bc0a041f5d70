// What the use cases of catalog, data sets and retrieval run on in tests: a real store and real blobs in a temporary
// folder, and a router that answers without workers.
#pragma once

#include <gtest/gtest.h>

#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "common/clock.h"
#include "common/event_loop.h"
#include "server/app/call_scope.h"
#include "server/app/datasets.h"
#include "server/blobs/blob_store.h"
#include "server/catalog/catalog.h"
#include "server/dispatch/inference.h"
#include "server/store/store.h"
#include "tenon/internal/v1/records.pb.h"
#include "tests/common/formats/temp_folder.h"

namespace tenon::server {

inline constexpr int kTestDimensions = 64;
inline constexpr char kTenant[] = "default";

// Embeds a text as the counts of its words, each word hashed to a place; so texts that share words are near. Answers
// from a thread of its own, as the real one does.
class WordRouter final : public InferenceRouter {
 public:
  uint64_t Submit(InferenceCall call, Done done) override;
  void Cancel(uint64_t call) override;

  // Every call fails with this from now on, until it is OK again.
  void FailWith(absl::Status status);
  // Calls are kept, unanswered.
  void Hold(bool hold);
  // Labels that a check of an adapter reports.
  void SetLabels(std::vector<std::string> labels);
  // The template that it reports.
  void SetTemplate(const std::string& input, const std::string& target);

  int calls() const;
  int cancelled() const;
  std::vector<InferenceCall> seen() const;
  // Returns once `count` calls were submitted in all.
  void AwaitCalls(int count) const;

 private:
  absl::StatusOr<internal::v1::InferenceResult> Answer(const InferenceCall& call) const;

  mutable absl::Mutex mutex_;
  std::vector<InferenceCall> seen_ ABSL_GUARDED_BY(mutex_);
  std::map<uint64_t, Done> waiting_ ABSL_GUARDED_BY(mutex_);
  absl::Status failure_ ABSL_GUARDED_BY(mutex_);
  bool hold_ ABSL_GUARDED_BY(mutex_) = false;
  std::vector<std::string> labels_ ABSL_GUARDED_BY(mutex_);
  v1::TextTemplate text_template_ ABSL_GUARDED_BY(mutex_);
  int cancelled_ ABSL_GUARDED_BY(mutex_) = 0;
  EventLoop loop_;
};

std::vector<float> WordVector(const std::string& text);

class CatalogFixture : public ::testing::Test {
 protected:
  CatalogFixture();

  // Closes and opens store and blobs, as a restart does.
  void Reopen();
  // Puts a base of kTestDimensions into the catalog without files.
  void AddBase(const std::string& id);
  // Puts a revision with these labels; its digest is made of `seed`.
  std::string AddRevision(const std::string& adapter, const std::string& base, const std::string& seed,
                          const std::vector<std::string>& labels);
  // Puts a job that is not final.
  void AddOpenJob(const v1::FinetuneJob& job);
  void AddOpenJob(const v1::EvalJob& job);

  CallScope Scope() const;
  // Messages of an upload, one after another.
  template <typename Message>
  static MessageSource<Message> Source(std::vector<Message> messages) {
    auto at = std::make_shared<size_t>(0);
    return [messages = std::move(messages), at](Message* message) {
      if (*at == messages.size()) return false;
      *message = messages[(*at)++];
      return true;
    };
  }

  test::TempFolder folder_;
  ManualClock clock_;
  WordRouter router_;
  std::unique_ptr<Store> store_;
  std::unique_ptr<BlobStore> blobs_;
  ModelIndex models_;
};

// Number of files below `folder`, in all folders.
int CountFiles(const std::filesystem::path& folder);

#define EXPECT_REASON(status, reason, field)                      \
  do {                                                            \
    const absl::Status expect_status = (status);                  \
    EXPECT_EQ(GetReason(expect_status), reason) << expect_status; \
    EXPECT_EQ(GetField(expect_status), field) << expect_status;   \
  } while (false)

}  // namespace tenon::server
