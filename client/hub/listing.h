// What the Hub's API answers: revisions, files, pull requests. Bytes from outside: everything is checked.
//
// The API as huggingface_hub speaks it: GET /api/models/{repository}/revision/{revision},
// /api/models/{repository}/tree/{commit}?recursive=true and /api/models/{repository}/discussions.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace tenon::hub {

// A file of a repository at one commit.
struct RemoteFile {
  std::string path;    // of plain parts, as git allows them: never absolute, never `..`
  std::string commit;  // 40 hex digits
  int64_t size = 0;
  std::string sha256;    // of the bytes, where the Hub keeps them in its large-file storage; else empty
  std::string git_sha1;  // of git's blob; of the pointer file when sha256 is there
};

// ORG/NAME, or NAME alone for the oldest ones. ID_INVALID names `field`.
absl::Status CheckRepository(const std::string& repository, const std::string& field);

// The commit of a revision's answer. DATA_LOSS when it is none, or lists a file by a name that leads out of a folder.
absl::StatusOr<std::string> ParseRevision(const std::string& json);

// One page of a tree. DATA_LOSS names what is wrong with it.
absl::StatusOr<std::vector<RemoteFile>> ParseTree(const std::string& json, const std::string& commit);

// Address of the next page in a `Link` header; empty on the last one.
std::string NextPage(const std::string& link_header);

// A page of discussions.
struct Discussions {
  std::vector<int64_t> conversions;  // numbers of open pull requests in which the Hub's own bot adds safetensors
  int64_t seen = 0;                  // discussions up to and with this page
  int64_t count = 0;                 // of all pages
};
absl::StatusOr<Discussions> ParseDiscussions(const std::string& json);

// File names of the shards in a model.safetensors.index.json, sorted. BASE_INVALID names what is wrong with it.
absl::StatusOr<std::vector<std::string>> ParseShardNames(const std::string& json);

}  // namespace tenon::hub
