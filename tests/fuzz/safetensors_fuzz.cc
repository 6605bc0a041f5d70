#include <gtest/gtest.h>

#include <cstring>

#include "common/formats/safetensors.h"
#include "common/formats/status.h"
#include "tests/fuzz/mutate.h"

namespace tenon::formats {
namespace {

std::string File(const std::string& header, size_t data) {
  const uint64_t size = header.size();
  std::string bytes(8, '\0');
  std::memcpy(bytes.data(), &size, 8);
  return bytes + header + std::string(data, 'd');
}

// Whatever is accepted must be safe to read: views stay in the data, and sizes are what shapes say.
TEST(SafetensorsFuzz, AcceptsOnlyWhatIsSafe) {
  fuzz::Mutator mutator(
      {File(
           R"({"__metadata__":{"format":"pt"},"a":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]},"b":{"dtype":"I64","shape":[],"data_offsets":[24,32]}} )",
           32),
       File(
           R"({"w":{"dtype":"BF16","shape":[0,7],"data_offsets":[0,0]},"x":{"dtype":"U8","shape":[5],"data_offsets":[0,5]}})",
           5),
       File("{}", 0)},
      {"\"dtype\":", "\"shape\":[", "\"data_offsets\":[0,8]", "9223372036854775807", "18446744073709551615",
       "4294967296", "-1", "1e9", "null", "[[[[", "{", "}", ",", "\"F64\"", "\"a\":", "\\u0000", std::string(8, '\xFF'),
       std::string(8, '\0')},
      1);
  int accepted = 0;
  for (int i = 0; i < 120'000; ++i) {
    const std::string bytes = mutator.Next();
    const auto file = Safetensors::Parse(bytes, {});
    if (!file.ok()) {
      ASSERT_NE(GetReason(file.status()), Reason::kUnspecified) << file.status();
      continue;
    }
    ++accepted;
    uint64_t sum = 0, total = 0;
    for (const auto& [name, view] : (*file)->tensors()) {
      int64_t size = ItemSize(view.dtype);
      for (const int64_t extent : view.shape) size *= extent;
      ASSERT_EQ(size, view.size_bytes) << name;
      for (int64_t j = 0; j < view.size_bytes; ++j) sum += view.data[j];
      total += static_cast<uint64_t>(view.size_bytes);
    }
    ASSERT_LE(total, bytes.size());
    ASSERT_LE(sum, total * 255);
  }
  EXPECT_GT(accepted, 100) << "mutations so wild that nothing behind the first check is reached";
}

}  // namespace
}  // namespace tenon::formats
