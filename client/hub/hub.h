// The Hugging Face Hub, or a mirror that speaks its API: what a repository holds at one commit, and its files.
#pragma once

#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "client/hub/download.h"
#include "client/hub/http.h"
#include "client/hub/listing.h"
#include "client/hub/retry.h"

namespace tenon::hub {

inline constexpr char kDefaultEndpoint[] = "https://huggingface.co";

struct HubOptions {
  std::string endpoint = kDefaultEndpoint;
  std::string token;
  HttpOptions http;
  RetryOptions retry;
};

// A repository at one commit.
struct Snapshot {
  std::string repository;
  std::string commit;
  std::vector<RemoteFile> files;

  // nullptr when there is no such file.
  const RemoteFile* Find(const std::string& path) const;
};

// Errors: NOT_FOUND (repository or revision, as far as the token may see), HUB_DENIED (gated, or a token without
// access), HUB_UNAVAILABLE (no connection, or still too busy after the tries), DATA_LOSS (an answer that makes no
// sense), CANCELLED. None holds the token. Not thread-safe.
class Hub {
 public:
  explicit Hub(HubOptions options);

  // FIELD_INVALID for an endpoint that is no address, or that the token would reach unencrypted.
  absl::Status CheckEndpoint() const;

  // `revision` is a branch, a tag, a commit or `refs/pr/N`; what it means now is pinned.
  absl::StatusOr<Snapshot> Resolve(const std::string& repository, const std::string& revision);

  // The newest open pull request in which the Hub's own bot turned the pickled weights of `pickled` into safetensors:
  // its commit holds those weights, by digest, and the conversion. NOT_FOUND when there is none.
  absl::StatusOr<Snapshot> FindConversion(const Snapshot& pickled);

  // See Fetch.
  absl::Status Download(const std::string& repository, const RemoteFile& file, const std::filesystem::path& target,
                        const FileProgress& progress);

 private:
  struct Answer {
    std::string body;
    HttpReply reply;
  };
  // The answer of the API at `url`, of at most 64 MiB.
  absl::StatusOr<Answer> Ask(const std::string& url, const Explain& explain);
  absl::StatusOr<std::vector<RemoteFile>> Tree(const std::string& repository, const std::string& commit,
                                               const Explain& explain);
  Explain ExplainFor(const std::string& repository, const std::string& revision) const;
  std::string Api(const std::string& repository) const;

  const HubOptions options_;
  Http http_;
};

}  // namespace tenon::hub
