#include "client/hub/download.h"

#include <fcntl.h>
#include <openssl/evp.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <memory>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/time/clock.h"
#include "client/hub/url.h"
#include "common/digest.h"
#include "common/formats/files.h"
#include "common/formats/status.h"

namespace tenon::hub {
namespace {

namespace fs = std::filesystem;

fs::path With(const fs::path& path, const char* suffix) { return fs::path(path) += suffix; }

int64_t SizeOf(const fs::path& path) {
  std::error_code error;
  const auto size = fs::file_size(path, error);
  return error ? 0 : static_cast<int64_t>(size);
}

absl::Status FileError(const fs::path& path) {
  const std::string what = absl::StrCat("Cannot write ", path.string(), ": ", std::strerror(errno), ".");
  return errno == ENOSPC || errno == EDQUOT ? absl::ResourceExhaustedError(what) : absl::InternalError(what);
}

// The partial file of one try.
class Partial {
 public:
  explicit Partial(fs::path path) : path_(std::move(path)) {}
  ~Partial() {
    if (descriptor_ >= 0) close(descriptor_);
  }
  Partial(const Partial&) = delete;
  Partial& operator=(const Partial&) = delete;

  // Keeps the first `size` bytes.
  absl::Status Open(int64_t size) {
    descriptor_ = open(path_.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0644);
    if (descriptor_ < 0 || ftruncate(descriptor_, size) != 0 || lseek(descriptor_, size, SEEK_SET) < 0)
      return FileError(path_);
    size_ = size;
    return absl::OkStatus();
  }
  absl::Status Write(absl::string_view bytes) {
    while (!bytes.empty()) {
      const ssize_t wrote = write(descriptor_, bytes.data(), bytes.size());
      if (wrote < 0 && errno == EINTR) continue;
      if (wrote < 0) return FileError(path_);
      bytes.remove_prefix(static_cast<size_t>(wrote));
      size_ += wrote;
    }
    return absl::OkStatus();
  }
  absl::Status Sync() { return fsync(descriptor_) == 0 ? absl::OkStatus() : FileError(path_); }
  bool opened() const { return descriptor_ >= 0; }
  int64_t size() const { return size_; }

 private:
  const fs::path path_;
  int descriptor_ = -1;
  int64_t size_ = 0;
};

std::string ReadEtag(const fs::path& target) {
  std::ifstream in(With(target, ".etag"));
  std::string etag;
  std::getline(in, etag);
  return etag;
}

// Where the body of a reply begins in the file: what was asked for (206), or the start (200). DATA_LOSS when it is not
// the file that was listed.
absl::StatusOr<int64_t> BodyStart(const HttpReply& head, const RemoteFile& file, int64_t asked) {
  int64_t start = 0, total = -1;
  if (head.status == 206) {
    const std::string range = head.Header("content-range");  // bytes 5-99/100
    const std::vector<std::string> parts = absl::StrSplit(range, absl::ByAnyChar(" -/"));
    if (parts.size() != 4 || parts[0] != "bytes" || !absl::SimpleAtoi(parts[1], &start) || start != asked)
      return absl::DataLossError(
          absl::StrCat(file.path, ": asked for bytes from ", asked, " on, the answer is '", range, "'."));
    if (parts[3] != "*" && !absl::SimpleAtoi(parts[3], &total)) total = -1;
  } else if (const std::string length = head.Header("content-length"); !length.empty()) {
    if (!absl::SimpleAtoi(length, &total)) total = INT64_MAX;
  }
  if (total >= 0 && total != file.size)
    return absl::DataLossError(
        absl::StrCat(file.path, ": ", total, " bytes are offered, ", file.size, " were listed."));
  return start;
}

struct Attempt {
  Http& http;
  const Download& download;
  const Explain& explain;
  const FileProgress& progress;
  // The most bytes that any try had. A server that starts anew each time makes no progress, however often its tries
  // differ in length.
  int64_t furthest;

  Try Run();
};

Try Attempt::Run() {
  const RemoteFile& file = download.file;
  const fs::path path = With(download.target, ".partial");
  const int64_t there = BytesThere(download);
  HttpRequest request = download.request;
  if (there > 0) {
    request.headers.push_back(absl::StrCat("Range: bytes=", there, "-"));
    // A weak ETag is not allowed here; the digest is the judge in any case.
    if (const std::string etag = ReadEtag(download.target); !etag.empty() && !absl::StartsWith(etag, "W/"))
      request.headers.push_back("If-Range: " + etag);
  }
  Partial partial(path);
  const auto reply = http.Get(request, [&](const HttpReply& head, absl::string_view piece) -> absl::Status {
    if (!partial.opened()) {
      ASSIGN_OR_RETURN(const int64_t start, BodyStart(head, file, there));
      std::ofstream(With(download.target, ".etag")) << head.Header("etag") << '\n';
      RETURN_IF_ERROR(partial.Open(start));
    }
    if (partial.size() + static_cast<int64_t>(piece.size()) > file.size)
      return absl::DataLossError(absl::StrCat(file.path, ": more than the ", file.size, " bytes that were listed."));
    RETURN_IF_ERROR(partial.Write(piece));
    if (progress) progress(partial.size());
    return absl::OkStatus();
  });
  Try result{.progressed = partial.size() > furthest};
  furthest = std::max(furthest, partial.size());
  if (!reply.ok()) {
    result.status = reply.status();
    result.again = GetReason(reply.status()) == Reason::kHubUnavailable;
    return result;
  }
  if (reply->status == 416) {
    // What we have is not a beginning of what is there.
    std::error_code ignored;
    fs::remove(path, ignored);
    result.status = explain(*reply);
    result.again = true;
    return result;
  }
  if (reply->status / 100 != 2) {
    result.status = explain(*reply);
    result.again = IsPassing(reply->status);
    result.retry_after = ParseRetryAfter(reply->Header("retry-after"), absl::Now());
    return result;
  }
  if (!partial.opened()) result.status = partial.Open(0);  // an empty file
  if (result.status.ok()) result.status = partial.Sync();
  if (result.status.ok() && partial.size() != file.size) {
    result.status = TenonError(Reason::kHubUnavailable, absl::StrCat(file.path, ": the transfer ended after ",
                                                                     partial.size(), " of ", file.size, " bytes."));
    result.again = true;
  }
  return result;
}

absl::StatusOr<std::string> GitBlobSha1(const fs::path& path, int64_t size) {
  std::ifstream in(path, std::ios::binary);
  if (!in) return absl::NotFoundError(absl::StrCat("Cannot open ", path.string(), "."));
  const std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)> context(EVP_MD_CTX_new(), &EVP_MD_CTX_free);
  EVP_DigestInit_ex(context.get(), EVP_sha1(), nullptr);
  const std::string head = absl::StrCat("blob ", size, absl::string_view("\0", 1));
  EVP_DigestUpdate(context.get(), head.data(), head.size());
  std::string piece(1 << 20, '\0');
  while (in.read(piece.data(), static_cast<std::streamsize>(piece.size())) || in.gcount() > 0)
    EVP_DigestUpdate(context.get(), piece.data(), static_cast<size_t>(in.gcount()));
  unsigned char digest[EVP_MAX_MD_SIZE];
  unsigned int length = 0;
  EVP_DigestFinal_ex(context.get(), digest, &length);
  std::string hex;
  for (unsigned int i = 0; i < length; ++i) absl::StrAppend(&hex, absl::Hex(digest[i], absl::kZeroPad2));
  return hex;
}

}  // namespace

absl::StatusOr<bool> Matches(const fs::path& path, const RemoteFile& file) {
  std::error_code ignored;
  if (!fs::is_regular_file(path, ignored) || SizeOf(path) != file.size) return false;
  if (!file.sha256.empty()) {
    ASSIGN_OR_RETURN(const std::string sha256, Sha256File(path));
    return sha256 == file.sha256;
  }
  ASSIGN_OR_RETURN(const std::string sha1, GitBlobSha1(path, file.size));
  return sha1 == file.git_sha1;
}

int64_t BytesThere(const Download& download) {
  std::error_code ignored;
  if (fs::is_regular_file(download.target, ignored)) return SizeOf(download.target);
  const int64_t there = SizeOf(With(download.target, ".partial"));
  return there < download.file.size ? there : 0;
}

absl::Status Fetch(Http& http, const Download& download, const RetryOptions& retry, const Explain& explain,
                   const FileProgress& progress) {
  std::error_code error;
  if (fs::is_regular_file(download.target, error)) {
    ASSIGN_OR_RETURN(const bool good, Matches(download.target, download.file));
    if (good) {
      if (progress) progress(download.file.size);
      return absl::OkStatus();
    }
    fs::remove(download.target, error);
  }
  fs::create_directories(download.target.parent_path(), error);
  if (error)
    return absl::InvalidArgumentError(
        absl::StrCat("Cannot make ", download.target.parent_path().string(), ": ", error.message(), "."));
  const fs::path partial = With(download.target, ".partial");
  // Bytes of an earlier run may be of anything; when they spoil the digest, the file is asked for once more, whole.
  ASSIGN_OR_RETURN(const bool whole, Matches(partial, download.file));
  for (bool resumed = BytesThere(download) > 0; !whole; resumed = false) {
    Attempt attempt{http, download, explain, progress, BytesThere(download)};
    RETURN_IF_ERROR(Retry(retry, [&] { return attempt.Run(); }));
    ASSIGN_OR_RETURN(const bool good, Matches(partial, download.file));
    if (good) break;
    fs::remove(partial, error);
    fs::remove(With(download.target, ".etag"), error);
    if (!resumed) {
      return TenonError(Reason::kDigestMismatch,
                        absl::StrCat(download.file.path, ": the bytes that came do not have the ",
                                     download.file.sha256.empty() ? "git digest " : "SHA-256 ",
                                     download.file.sha256.empty() ? download.file.git_sha1 : download.file.sha256,
                                     " that the Hub lists. Nothing was kept of them."),
                        download.file.path);
    }
  }
  fs::rename(partial, download.target, error);
  if (error) return absl::InternalError(absl::StrCat("Cannot rename ", partial.string(), ": ", error.message(), "."));
  fs::remove(With(download.target, ".etag"), error);
  return absl::OkStatus();
}

}  // namespace tenon::hub
