// Files of checkpoints that nobody needs, and workers that come back to the same bytes meanwhile.
#include <gtest/gtest.h>

#include "server/app/job_cleaner.h"
#include "tests/server/app_jobs/rig.h"

namespace tenon::server {
namespace {

// The store, with something that happens while a sweep reads it.
class BusyStore final : public Store {
 public:
  explicit BusyStore(Store* store) : store_(store) {}
  absl::Status Write(WriteBody body) override { return store_->Write(std::move(body)); }
  void WriteAsync(WriteBody body, std::function<void(absl::Status)> done) override {
    store_->WriteAsync(std::move(body), std::move(done));
  }
  absl::Status Read(const ReadBody& body) override {
    const absl::Status status = store_->Read(body);
    if (behind_read) behind_read();
    return status;
  }
  bool writable() const override { return store_->writable(); }

  std::function<void()> behind_read;

 private:
  Store* const store_;
};

class CleanerTest : public Rig {
 protected:
  const absl::Duration kGrace = absl::Seconds(60);
  BusyStore busy_{store_.get()};
  const JobBoard board_{1, "server"};
  JobCleaner cleaner_{&busy_, blobs_.get(), &board_, kGrace};
};

TEST_F(CleanerTest, DeletesWhatIsDueAndNoMore) {
  const v1::FileEntry old = PutBlob("state", "old"), other = PutBlob("state", "other");
  cleaner_.Drop({old.sha256()}, clock_.Now());
  EXPECT_FALSE(cleaner_.IsDue(clock_.Now()));
  clock_.Advance(kGrace);
  ASSERT_TRUE(cleaner_.Sweep(clock_.Now()).ok());
  EXPECT_FALSE(HasBlob(old));
  EXPECT_TRUE(HasBlob(other));
}

TEST_F(CleanerTest, AFileThatAWorkerStoresAgainGetsAnotherGrace) {
  const v1::FileEntry file = PutBlob("state", "bytes");
  cleaner_.Drop({file.sha256()}, clock_.Now());
  clock_.Advance(kGrace);
  cleaner_.Keep(file.sha256(), clock_.Now());
  EXPECT_FALSE(cleaner_.IsDue(clock_.Now()));
  clock_.Advance(kGrace);
  ASSERT_TRUE(cleaner_.Sweep(clock_.Now()).ok());
  EXPECT_FALSE(HasBlob(file)) << "nobody reported it";
}

TEST_F(CleanerTest, SoDoesOneThatComesInTheMiddleOfASweep) {
  const v1::FileEntry file = PutBlob("state", "bytes"), gone = PutBlob("state", "gone");
  cleaner_.Drop({file.sha256(), gone.sha256()}, clock_.Now());
  clock_.Advance(kGrace);
  busy_.behind_read = [&] { cleaner_.Keep(file.sha256(), clock_.Now()); };
  ASSERT_TRUE(cleaner_.Sweep(clock_.Now()).ok());
  EXPECT_TRUE(HasBlob(file)) << "the sweep had seen no reference to it";
  EXPECT_FALSE(HasBlob(gone));
  busy_.behind_read = nullptr;
  clock_.Advance(kGrace);
  ASSERT_TRUE(cleaner_.Sweep(clock_.Now()).ok());
  EXPECT_FALSE(HasBlob(file));
}

}  // namespace
}  // namespace tenon::server
