// A file of the Hub to a file of ours: resumed where an earlier try ended, believed only by its digest.
#pragma once

#include <filesystem>
#include <functional>
#include <string>

#include "absl/status/statusor.h"
#include "client/hub/http.h"
#include "client/hub/listing.h"
#include "client/hub/retry.h"

namespace tenon::hub {

// Called with the bytes of the file that are there, those of earlier tries included.
using FileProgress = std::function<void(int64_t bytes)>;

// What a reply that is no success means; who downloads knows the repository and words it.
using Explain = std::function<absl::Status(const HttpReply& reply)>;

struct Download {
  HttpRequest request;
  RemoteFile file;
  // Where it goes. Until it is whole and its digest was seen it is at `TARGET.partial`, with the ETag of its bytes in
  // `TARGET.etag`; both stay after an error, for the next try.
  std::filesystem::path target;
};

// Does nothing when `target` is there with the right digest. DIGEST_MISMATCH when the bytes are not those that the Hub
// lists (the partial file is then gone), DATA_LOSS when their number is not, RESOURCE_EXHAUSTED when the disk is full,
// else as Http::Get, or what `explain` says.
absl::Status Fetch(Http& http, const Download& download, const RetryOptions& retry, const Explain& explain,
                   const FileProgress& progress);

// Whether `path` holds the bytes that the Hub lists, by SHA-256 or by git's digest of a blob: `blob SIZE\0` and the
// bytes, under SHA-1.
absl::StatusOr<bool> Matches(const std::filesystem::path& path, const RemoteFile& file);

// How much of the file a Fetch would not have to ask for.
int64_t BytesThere(const Download& download);

}  // namespace tenon::hub
