// A base from the Hub to a folder: everything that can be refused is, before the weights travel.
#pragma once

#include <filesystem>
#include <functional>
#include <string>

#include "absl/status/statusor.h"
#include "client/hub/hub.h"

namespace tenon::hub {

struct PullOptions {
  std::string repository;         // ORG/NAME
  std::string revision = "main";  // branch, tag, commit or refs/pr/N
  std::filesystem::path cache;    // files of a commit go to `CACHE/ORG--NAME/COMMIT`, and stay
};

struct Pulled {
  std::filesystem::path folder;
  std::string commit;
  // Where the weights are from: `commit`, or that of the Hub's own conversion to safetensors.
  std::string weights_commit;
};

// Called with the bytes that are there and those that are wanted in all.
using PullProgress = std::function<void(int64_t bytes, int64_t total)>;

// Errors of Hub, and UNSUPPORTED or BASE_INVALID for a model that the engine cannot run, RESOURCE_EXHAUSTED when the
// disk has too little room, ABORTED while another pull of the repository writes to the same cache.
absl::StatusOr<Pulled> Pull(Hub& hub, const PullOptions& options, const PullProgress& progress);

// A base's id made of the repository's name: lower case, all else but letters and digits a `-`. Empty when nothing is
// left.
std::string IdOf(const std::string& repository);

// `$XDG_CACHE_HOME/tenon/hub`, or `~/.cache/tenon/hub`. FIELD_INVALID when neither is known.
absl::StatusOr<std::filesystem::path> DefaultCache();

}  // namespace tenon::hub
