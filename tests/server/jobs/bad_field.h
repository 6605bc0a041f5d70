// A job that is refused, by the field at fault: a parameter of tests of every task.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <string>

#include "common/formats/status.h"
#include "server/jobs/finetune_request.h"

namespace tenon::server::testing {

struct BadField {
  const char* field;
  Reason reason;
  const char* message;
  std::function<void(v1::FinetuneJob&)> change;
};

// The good `request` with the change is refused, with this field, reason and message.
inline void ExpectNamed(v1::FinetuneJob request, const BadField& bad) {
  bad.change(request);
  const absl::Status status = NormalizeFinetune(request, 1).status();
  EXPECT_EQ(GetReason(status), bad.reason) << status;
  EXPECT_EQ(GetField(status), bad.field) << status;
  EXPECT_THAT(std::string(status.message()), ::testing::HasSubstr(bad.message));
}

}  // namespace tenon::server::testing
