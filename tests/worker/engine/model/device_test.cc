#include "worker/engine/device.h"

#include <gtest/gtest.h>

#include "common/formats/status.h"

namespace tenon::engine {
namespace {

TEST(ParseDevice, Cpu) {
  const auto device = ParseDevice("cpu");
  ASSERT_TRUE(device.ok());
  EXPECT_EQ(device->kind, Device::Kind::kCpu);
  EXPECT_EQ(device->ToString(), "cpu");
}

TEST(ParseDevice, RefusesWhatIsNoDeviceAndSaysSo) {
  for (const char* text : {"", "gpu", "CPU", "cuda:", "cuda:x", "cuda:-1", "cuda:1 ", "cuda:4096", "cpu:0"}) {
    const auto device = ParseDevice(text);
    ASSERT_FALSE(device.ok()) << text;
    EXPECT_EQ(GetReason(device.status()), Reason::kOptionInvalid) << text;
    EXPECT_EQ(GetField(device.status()), "device");
  }
}

TEST(Device, CudaNamesItsIndex) { EXPECT_EQ((Device{Device::Kind::kCuda, 3}).ToString(), "cuda:3"); }

TEST(ParsePrecision, KnowsTwo) {
  EXPECT_EQ(*ParsePrecision("fp32"), Precision::kFp32);
  EXPECT_EQ(*ParsePrecision("bf16"), Precision::kBf16);
  EXPECT_EQ(GetReason(ParsePrecision("fp16").status()), Reason::kOptionInvalid);
  EXPECT_NE(ParsePrecision("fp16").status().message().find("overflow"), absl::string_view::npos) << "says why";
}

}  // namespace
}  // namespace tenon::engine
