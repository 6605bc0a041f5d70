// How much was sent or received, on a terminal; files that go quickly show nothing.
#pragma once

#include <unistd.h>

#include <cstdio>
#include <string>

#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "client/cli/output.h"
#include "client/uploads.h"

namespace tenon::cli {

class UploadProgress {
 public:
  explicit UploadProgress(std::string what, std::string verb = "sent")
      : what_(std::move(what)), verb_(std::move(verb)), started_(absl::Now()) {}
  ~UploadProgress() {
    if (drawn_) std::fputs("\r\033[K", stderr);
  }
  UploadProgress(const UploadProgress&) = delete;
  UploadProgress& operator=(const UploadProgress&) = delete;

  client::SendProgress callback() {
    return [this](int64_t bytes, int64_t total) {
      if (!isatty(STDERR_FILENO) || absl::Now() - started_ < absl::Milliseconds(300)) return;
      std::fprintf(stderr, "\r\033[K%s: %s %s of %s", what_.c_str(), verb_.c_str(), FormatBytes(bytes).c_str(),
                   FormatBytes(total).c_str());
      drawn_ = true;
    };
  }

 private:
  const std::string what_, verb_;
  const absl::Time started_;
  bool drawn_ = false;
};

}  // namespace tenon::cli
