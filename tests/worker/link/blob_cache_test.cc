#include "worker/link/blob_cache.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <atomic>
#include <fstream>
#include <iterator>
#include <thread>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/notification.h"
#include "common/digest.h"
#include "common/formats/status.h"
#include "tests/common/formats/temp_folder.h"

namespace tenon::link {
namespace {

namespace fs = std::filesystem;

class BlobCacheTest : public ::testing::Test {
 protected:
  BlobCacheTest() { Open(); }

  void Open(int64_t max_bytes = 100'000) {
    cache_.reset();
    auto cache = BlobCache::Open(root_, max_bytes, [this](const v1::FileEntry& entry, const fs::path& file) {
      ++fetches_;
      if (on_fetch_) on_fetch_();
      const auto found = blobs_.find(entry.sha256());
      if (found == blobs_.end()) return TenonError(Reason::kNotFound, "no such blob");
      std::ofstream(file, std::ios::binary) << found->second;
      return absl::OkStatus();
    });
    ASSERT_TRUE(cache.ok()) << cache.status();
    cache_ = *std::move(cache);
  }
  BlobCache::Files Files(const std::map<std::string, std::string>& files) {
    BlobCache::Files entries;
    for (const auto& [name, bytes] : files) {
      v1::FileEntry& entry = *entries.Add();
      entry.set_path(name);
      entry.set_size_bytes(static_cast<int64_t>(bytes.size()));
      entry.set_sha256(Sha256Hex(bytes));
      blobs_[entry.sha256()] = bytes;
    }
    return entries;
  }
  static std::string ReadAll(const fs::path& file) {
    std::ifstream in(file, std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
  }
  static std::string Digest(int n) { return Sha256Hex(absl::StrCat("digest ", n)); }
  // 'R': the thread runs, 'S': it waits.
  static char StateOf(pid_t thread) {
    std::ifstream in(absl::StrCat("/proc/self/task/", thread, "/stat"));
    std::string number, name, state;  // the name is in brackets and has no space here
    in >> number >> name >> state;
    return state.empty() ? '?' : state[0];
  }
  size_t BlobsOnDisk() {
    return static_cast<size_t>(std::distance(fs::directory_iterator(root_ / "blobs"), fs::directory_iterator()));
  }

  test::TempFolder folder_;
  const fs::path root_ = folder_.path();
  std::map<std::string, std::string> blobs_;
  std::atomic<int> fetches_{0};
  std::function<void()> on_fetch_;
  std::unique_ptr<BlobCache> cache_;
};

TEST_F(BlobCacheTest, MakesFoldersUnderTheFilesOwnNamesAndFetchesOnce) {
  const auto files = Files({{"config.json", "{}"}, {"1_Pooling_config.json", "{\"p\":1}"}});
  const auto folder = cache_->BaseFolder(Digest(1), files);
  ASSERT_TRUE(folder.ok()) << folder.status();
  EXPECT_EQ(ReadAll(*folder / "config.json"), "{}");
  EXPECT_EQ(ReadAll(*folder / "1_Pooling_config.json"), "{\"p\":1}");
  EXPECT_EQ(fetches_, 2);
  EXPECT_EQ(*cache_->BaseFolder(Digest(1), files), *folder);
  EXPECT_EQ(fetches_, 2);
}

TEST_F(BlobCacheTest, SharesABlobBetweenFolders) {
  ASSERT_TRUE(cache_->AdapterFolder(Digest(1), Files({{"adapter_config.json", "same"}, {"w", "one"}})).ok());
  ASSERT_TRUE(cache_->AdapterFolder(Digest(2), Files({{"adapter_config.json", "same"}, {"w", "two"}})).ok());
  EXPECT_EQ(fetches_, 3);
}

TEST_F(BlobCacheTest, SurvivesARestart) {
  const auto files = Files({{"w", "weights"}});
  ASSERT_TRUE(cache_->AdapterFolder(Digest(1), files).ok());
  Open();
  ASSERT_TRUE(cache_->AdapterFolder(Digest(1), files).ok());
  EXPECT_EQ(fetches_, 1);
  EXPECT_EQ(cache_->adapter_bytes(), 7);
}

TEST_F(BlobCacheTest, AFileThatWasCutIsFetchedAgain) {
  const auto files = Files({{"w", "weights"}});
  const auto folder = cache_->AdapterFolder(Digest(1), files);
  fs::resize_file(*folder / "w", 3);  // the blob too: it is the same file
  Open();
  ASSERT_TRUE(cache_->AdapterFolder(Digest(1), files).ok());
  EXPECT_EQ(ReadAll(*folder / "w"), "weights");
}

TEST_F(BlobCacheTest, AFileOfTheSameSizeWithAnotherBitIsFetchedAgainAfterARestart) {
  const auto files = Files({{"w", "weights"}, {"config", "same"}});
  for (const bool base : {true, false}) {
    const auto get = [&] {
      return base ? cache_->BaseFolder(Digest(1), files) : cache_->AdapterFolder(Digest(1), files);
    };
    const auto folder = get();
    ASSERT_TRUE(folder.ok());
    std::ofstream(*folder / "w", std::ios::binary | std::ios::in) << "W";  // the blob too
    Open();
    const int before = fetches_;
    ASSERT_TRUE(get().ok());
    EXPECT_EQ(ReadAll(*folder / "w"), "weights");
    EXPECT_EQ(fetches_, before + 1);
    ASSERT_TRUE(get().ok());
    EXPECT_EQ(fetches_, before + 1) << "checked once";
  }
}

TEST_F(BlobCacheTest, ABrokenFileOfOneFolderIsMendedInTheOthers) {
  const auto one = Files({{"shared", "bytes"}, {"w", "one"}}), two = Files({{"shared", "bytes"}, {"w", "two"}});
  const auto first = cache_->AdapterFolder(Digest(1), one), second = cache_->AdapterFolder(Digest(2), two);
  std::ofstream(*first / "shared", std::ios::binary | std::ios::in) << "B";
  Open();
  ASSERT_TRUE(cache_->AdapterFolder(Digest(1), one).ok());
  ASSERT_TRUE(cache_->AdapterFolder(Digest(2), two).ok());
  EXPECT_EQ(ReadAll(*first / "shared"), "bytes");
  EXPECT_EQ(ReadAll(*second / "shared"), "bytes");
}

TEST_F(BlobCacheTest, ABrokenFileThatCannotBeFetchedIsAnErrorAndNotUsed) {
  const auto files = Files({{"w", "weights"}});
  const auto folder = cache_->AdapterFolder(Digest(1), files);
  std::ofstream(*folder / "w", std::ios::binary | std::ios::in) << "W";
  Open();
  blobs_.clear();
  EXPECT_EQ(GetReason(cache_->AdapterFolder(Digest(1), files).status()), Reason::kNotFound);
}

TEST_F(BlobCacheTest, TheLeastRecentlyUsedAdaptersLeave) {
  Open(20'000);
  std::vector<BlobCache::Files> files;
  for (int i = 0; i < 30; ++i) {
    files.push_back(Files({{"w", std::string(1000, static_cast<char>('a' + i))}, {"config", "same for all"}}));
    ASSERT_TRUE(cache_->AdapterFolder(Digest(i), files[i]).ok());
    ASSERT_TRUE(cache_->AdapterFolder(Digest(0), files[0]).ok());
    EXPECT_LE(cache_->adapter_bytes(), 20'000);
  }
  EXPECT_TRUE(fs::exists(root_ / "adapters" / Digest(0))) << "used all the time";
  EXPECT_TRUE(fs::exists(root_ / "adapters" / Digest(29)));
  EXPECT_FALSE(fs::exists(root_ / "adapters" / Digest(1)));
  EXPECT_LE(BlobsOnDisk(), 21u) << "their blobs left, too";
  const int before = fetches_;
  ASSERT_TRUE(cache_->AdapterFolder(Digest(1), files[1]).ok());
  EXPECT_EQ(fetches_, before + 1) << "the shared file is still here";
}

TEST_F(BlobCacheTest, AFolderThatIsJustHandedOutIsNotTrimmed) {
  const auto old = Files({{"a", std::string(100, 'a')}, {"b", std::string(100, 'b')}});
  ASSERT_TRUE(cache_->AdapterFolder(Digest(0), old).ok());
  for (int i = 1; i <= 8; ++i) {
    ASSERT_TRUE(cache_->AdapterFolder(Digest(i), Files({{"w", absl::StrCat("weights ", i)}})).ok());
  }
  const auto large = Files({{"w", std::string(2000, 'l')}});
  Open(1000);                                     // nothing is checked yet
  fs::remove(root_ / "blobs" / old[1].sha256());  // so that it is fetched again, in the middle of the check
  absl::Notification reached, open;
  on_fetch_ = [&] {
    if (reached.HasBeenNotified()) return;
    reached.Notify();
    open.WaitForNotification();
  };
  std::thread handing([&] {
    const auto folder = cache_->AdapterFolder(Digest(0), old);
    ASSERT_TRUE(folder.ok()) << folder.status();
    EXPECT_EQ(ReadAll(*folder / "b"), std::string(100, 'b'));
  });
  reached.WaitForNotification();
  ASSERT_TRUE(cache_->AdapterFolder(Digest(9), large).ok());
  EXPECT_TRUE(fs::exists(root_ / "adapters" / Digest(0))) << "the least recently used, and in use";
  EXPECT_FALSE(fs::exists(root_ / "adapters" / Digest(1)));
  open.Notify();
  handing.join();
}

TEST_F(BlobCacheTest, BasesStayWhateverTheBound) {
  Open(1);
  const auto base = Files({{"model.safetensors", std::string(5000, 'm')}});
  ASSERT_TRUE(cache_->BaseFolder(Digest(1), base).ok());
  for (int i = 10; i < 40; ++i) {
    ASSERT_TRUE(cache_->AdapterFolder(Digest(i), Files({{"w", absl::StrCat(i)}})).ok());
  }
  EXPECT_TRUE(fs::exists(root_ / "bases" / Digest(1) / "model.safetensors"));
}

TEST_F(BlobCacheTest, AFailedFetchLeavesNothing) {
  auto files = Files({{"a", "one"}, {"b", "two"}});
  blobs_.erase(files[1].sha256());
  EXPECT_EQ(GetReason(cache_->AdapterFolder(Digest(1), files).status()), Reason::kNotFound);
  EXPECT_FALSE(fs::exists(root_ / "adapters" / Digest(1)));
  EXPECT_TRUE(fs::is_empty(root_ / "tmp"));
}

TEST_F(BlobCacheTest, NamesThatLeaveTheFolderAreRefused) {
  for (const std::string name : {"../x", "a/b", "", ".", "..", ".hidden", "/etc/passwd", "a\nb"}) {
    auto files = Files({{name, "x"}});
    EXPECT_FALSE(cache_->BaseFolder(Digest(1), files).ok()) << name;
  }
  EXPECT_FALSE(cache_->BaseFolder("../../x", Files({{"a", "x"}})).ok());
  EXPECT_FALSE(cache_->Read("../blobs").ok());
}

TEST_F(BlobCacheTest, TwoCallsForOneBlobFetchItOnce) {
  const auto files = Files({{"w", "weights"}});
  const auto more = Files({{"a", "fetched first"}, {"w", "weights"}});
  absl::Notification reached, open;
  std::atomic<pid_t> second_thread = 0;
  on_fetch_ = [&] {
    if (fetches_ == 2) {
      second_thread = gettid();  // it has its own file, and wants the other's next
      return;
    }
    if (!reached.HasBeenNotified()) reached.Notify();
    open.WaitForNotification();
  };
  std::thread first([&] { EXPECT_TRUE(cache_->AdapterFolder(Digest(1), files).ok()); });
  reached.WaitForNotification();
  std::thread second([&] { EXPECT_TRUE(cache_->AdapterFolder(Digest(2), more).ok()); });
  // It sleeps once it waits for the first, or in a fetch of its own.
  while (second_thread == 0 || StateOf(second_thread) != 'S') std::this_thread::yield();
  EXPECT_EQ(fetches_, 2);
  open.Notify();
  first.join();
  second.join();
  EXPECT_EQ(fetches_, 2);
}

TEST_F(BlobCacheTest, ABlobThatIsReadOnceIsNotKept) {
  const auto files = Files({{"rows", "text"}});
  const auto bytes = cache_->Read(files[0].sha256());
  ASSERT_TRUE(bytes.ok());
  EXPECT_EQ(*bytes, "text");
  EXPECT_EQ(BlobsOnDisk(), 0u);
}

TEST_F(BlobCacheTest, FillsAFolderOfTheCallersOwn) {
  const fs::path folder = root_ / "mine";
  ASSERT_TRUE(cache_->FillFolder(folder, Files({{"state", "s"}, {"optimizer", "o"}})).ok());
  EXPECT_EQ(ReadAll(folder / "state"), "s");
  EXPECT_EQ(ReadAll(folder / "optimizer"), "o");
}

}  // namespace
}  // namespace tenon::link
