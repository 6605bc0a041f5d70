#include "common/status_proto.h"

#include <gtest/gtest.h>

#include "google/rpc/error_details.pb.h"

namespace tenon {
namespace {

template <typename Detail>
bool Find(const google::rpc::Status& status, Detail* detail) {
  for (const auto& any : status.details()) {
    if (any.UnpackTo(detail)) return true;
  }
  return false;
}

TEST(ToRpcStatus, CarriesReasonAndField) {
  const auto rpc = ToRpcStatus(TenonError(Reason::kTextEmpty, "texts[3]: the text is empty", "texts[3]"));
  EXPECT_EQ(rpc.code(), static_cast<int>(absl::StatusCode::kInvalidArgument));
  google::rpc::ErrorInfo info;
  ASSERT_TRUE(Find(rpc, &info));
  EXPECT_EQ(info.reason(), "TEXT_EMPTY");
  EXPECT_EQ(info.domain(), "tenon");
  google::rpc::BadRequest bad_request;
  ASSERT_TRUE(Find(rpc, &bad_request));
  EXPECT_EQ(bad_request.field_violations(0).field(), "texts[3]");
}

TEST(ToRpcStatus, HintsWhenToRetry) {
  google::rpc::RetryInfo retry;
  EXPECT_TRUE(Find(ToRpcStatus(TenonError(Reason::kQueueFull, "full")), &retry));
  EXPECT_GT(retry.retry_delay().seconds(), 0);
  EXPECT_FALSE(Find(ToRpcStatus(TenonError(Reason::kTextEmpty, "empty")), &retry));
}

TEST(ToRpcStatus, KeepsInternalsToItself) {
  const auto rpc = ToRpcStatus(absl::DataLossError("secret: row 17 of table jobs"));
  EXPECT_EQ(rpc.code(), static_cast<int>(absl::StatusCode::kInternal));
  EXPECT_EQ(rpc.message().find("secret"), std::string::npos);
}

TEST(ToRpcStatus, StaysUnderFourKilobytes) {
  std::string wide;
  for (int i = 0; i < 20000; ++i) wide += "\xE2\x82\xAC";
  const auto rpc = ToRpcStatus(TenonError(Reason::kQueueFull, wide, wide));
  EXPECT_LT(rpc.ByteSizeLong(), 4096u);
  EXPECT_FALSE(rpc.SerializeAsString().empty());  // still UTF-8: protobuf would refuse it otherwise
}

TEST(GrpcStatus, RoundTrips) {
  const absl::Status sent = TenonError(Reason::kLabelUnknown, "row 7: label 'x' is not in the set", "row 7");
  const absl::Status got = FromGrpcStatus(ToGrpcStatus(sent));
  EXPECT_EQ(got.code(), sent.code());
  EXPECT_EQ(got.message(), sent.message());
  EXPECT_EQ(GetReason(got), Reason::kLabelUnknown);
  EXPECT_EQ(GetField(got), "row 7");
  EXPECT_TRUE(FromGrpcStatus(ToGrpcStatus(absl::OkStatus())).ok());
}

TEST(FromGrpcStatus, TakesForeignErrorsAsTheyAre) {
  const absl::Status got = FromGrpcStatus(grpc::Status(grpc::StatusCode::UNAVAILABLE, "connection refused"));
  EXPECT_EQ(got.code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(GetReason(got), Reason::kUnspecified);
  const absl::Status garbled = FromGrpcStatus(grpc::Status(grpc::StatusCode::UNKNOWN, "x", "\xff\xff not a proto"));
  EXPECT_EQ(garbled.code(), absl::StatusCode::kUnknown);
}

TEST(ErrorProto, RoundTrips) {
  const absl::Status sent = TenonError(Reason::kLossNotFinite, "step 12: the loss is nan", "learning_rate");
  const absl::Status got = FromErrorProto(ToErrorProto(sent));
  EXPECT_EQ(got, sent);
  const absl::Status plain = FromErrorProto(ToErrorProto(absl::UnknownError("odd")));
  EXPECT_EQ(plain, absl::UnknownError("odd"));
}

TEST(Annotate, KeepsReasonAndField) {
  const absl::Status status =
      Annotate(TenonError(Reason::kBaseInvalid, "config.json: no hidden_size", "hidden_size"), "bases/x: ");
  EXPECT_EQ(status.message(), "bases/x: config.json: no hidden_size");
  EXPECT_EQ(GetReason(status), Reason::kBaseInvalid);
  EXPECT_EQ(GetField(status), "hidden_size");
}

TEST(Reasons, NamesAndCodesAreComplete) {
  EXPECT_STREQ(ReasonName(Reason::kTextEmpty), "TEXT_EMPTY");
  EXPECT_EQ(ReasonFromName("TEXT_EMPTY"), Reason::kTextEmpty);
  EXPECT_EQ(ReasonFromName("NO_SUCH_REASON"), Reason::kUnspecified);
  EXPECT_EQ(ReasonFromName(""), Reason::kUnspecified);
  EXPECT_EQ(ReasonCode(Reason::kQueueFull), absl::StatusCode::kResourceExhausted);
}

}  // namespace
}  // namespace tenon
