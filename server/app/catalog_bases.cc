#include "server/app/catalog_bases.h"

#include <algorithm>
#include <set>
#include <system_error>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/formats/model_config.h"
#include "common/formats/status.h"
#include "common/ids.h"
#include "server/app/catalog_base_check.h"
#include "server/app/catalog_files.h"
#include "server/app/catalog_requests.h"
#include "server/catalog/records.h"

namespace tenon::server {
namespace {

constexpr int kMaxFiles = 256;

absl::Status CheckManifest(const v1::UploadBaseRequest::Header& header, int64_t max_bytes) {
  RETURN_IF_ERROR(CheckId(header.base_id(), "header.base_id"));
  if (header.files().empty() || header.files_size() > kMaxFiles) {
    return TenonError(Reason::kFieldInvalid, absl::StrCat("a base has 1 to ", kMaxFiles, " files"), "header.files");
  }
  std::set<std::string> names;
  int64_t total = 0;
  for (int i = 0; i < header.files_size(); ++i) {
    const v1::FileEntry& file = header.files(i);
    const std::string field = absl::StrCat("header.files[", i, "]");
    RETURN_IF_ERROR(CheckFileName(file.path(), field + ".path"));
    if (!names.insert(file.path()).second) {
      return TenonError(Reason::kFieldInvalid, absl::StrCat("file '", file.path(), "' occurs twice"), field + ".path");
    }
    if (!IsDigest(file.sha256())) {
      return TenonError(Reason::kFieldInvalid, field + ".sha256 must be 64 lower-case hex digits", field + ".sha256");
    }
    if (file.size_bytes() < 0 || file.size_bytes() > max_bytes - total) {
      return TenonError(file.size_bytes() < 0 ? Reason::kFieldInvalid : Reason::kTooLarge,
                        absl::StrCat("a base has at most ", max_bytes, " bytes"), field + ".size_bytes");
    }
    total += file.size_bytes();
  }
  return absl::OkStatus();
}

// Takes the files' bytes out of the chunks, which pay no heed to where a file ends.
absl::Status Receive(const CallScope& scope, const v1::UploadBaseRequest::Header& header,
                     const MessageSource<v1::UploadBaseRequest>& read, StagedFolder* folder) {
  v1::UploadBaseRequest message;
  size_t at = 0;  // of the chunk
  for (const v1::FileEntry& file : header.files()) {
    RETURN_IF_ERROR(folder->Start(file.path()));
    int64_t missing = file.size_bytes();
    while (missing > 0) {
      if (at == message.chunk().size()) {
        at = 0;
        if (!read(&message)) {
          if (scope.cancelled && scope.cancelled()) return TenonError(Reason::kCancelled, "the upload was broken off");
          return TenonError(Reason::kDigestMismatch,
                            absl::StrCat("the upload ended ", missing, " bytes before the end of '", file.path(), "'"),
                            file.path());
        }
        if (!message.has_chunk() || message.chunk().size() > kMaxChunk) {
          return TenonError(Reason::kFieldInvalid,
                            absl::StrCat("behind the header come chunks of at most ", kMaxChunk, " bytes"), "chunk");
        }
        continue;
      }
      const size_t count = std::min<size_t>(message.chunk().size() - at, static_cast<size_t>(missing));
      RETURN_IF_ERROR(folder->Append(message.chunk().data() + at, count));
      at += count;
      missing -= static_cast<int64_t>(count);
    }
  }
  RETURN_IF_ERROR(folder->Finish());
  if (at != message.chunk().size() || read(&message)) {
    return TenonError(Reason::kDigestMismatch, "the upload has more bytes than its manifest", "chunk");
  }
  for (int i = 0; i < header.files_size(); ++i) {
    if (folder->files()[i].sha256() == header.files(i).sha256()) continue;
    return TenonError(Reason::kDigestMismatch,
                      absl::StrCat("file '", header.files(i).path(), "' has SHA-256 ", folder->files()[i].sha256(),
                                   ", announced was ", header.files(i).sha256()),
                      header.files(i).path());
  }
  return absl::OkStatus();
}

// Every file of a base is one that Tenon knows: what is never read is not stored either.
absl::Status CheckNoStrangers(const StagedFolder& folder) {
  ASSIGN_OR_RETURN(const auto known, formats::BaseFiles(folder.path()));
  for (const v1::FileEntry& file : folder.files()) {
    const bool found =
        std::any_of(known.begin(), known.end(), [&](const auto& item) { return item.first == file.path(); });
    if (!found) {
      return TenonError(Reason::kBaseInvalid, absl::StrCat("file '", file.path(), "' is no part of a base"),
                        file.path());
    }
  }
  return absl::OkStatus();
}

// Whether `path`, links followed, lies below `root`, likewise.
bool IsBelow(const std::filesystem::path& path, const std::filesystem::path& root) {
  const auto [end, at] = std::mismatch(root.begin(), root.end(), path.begin(), path.end());
  return end == root.end() && at != path.end();
}

}  // namespace

absl::StatusOr<std::optional<v1::Base>> Bases::Existing(Snapshot& snapshot, const std::string& tenant,
                                                        const std::string& id, const std::string& digest) {
  absl::StatusOr<v1::Base> base = ReadBase(snapshot, tenant, id);
  if (absl::IsNotFound(base.status())) return std::nullopt;
  RETURN_IF_ERROR(base.status());
  if (base->digest() == digest) return *std::move(base);
  return TenonError(Reason::kAlreadyExists, absl::StrCat("base '", id, "' exists already with other files"), "base_id");
}

absl::StatusOr<v1::Base> Bases::Insert(const std::string& tenant, const Create& create,
                                       const std::vector<v1::FileEntry>& files, internal::v1::BaseRecord record) {
  const absl::Time now = parts_.clock->Now();
  v1::Base& base = *record.mutable_base();
  base.set_name("bases/" + create.id);
  base.set_digest(DigestOf(files));
  *base.mutable_create_time() = ToTimestamp(now);
  for (const v1::FileEntry& file : files) {
    *base.add_files() = file;
    base.set_size_bytes(base.size_bytes() + file.size_bytes());
  }
  v1::Base stored;
  RETURN_IF_ERROR(parts_.store->Write([&](Transaction& transaction) -> absl::Status {
    RETURN_IF_ERROR(
        ClaimCreate(transaction, tenant, create.method, create.request_id, create.request_digest, base.name())
            .status());
    ASSIGN_OR_RETURN(auto existing, Existing(transaction, tenant, create.id, base.digest()));
    if (existing.has_value()) {
      stored = *std::move(existing);
      return absl::OkStatus();
    }
    stored = base;
    return transaction.Insert(MakeRecord(tenant, kBaseKind, create.id, "", now, record));
  }));
  RETURN_IF_ERROR(parts_.models->RefreshBase(*parts_.store, tenant, create.id));
  if (parts_.changed) parts_.changed();
  return stored;
}

absl::StatusOr<v1::Base> Bases::Upload(const CallScope& scope, const MessageSource<v1::UploadBaseRequest>& read) {
  v1::UploadBaseRequest message;
  if (!read(&message) || !message.has_header()) {
    return TenonError(Reason::kFieldRequired, "the first message must be the header", "header");
  }
  const v1::UploadBaseRequest::Header header = message.header();
  RETURN_IF_ERROR(CheckManifest(header, options_.max_bytes));
  const Create create{header.base_id(), "UploadBase", header.request_id(), RequestDigest(header)};
  const std::vector<v1::FileEntry> announced(header.files().begin(), header.files().end());
  std::optional<v1::Base> existing;
  RETURN_IF_ERROR(parts_.store->Read([&](Snapshot& snapshot) -> absl::Status {
    ASSIGN_OR_RETURN(existing, Existing(snapshot, scope.tenant, header.base_id(), DigestOf(announced)));
    return absl::OkStatus();
  }));
  if (existing.has_value()) {
    // Nothing is left to upload; but the key must not stand for two requests.
    RETURN_IF_ERROR(parts_.store->Write([&](Transaction& transaction) {
      return ClaimCreate(transaction, scope.tenant, create.method, create.request_id, create.request_digest,
                         existing->name())
          .status();
    }));
    return *std::move(existing);
  }

  ASSIGN_OR_RETURN(const auto folder, StagedFolder::Create(options_.staging));
  RETURN_IF_ERROR(Receive(scope, header, read, folder.get()));
  RETURN_IF_ERROR(CheckNoStrangers(*folder));
  ASSIGN_OR_RETURN(auto record, InspectBase(folder->path()));
  for (const v1::FileEntry& file : folder->files()) {
    RETURN_IF_ERROR(PublishFile(*parts_.blobs, folder->path(), file));
  }
  return Insert(scope.tenant, create, folder->files(), std::move(record));
}

absl::StatusOr<v1::Base> Bases::Register(const CallScope& scope, const v1::RegisterBaseRequest& request) {
  if (!scope.loopback) {
    return TenonError(Reason::kLoopbackOnly, "a folder is registered from the server's own machine alone; upload it");
  }
  RETURN_IF_ERROR(CheckId(request.base_id(), "base_id"));
  if (request.folder().empty()) return TenonError(Reason::kFieldRequired, "folder is required", "folder");
  if (options_.bases_root.empty()) {
    return TenonError(Reason::kFieldInvalid, "the server was started without --bases-root; upload the base", "folder");
  }
  std::error_code error;
  const std::filesystem::path root = std::filesystem::canonical(options_.bases_root, error);
  if (error) return TenonError(Reason::kFieldInvalid, "the server's --bases-root cannot be opened", "folder");
  // An absolute folder replaces the root here; what it resolves to must be below the root all the same.
  const std::filesystem::path folder = std::filesystem::canonical(root / request.folder(), error);
  if (error || !(folder == root || IsBelow(folder, root))) {
    return TenonError(Reason::kFieldInvalid, "no such folder below the server's --bases-root", "folder");
  }
  ASSIGN_OR_RETURN(const auto known, formats::BaseFiles(folder));
  std::vector<v1::FileEntry> files;
  std::vector<std::filesystem::path> paths;
  for (const auto& [name, path] : known) {
    const std::filesystem::path file = std::filesystem::canonical(path, error);
    if (error || !IsBelow(file, root)) {
      return TenonError(Reason::kFieldInvalid, absl::StrCat("file '", name, "' leads out of the server's --bases-root"),
                        "folder");
    }
    v1::FileEntry& entry = files.emplace_back();
    entry.set_path(name);
    entry.set_size_bytes(static_cast<int64_t>(std::filesystem::file_size(file, error)));
    ASSIGN_OR_RETURN(*entry.mutable_sha256(), Sha256File(file));
    paths.push_back(file);
  }
  ASSIGN_OR_RETURN(auto record, InspectBase(folder));
  for (size_t i = 0; i < files.size(); ++i) RETURN_IF_ERROR(parts_.blobs->Link(paths[i], files[i].sha256()));
  const Create create{request.base_id(), "RegisterBase", request.request_id(), RequestDigest(request)};
  return Insert(scope.tenant, create, files, std::move(record));
}

absl::StatusOr<v1::Base> Bases::Get(const std::string& tenant, const std::string& name) {
  ASSIGN_OR_RETURN(const std::string id, ParseName("bases", name, "name"));
  v1::Base base;
  RETURN_IF_ERROR(parts_.store->Read([&](Snapshot& snapshot) -> absl::Status {
    ASSIGN_OR_RETURN(base, ReadBase(snapshot, tenant, id));
    return absl::OkStatus();
  }));
  return base;
}

absl::StatusOr<v1::ListBasesResponse> Bases::List(const std::string& tenant, const v1::ListBasesRequest& request) {
  ListQuery query;
  query.tenant = tenant;
  query.kind = kBaseKind;
  query.page_token = request.page_token();
  ASSIGN_OR_RETURN(query.limit, PageSize(request.page_size()));
  v1::ListBasesResponse response;
  RETURN_IF_ERROR(parts_.store->Read([&](Snapshot& snapshot) -> absl::Status {
    ASSIGN_OR_RETURN(const ListPage page, snapshot.List(query));
    for (const Record& item : page.records) {
      ASSIGN_OR_RETURN(auto record, ParseBody<internal::v1::BaseRecord>(item));
      *response.add_bases() = std::move(*record.mutable_base());
    }
    response.set_next_page_token(page.next_page_token);
    return absl::OkStatus();
  }));
  return response;
}

absl::Status Bases::Delete(const std::string& tenant, const std::string& name) {
  ASSIGN_OR_RETURN(const std::string id, ParseName("bases", name, "name"));
  RETURN_IF_ERROR(parts_.store->Write([&](Transaction& transaction) -> absl::Status {
    RETURN_IF_ERROR(GetRecord(transaction, tenant, kBaseKind, id, "base", "name").status());
    RETURN_IF_ERROR(CheckBaseUnused(transaction, tenant, id));
    return transaction.Delete(tenant, kBaseKind, id);
  }));
  RETURN_IF_ERROR(parts_.models->RefreshBase(*parts_.store, tenant, id));
  if (parts_.changed) parts_.changed();
  return absl::OkStatus();
}

}  // namespace tenon::server
