#include "common/log_file.h"

#include <gtest/gtest.h>
#include <spdlog/logger.h>

#include <filesystem>
#include <fstream>

#include "common/formats/status.h"
#include "tests/common/formats/temp_folder.h"

namespace tenon {
namespace {

namespace fs = std::filesystem;

TEST(LogFileTest, StaysWithinItsBoundAndKeepsTheNewest) {
  const test::TempFolder folder;
  const fs::path file = folder.path() / "log" / "server.log";
  const auto sink = OpenLogFile(file, 1000);
  ASSERT_TRUE(sink.ok()) << sink.status();
  spdlog::logger log("test", *sink);
  for (int i = 0; i < 1000; ++i) log.info("line {}", i);
  log.flush();
  int files = 0;
  for (const auto& entry : fs::directory_iterator(folder.path() / "log")) {
    ++files;
    EXPECT_LE(entry.file_size(), 1000u) << entry.path();
  }
  EXPECT_EQ(files, 1 + kOldLogFiles);
  std::ifstream in(file);
  const std::string text{std::istreambuf_iterator<char>(in), {}};
  EXPECT_NE(text.find("line 999"), std::string::npos);
}

TEST(LogFileTest, AppendsAfterARestart) {
  const test::TempFolder folder;
  const fs::path file = folder.path() / "server.log";
  for (const char* run : {"first", "second"}) {
    spdlog::logger log(run, *OpenLogFile(file, 1000));
    log.info("{}", run);
  }
  std::ifstream in(file);
  const std::string text{std::istreambuf_iterator<char>(in), {}};
  EXPECT_NE(text.find("first"), std::string::npos);
  EXPECT_NE(text.find("second"), std::string::npos);
}

TEST(LogFileTest, NamesAFileThatCannotBe) {
  const absl::Status status = OpenLogFile("/proc/nothing/server.log", 1000).status();
  EXPECT_EQ(GetReason(status), Reason::kOptionInvalid);
  EXPECT_NE(status.message().find("/proc/nothing/server.log"), absl::string_view::npos);
}

}  // namespace
}  // namespace tenon
