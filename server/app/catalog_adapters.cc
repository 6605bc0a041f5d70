#include "server/app/catalog_adapters.h"

#include <algorithm>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/formats/status.h"
#include "common/ids.h"
#include "common/status_proto.h"
#include "server/app/catalog_adapter_check.h"
#include "server/app/catalog_merge.h"
#include "server/app/catalog_requests.h"
#include "server/catalog/records.h"

namespace tenon::server {
namespace {

// Writes the files of the stream below `folder`; README.md is read and dropped.
absl::Status Receive(const CallScope& scope, const MessageSource<v1::ImportAdapterRequest>& read,
                     StagedFolder* folder) {
  v1::ImportAdapterRequest message;
  std::string current;
  int64_t left = 0;
  std::set<std::string> seen;
  while (read(&message)) {
    if (!message.has_file() || message.file().data().size() > kMaxChunk) {
      return TenonError(Reason::kFieldInvalid,
                        absl::StrCat("behind the header come pieces of files of at most ", kMaxChunk, " bytes"),
                        "file");
    }
    const v1::FileChunk& piece = message.file();
    if (piece.path() != current || seen.empty()) {
      ASSIGN_OR_RETURN(left, AdapterFileLimit(piece.path()));
      if (!seen.insert(piece.path()).second) {
        return TenonError(Reason::kFieldInvalid, absl::StrCat("file '", piece.path(), "' comes in two parts"),
                          "file.path");
      }
      current = piece.path();
      RETURN_IF_ERROR(current == "README.md" ? folder->Finish() : folder->Start(current));
    }
    left -= static_cast<int64_t>(piece.data().size());
    if (left < 0) {
      return TenonError(Reason::kTooLarge, absl::StrCat("file '", current, "' is too large for an adapter"), current);
    }
    if (current != "README.md") RETURN_IF_ERROR(folder->Append(piece.data().data(), piece.data().size()));
  }
  if (scope.cancelled && scope.cancelled()) return TenonError(Reason::kCancelled, "the upload was broken off");
  return folder->Finish();
}

absl::StatusOr<AdapterBase> ReadAdapterBase(Store& store, const std::string& tenant, const v1::ModelVersion& version) {
  AdapterBase base;
  RETURN_IF_ERROR(store.Read([&](Snapshot& snapshot) -> absl::Status {
    ASSIGN_OR_RETURN(const std::string id, ParseName("bases", version.base(), "header.base"));
    ASSIGN_OR_RETURN(const Record record, GetRecord(snapshot, tenant, kBaseKind, id, "base", "header.base"));
    ASSIGN_OR_RETURN(const auto stored, ParseBody<internal::v1::BaseRecord>(record));
    base = {.digest = stored.base().digest(),
            .model_type = stored.base().model_type(),
            .pooling = stored.pooling(),
            .normalize = stored.normalize()};
    return absl::OkStatus();
  }));
  return base;
}

}  // namespace

absl::StatusOr<v1::Adapter> Adapters::Import(const CallScope& scope,
                                             const MessageSource<v1::ImportAdapterRequest>& read) {
  v1::ImportAdapterRequest message;
  if (!read(&message) || !message.has_header()) {
    return TenonError(Reason::kFieldRequired, "the first message must be the header", "header");
  }
  const v1::ImportAdapterRequest::Header header = message.header();
  RETURN_IF_ERROR(CheckId(header.adapter_id(), "header.adapter_id"));
  if (header.base().empty()) return TenonError(Reason::kFieldRequired, "header.base is required", "header.base");
  ASSIGN_OR_RETURN(const ResolvedModel model, parts_.models->ResolveBase(scope.tenant, header.base(), "header.base"));
  ASSIGN_OR_RETURN(const AdapterBase base, ReadAdapterBase(*parts_.store, scope.tenant, model.version));
  RETURN_IF_ERROR(parts_.store->Read([&](Snapshot& snapshot) {
    return CheckAdapterBinding(snapshot, scope.tenant, header.adapter_id(), base.digest, v1::TASK_UNSPECIFIED);
  }));

  ASSIGN_OR_RETURN(const auto folder, StagedFolder::Create(options_.staging));
  RETURN_IF_ERROR(Receive(scope, read, folder.get()));
  AdapterHints hints{.labels = {header.labels().begin(), header.labels().end()}};
  if (header.has_text_template()) hints.text_template = header.text_template();
  ASSIGN_OR_RETURN(AdapterFacts facts, CheckStagedAdapter(folder.get(), base, hints));
  NewRevision revision;
  revision.adapter_id = header.adapter_id();
  revision.base = model.version.base();
  revision.base_digest = base.digest;
  revision.task = facts.task;
  revision.method = facts.method;
  revision.labels = std::move(facts.labels);
  revision.multi_label = facts.multi_label;
  revision.regression = facts.regression;
  revision.text_template = std::move(facts.text_template);
  revision.files = folder->files();
  // Before the worker's check, because it fetches them. Should the check fail they are swept away like every blob
  // without a name.
  for (const v1::FileEntry& file : revision.files) {
    RETURN_IF_ERROR(PublishFile(*parts_.blobs, folder->path(), file));
  }
  ASSIGN_OR_RETURN(revision.digest, RevisionDigest(*parts_.blobs, revision.files));
  RETURN_IF_ERROR(CheckOnWorker(scope, revision));
  return Publish(scope, header, revision);
}

absl::Status Adapters::CheckOnWorker(const CallScope& scope, const NewRevision& revision) {
  InferenceCall call;
  call.tenant = scope.tenant;
  call.base_digest = revision.base_digest;
  call.kind = internal::v1::INFERENCE_KIND_CHECK_ADAPTER;
  call.adapter.set_digest(revision.digest);
  for (const v1::FileEntry& file : revision.files) *call.adapter.add_files() = file;
  call.deadline = std::min(scope.deadline, parts_.clock->Now() + options_.check_timeout);
  ASSIGN_OR_RETURN(const auto result, parts_.router->SubmitAndWait(std::move(call), scope.when_cancelled));
  if (result.has_error()) return FromErrorProto(result.error());
  const v1::TextTemplate own = revision.text_template.value_or(v1::TextTemplate());
  const bool same_template =
      result.text_template().input() == own.input() && result.text_template().target() == own.target();
  const bool same_labels = std::vector<std::string>(result.labels().begin(), result.labels().end()) == revision.labels;
  const bool same_problem = result.regression() == revision.regression;
  if (same_labels && same_template && same_problem) return absl::OkStatus();
  return TenonError(Reason::kAdapterInvalid,
                    absl::StrCat("the worker reads ",
                                 !same_labels    ? "other labels"
                                 : !same_problem ? "another problem_type"
                                                 : "another template",
                                 " from the adapter than the server"),
                    "tenon.json");
}

absl::StatusOr<v1::Adapter> Adapters::Publish(const CallScope& scope, const v1::ImportAdapterRequest::Header& header,
                                              const NewRevision& revision) {
  v1::Adapter adapter;
  const std::string digest = Sha256Hex(RequestDigest(header) + DigestOf(revision.files));
  RETURN_IF_ERROR(parts_.store->Write([&](Transaction& transaction) -> absl::Status {
    ASSIGN_OR_RETURN(const v1::Base base,
                     ReadBase(transaction, scope.tenant, revision.base.substr(std::string("bases/").size())));
    if (base.digest() != revision.base_digest) {
      return TenonError(Reason::kBaseMismatch, "the base was replaced meanwhile", "header.base");
    }
    ASSIGN_OR_RETURN(const auto earlier, ClaimCreate(transaction, scope.tenant, "ImportAdapter", header.request_id(),
                                                     digest, "adapters/" + header.adapter_id()));
    if (!earlier.has_value()) {
      RETURN_IF_ERROR(PutRevision(transaction, scope.tenant, revision, parts_.clock->Now()).status());
    }
    ASSIGN_OR_RETURN(adapter, ReadAdapter(transaction, scope.tenant, header.adapter_id()));
    return absl::OkStatus();
  }));
  RETURN_IF_ERROR(parts_.models->RefreshAdapter(*parts_.store, scope.tenant, header.adapter_id()));
  return adapter;
}

absl::Status Adapters::Export(const CallScope& scope, const v1::ExportAdapterRequest& request,
                              const std::function<bool(const v1::ExportAdapterResponse&)>& write) {
  ASSIGN_OR_RETURN(const ResolvedModel model, parts_.models->ResolveAdapter(scope.tenant, request.name(), "name"));
  if (request.merged()) return ExportMerged(*parts_.store, *parts_.blobs, options_.staging, scope, model, write);
  for (const v1::FileEntry& file : model.adapter_files) {
    v1::ExportAdapterResponse response;
    response.mutable_file()->set_path(file.path());
    bool sent = false;
    RETURN_IF_ERROR(parts_.blobs->Read(file.sha256(), [&](const std::string& piece) {
      response.mutable_file()->set_data(piece);
      sent = true;
      return write(response) ? absl::OkStatus() : TenonError(Reason::kCancelled, "the client is gone");
    }));
    // An empty file is a file too.
    if (!sent && !write(response)) return TenonError(Reason::kCancelled, "the client is gone");
  }
  return absl::OkStatus();
}

absl::StatusOr<v1::Adapter> Adapters::Get(const std::string& tenant, const std::string& name) {
  ASSIGN_OR_RETURN(const std::string id, ParseName("adapters", name, "name"));
  v1::Adapter adapter;
  RETURN_IF_ERROR(parts_.store->Read([&](Snapshot& snapshot) -> absl::Status {
    ASSIGN_OR_RETURN(adapter, ReadAdapter(snapshot, tenant, id));
    return absl::OkStatus();
  }));
  return adapter;
}

absl::StatusOr<v1::ListAdaptersResponse> Adapters::List(const std::string& tenant,
                                                        const v1::ListAdaptersRequest& request) {
  ListQuery query;
  query.tenant = tenant;
  query.kind = kAdapterKind;
  query.page_token = request.page_token();
  ASSIGN_OR_RETURN(query.limit, PageSize(request.page_size()));
  v1::ListAdaptersResponse response;
  RETURN_IF_ERROR(parts_.store->Read([&](Snapshot& snapshot) -> absl::Status {
    ASSIGN_OR_RETURN(ListPage page, snapshot.List(query));
    int64_t bytes = 0;
    for (const Record& record : page.records) {
      ASSIGN_OR_RETURN(*response.add_adapters(), ReadAdapter(snapshot, tenant, record.id));
      bytes += static_cast<int64_t>(response.adapters().rbegin()->ByteSizeLong());
      if (bytes >= query.max_bytes) break;
    }
    if (response.adapters_size() < static_cast<int>(page.records.size())) {
      // Revisions are records of their own: the store could not know that the page is full here.
      query.limit = response.adapters_size();
      ASSIGN_OR_RETURN(page, snapshot.List(query));
    }
    response.set_next_page_token(page.next_page_token);
    return absl::OkStatus();
  }));
  return response;
}

absl::Status Adapters::Delete(const std::string& tenant, const std::string& name) {
  ASSIGN_OR_RETURN(const std::string id, ParseName("adapters", name, "name"));
  RETURN_IF_ERROR(parts_.store->Write([&](Transaction& transaction) -> absl::Status {
    RETURN_IF_ERROR(CheckAdapterUnused(transaction, tenant, id));
    return DeleteAdapterRecords(transaction, tenant, id);
  }));
  return parts_.models->RefreshAdapter(*parts_.store, tenant, id);
}

}  // namespace tenon::server
