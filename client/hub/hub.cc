#include "client/hub/hub.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "client/hub/url.h"
#include "common/formats/status.h"

namespace tenon::hub {
namespace {

constexpr size_t kMaxAnswerBytes = 64 << 20;
constexpr int kMaxPages = 1000;

std::string WithoutSlash(std::string endpoint) {
  while (!endpoint.empty() && endpoint.back() == '/') endpoint.pop_back();
  return endpoint;
}

HubOptions Normal(HubOptions options) {
  options.endpoint = WithoutSlash(options.endpoint);
  return options;
}

bool IsPickle(const std::string& path) {
  return path == "pytorch_model.bin" || (path.rfind("pytorch_model-", 0) == 0 && path.ends_with(".bin"));
}

// Whether every pickle of `pickled` is in `conversion`, byte for byte: then the safetensors beside them were made of
// it.
bool HoldsPickles(const Snapshot& pickled, const Snapshot& conversion) {
  return std::all_of(pickled.files.begin(), pickled.files.end(), [&](const RemoteFile& file) {
    if (!IsPickle(file.path)) return true;
    const RemoteFile* same = conversion.Find(file.path);
    return same != nullptr && same->sha256 == file.sha256 && same->git_sha1 == file.git_sha1;
  });
}

}  // namespace

const RemoteFile* Snapshot::Find(const std::string& path) const {
  const auto it = std::find_if(files.begin(), files.end(), [&](const RemoteFile& file) { return file.path == path; });
  return it == files.end() ? nullptr : &*it;
}

Hub::Hub(HubOptions options) : options_(Normal(std::move(options))), http_(options_.http) {}

absl::Status Hub::CheckEndpoint() const {
  const auto origin = ParseOrigin(options_.endpoint);
  if (!origin.ok()) return TenonError(Reason::kFieldInvalid, std::string(origin.status().message()), "--endpoint");
  if (!options_.token.empty() && IsClearText(*origin)) {
    return TenonError(Reason::kFieldInvalid,
                      absl::StrCat("The token would go to ", ShownUrl(options_.endpoint),
                                   " unencrypted: name an https endpoint, or give no token."),
                      "--endpoint");
  }
  return absl::OkStatus();
}

std::string Hub::Api(const std::string& repository) const {
  return absl::StrCat(options_.endpoint, "/api/models/", EscapeUrl(repository, /*keep_slashes=*/true));
}

Explain Hub::ExplainFor(const std::string& repository, const std::string& revision) const {
  return [this, repository, revision](const HttpReply& reply) -> absl::Status {
    const std::string where = ShownUrl(options_.endpoint);
    const std::string code = reply.Header("x-error-code");
    const bool token = !options_.token.empty();
    if (code == "GatedRepo") {
      return TenonError(Reason::kHubDenied,
                        absl::StrCat(repository, " is gated: accept its terms at ", where, "/", repository,
                                     token ? ", with the account that the token belongs to."
                                           : ", then give a token of that account with --token-file or HF_TOKEN."),
                        repository);
    }
    if (code == "RevisionNotFound") {
      return TenonError(Reason::kNotFound,
                        absl::StrCat(repository, " has no revision '", revision, "' on ", where, "."), "--revision");
    }
    // To who may not see it, a private repository looks like one that does not exist.
    if (code == "RepoNotFound" || (reply.status == 404 && code != "EntryNotFound") || (reply.status == 401 && !token)) {
      return TenonError(Reason::kNotFound,
                        absl::StrCat("There is no model ", repository, " on ", where,
                                     token ? ", or the token may not see it."
                                           : "; a private one wants a token: --token-file or HF_TOKEN."),
                        repository);
    }
    if (reply.status == 401 || reply.status == 403) {
      return TenonError(Reason::kHubDenied,
                        absl::StrCat(where, token ? " does not accept the token for " : " wants a token for ",
                                     repository, " (status ", reply.status, ")."),
                        repository);
    }
    if (reply.status == 404)
      return absl::DataLossError(absl::StrCat(where, " lists a file of ", repository, " that it does not have."));
    if (IsPassing(reply.status)) {
      return TenonError(Reason::kHubUnavailable,
                        absl::StrCat(where, reply.status == 429 ? " has had too many requests" : " cannot answer now",
                                     " (status ", reply.status, ")."));
    }
    return absl::DataLossError(absl::StrCat(where, " answers with status ", reply.status, " for ", repository, "."));
  };
}

absl::StatusOr<Hub::Answer> Hub::Ask(const std::string& url, const Explain& explain) {
  Answer answer;
  RETURN_IF_ERROR(Retry(options_.retry, [&]() -> Try {
    answer.body.clear();
    auto reply = http_.Get(
        {.url = url, .token = options_.token}, [&](const HttpReply&, absl::string_view piece) -> absl::Status {
          answer.body.append(piece.data(), piece.size());
          if (answer.body.size() <= kMaxAnswerBytes) return absl::OkStatus();
          return absl::DataLossError(absl::StrCat("The answer of ", ShownUrl(url), " does not end."));
        });
    if (!reply.ok()) return {.status = reply.status(), .again = GetReason(reply.status()) == Reason::kHubUnavailable};
    if (reply->status / 100 != 2) {
      return {.status = explain(*reply),
              .again = IsPassing(reply->status),
              .retry_after = ParseRetryAfter(reply->Header("retry-after"), absl::Now())};
    }
    answer.reply = *std::move(reply);
    return {};
  }));
  return answer;
}

absl::StatusOr<std::vector<RemoteFile>> Hub::Tree(const std::string& repository, const std::string& commit,
                                                  const Explain& explain) {
  std::vector<RemoteFile> files;
  std::string url = absl::StrCat(Api(repository), "/tree/", commit, "?recursive=true");
  ASSIGN_OR_RETURN(const Origin home, ParseOrigin(url));
  for (int page = 0; page < kMaxPages; ++page) {
    ASSIGN_OR_RETURN(const Answer answer, Ask(url, explain));
    ASSIGN_OR_RETURN(std::vector<RemoteFile> more, ParseTree(answer.body, commit));
    files.insert(files.end(), std::make_move_iterator(more.begin()), std::make_move_iterator(more.end()));
    const std::string next = NextPage(answer.reply.Header("link"));
    if (next.empty()) return files;
    ASSIGN_OR_RETURN(url, ResolveRedirect(url, next));
    ASSIGN_OR_RETURN(const Origin origin, ParseOrigin(url));
    // It is asked with the token.
    if (origin != home) return absl::DataLossError("The Hub's list of files goes on at another host.");
  }
  return absl::DataLossError(absl::StrCat("The list of files of ", repository, " does not end."));
}

absl::StatusOr<Snapshot> Hub::Resolve(const std::string& repository, const std::string& revision) {
  const Explain explain = ExplainFor(repository, revision);
  ASSIGN_OR_RETURN(
      const Answer answer,
      Ask(absl::StrCat(Api(repository), "/revision/", EscapeUrl(revision, /*keep_slashes=*/false)), explain));
  Snapshot snapshot{.repository = repository};
  ASSIGN_OR_RETURN(snapshot.commit, ParseRevision(answer.body));
  ASSIGN_OR_RETURN(snapshot.files, Tree(repository, snapshot.commit, explain));
  return snapshot;
}

absl::StatusOr<Snapshot> Hub::FindConversion(const Snapshot& pickled) {
  const std::string& repository = pickled.repository;
  std::vector<int64_t> numbers;
  for (int page = 0; page < kMaxPages; ++page) {
    ASSIGN_OR_RETURN(const Answer answer,
                     Ask(absl::StrCat(Api(repository), "/discussions?type=pull_request&status=open&p=", page),
                         ExplainFor(repository, "")));
    ASSIGN_OR_RETURN(const Discussions found, ParseDiscussions(answer.body));
    numbers.insert(numbers.end(), found.conversions.begin(), found.conversions.end());
    if (found.seen >= found.count) break;
  }
  std::sort(numbers.rbegin(), numbers.rend());
  for (const int64_t number : numbers) {
    ASSIGN_OR_RETURN(Snapshot conversion, Resolve(repository, absl::StrCat("refs/pr/", number)));
    if (HoldsPickles(pickled, conversion)) return conversion;
  }
  return absl::NotFoundError(absl::StrCat("No conversion of ", repository, "."));
}

absl::Status Hub::Download(const std::string& repository, const RemoteFile& file, const std::filesystem::path& target,
                           const FileProgress& progress) {
  const hub::Download download{
      .request = {.url = absl::StrCat(options_.endpoint, "/", EscapeUrl(repository, /*keep_slashes=*/true), "/resolve/",
                                      file.commit, "/", EscapeUrl(file.path, /*keep_slashes=*/true)),
                  .token = options_.token},
      .file = file,
      .target = target};
  return Fetch(http_, download, options_.retry, ExplainFor(repository, file.commit), progress);
}

}  // namespace tenon::hub
