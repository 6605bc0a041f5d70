#include "server/blobs/dir/dir_blob_store.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>

#include <csignal>
#include <fstream>
#include <map>
#include <thread>
#include <vector>

#include "common/digest.h"
#include "common/formats/status.h"
#include "tests/common/formats/temp_folder.h"

namespace tenon::server {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

constexpr int64_t kNoLimit = int64_t{1} << 40;

class DirBlobStoreTest : public testing::Test {
 protected:
  DirBlobStoreTest() { Reopen(); }
  void Reopen() {
    auto store = OpenDirBlobStore(root());
    ASSERT_TRUE(store.ok()) << store.status();
    store_ = *std::move(store);
  }
  fs::path root() const { return folder_.path() / "data" / "blobs"; }
  absl::StatusOr<std::string> Put(const std::string& bytes, const std::string& expected = "") {
    ASSIGN_OR_RETURN(const auto writer, store_->Create(kNoLimit));
    RETURN_IF_ERROR(writer->Append(bytes));
    return writer->Commit(expected);
  }
  fs::path WriteFile(const std::string& name, const std::string& bytes) {
    const fs::path file = folder_.path() / name;
    std::ofstream(file, std::ios::binary) << bytes;
    return file;
  }
  // Files below the root, temporary ones included.
  int CountFiles() const {
    int count = 0;
    for (const auto& entry : fs::recursive_directory_iterator(root())) count += entry.is_regular_file() ? 1 : 0;
    return count;
  }

  test::TempFolder folder_;
  std::unique_ptr<BlobStore> store_;
};

TEST_F(DirBlobStoreTest, GivesBackBytesUnderTheirDigest) {
  std::string bytes(3'000'000, '\0');
  for (size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<char>(i * 31 + i / 257);
  const auto writer = *store_->Create(kNoLimit);
  for (size_t at = 0; at < bytes.size(); at += 700'001) ASSERT_TRUE(writer->Append(bytes.substr(at, 700'001)).ok());
  const auto digest = writer->Commit("");
  ASSERT_TRUE(digest.ok()) << digest.status();
  EXPECT_EQ(*digest, Sha256Hex(bytes));
  Reopen();
  EXPECT_EQ(*store_->Size(*digest), 3'000'000);
  std::string read;
  size_t largest = 0;
  ASSERT_TRUE(store_
                  ->Read(*digest,
                         [&](const std::string& piece) {
                           read += piece;
                           largest = std::max(largest, piece.size());
                           return absl::OkStatus();
                         })
                  .ok());
  EXPECT_EQ(read, bytes);
  EXPECT_LE(largest, size_t{1} << 20);
  EXPECT_TRUE(fs::exists(root() / digest->substr(0, 2) / *digest));
}

TEST_F(DirBlobStoreTest, AnEmptyBlobIsABlob) {
  const auto digest = Put("");
  ASSERT_TRUE(digest.ok());
  EXPECT_EQ(*store_->ReadAll(*digest, 0), "");
}

TEST_F(DirBlobStoreTest, AnotherDigestThanAnnouncedLeavesNothing) {
  const auto wrong = Put("bytes", Sha256Hex("other"));
  EXPECT_EQ(GetReason(wrong.status()), Reason::kDigestMismatch);
  EXPECT_EQ(CountFiles(), 0);
  EXPECT_TRUE(Put("bytes", Sha256Hex("bytes")).ok());
}

TEST_F(DirBlobStoreTest, AWriterThatIsDroppedLeavesNothing) {
  {
    const auto writer = *store_->Create(kNoLimit);
    ASSERT_TRUE(writer->Append("half").ok());
    EXPECT_EQ(CountFiles(), 1);
  }
  EXPECT_EQ(CountFiles(), 0);
}

TEST_F(DirBlobStoreTest, WhatACrashLeftIsRemovedAtTheStart) {
  std::ofstream(root() / "tmp" / "17") << "half";
  Reopen();
  EXPECT_EQ(CountFiles(), 0);
}

TEST_F(DirBlobStoreTest, TheLimitHoldsWhileWriting) {
  const auto writer = *store_->Create(10);
  EXPECT_TRUE(writer->Append("0123456789").ok());
  EXPECT_EQ(GetReason(writer->Append("x")), Reason::kTooLarge);
}

TEST_F(DirBlobStoreTest, ReadAllRefusesLargeBlobs) {
  const std::string digest = *Put("0123456789");
  EXPECT_EQ(GetReason(store_->ReadAll(digest, 9).status()), Reason::kTooLarge);
  EXPECT_EQ(*store_->ReadAll(digest, 10), "0123456789");
}

TEST_F(DirBlobStoreTest, NamesThatAreNoDigestsAreRefused) {
  for (const std::string& name :
       {std::string("../../etc/passwd"), std::string(), std::string(64, 'G'), std::string(63, 'a')}) {
    EXPECT_EQ(GetReason(store_->Size(name).status()), Reason::kFieldInvalid) << name;
    EXPECT_EQ(GetReason(store_->Delete(name)), Reason::kFieldInvalid) << name;
  }
}

TEST_F(DirBlobStoreTest, MissingBlobsAreNotFound) {
  const std::string digest = Sha256Hex("nobody");
  EXPECT_EQ(GetReason(store_->Size(digest).status()), Reason::kNotFound);
  EXPECT_EQ(GetReason(store_->ReadAll(digest, kNoLimit).status()), Reason::kNotFound);
  EXPECT_EQ(GetReason(store_->Delete(digest)), Reason::kNotFound);
}

TEST_F(DirBlobStoreTest, ReadStopsAtTheSinksError) {
  const std::string digest = *Put(std::string(3 << 20, 'x'));
  int pieces = 0;
  const absl::Status status = store_->Read(digest, [&](const std::string&) {
    ++pieces;
    return absl::CancelledError("enough");
  });
  EXPECT_TRUE(absl::IsCancelled(status));
  EXPECT_EQ(pieces, 1);
}

TEST_F(DirBlobStoreTest, ALinkReadsTheFileInPlace) {
  const fs::path file = WriteFile("model.safetensors", "weights");
  const std::string digest = Sha256Hex("weights");
  ASSERT_TRUE(store_->Link(file, digest).ok());
  Reopen();
  EXPECT_EQ(*store_->Size(digest), 7);
  EXPECT_EQ(*store_->ReadAll(digest, 100), "weights");
  ASSERT_TRUE(store_->Delete(digest).ok());
  EXPECT_TRUE(fs::exists(file)) << "only the link goes";
}

TEST_F(DirBlobStoreTest, ALinkIsCheckedByDigest) {
  const fs::path file = WriteFile("model.safetensors", "weights");
  EXPECT_EQ(GetReason(store_->Link(file, Sha256Hex("other"))), Reason::kDigestMismatch);
  EXPECT_EQ(GetReason(store_->Link(folder_.path() / "missing", Sha256Hex("x"))), Reason::kNotFound);
  EXPECT_EQ(CountFiles(), 0);
}

TEST_F(DirBlobStoreTest, ALinkedFileThatChangedIsAFault) {
  const fs::path file = WriteFile("model.safetensors", "weights");
  const std::string digest = Sha256Hex("weights");
  ASSERT_TRUE(store_->Link(file, digest).ok());
  WriteFile("model.safetensors", "other weights");
  EXPECT_EQ(GetReason(store_->Size(digest).status()), Reason::kStorageFault);
  fs::remove(file);
  const absl::Status gone = store_->ReadAll(digest, 100).status();
  EXPECT_EQ(GetReason(gone), Reason::kStorageFault);
  EXPECT_THAT(std::string(gone.message()), HasSubstr("model.safetensors"));
}

TEST_F(DirBlobStoreTest, ListNamesEveryBlobOnce) {
  const fs::path file = WriteFile("linked", "linked");
  ASSERT_TRUE(store_->Link(file, Sha256Hex("linked")).ok());
  std::map<std::string, int> expected = {{*Put("a"), 1}, {*Put("b"), 1}, {Sha256Hex("linked"), 1}};
  const auto unfinished = *store_->Create(kNoLimit);
  ASSERT_TRUE(unfinished->Append("tmp").ok());
  std::map<std::string, int> seen;
  ASSERT_TRUE(store_
                  ->List([&](const std::string& digest, int64_t age) {
                    ++seen[digest];
                    EXPECT_GE(age, 0);
                    EXPECT_LT(age, 600);
                  })
                  .ok());
  EXPECT_EQ(seen, expected);
}

TEST_F(DirBlobStoreTest, ManyWritersOfTheSameBytesAgree) {
  std::vector<std::thread> threads;
  for (int i = 0; i < 8; ++i) {
    threads.emplace_back([&] {
      for (int round = 0; round < 10; ++round) EXPECT_TRUE(Put("round " + std::to_string(round)).ok());
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(CountFiles(), 10);
}

TEST_F(DirBlobStoreTest, AWriteFaultIsReportedAndLeavesNothing) {
  rlimit old_limit;
  ASSERT_EQ(getrlimit(RLIMIT_FSIZE, &old_limit), 0);
  const auto old_handler = std::signal(SIGXFSZ, SIG_IGN);
  rlimit limit = old_limit;
  limit.rlim_cur = 1000;
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &limit), 0);
  const absl::Status status = Put(std::string(5000, 'x')).status();
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &old_limit), 0);
  std::signal(SIGXFSZ, old_handler);
  EXPECT_EQ(GetReason(status), Reason::kStorageFault) << status;
  EXPECT_EQ(CountFiles(), 0);
  EXPECT_TRUE(Put(std::string(5000, 'x')).ok());
}

}  // namespace
}  // namespace tenon::server
