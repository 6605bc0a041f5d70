#include "server/api/worker_link_service.h"

#include "absl/strings/str_cat.h"
#include "common/digest.h"
#include "server/api/stream_reactor.h"

namespace tenon::server {
namespace {

using internal::v1::FetchBlobRequest;
using internal::v1::FetchBlobResponse;
using internal::v1::LinkRequest;
using internal::v1::LinkResponse;
using internal::v1::PublishBlobRequest;
using internal::v1::PublishBlobResponse;
using internal::v1::ReportJobRequest;
using internal::v1::ReportJobResponse;
using internal::v1::WorkRequest;
using internal::v1::WorkResponse;

constexpr char kService[] = "tenon.internal.v1.WorkerLinkService/";

absl::Status CheckDigest(const std::string& sha256) {
  if (IsDigest(sha256)) return absl::OkStatus();
  return TenonError(Reason::kFieldInvalid, "a SHA-256 is 64 lower-case hex digits", "sha256");
}

// A stream whose ends are the worker and the link.
template <typename In, typename Out>
WorkerLink::Stream<Out> StreamOf(StreamReactor<In, Out>* reactor) {
  const auto handle = reactor->handle();
  return {[handle](Out message) { handle->Send(std::move(message)); },
          [handle](absl::Status status) { handle->Close(status); }};
}

}  // namespace

grpc::ServerBidiReactor<LinkRequest, LinkResponse>* WorkerLinkService::Link(grpc::CallbackServerContext* context) {
  auto* reactor =
      new StreamReactor<LinkRequest, LinkResponse>(parts_.runner->Begin(context, absl::StrCat(kService, "Link")));
  WorkerLink* link = parts_.link;
  const uint64_t stream = link->OpenLink(StreamOf(reactor));
  reactor->Begin([link, stream](LinkRequest message) { link->OnLink(stream, std::move(message)); },
                 [link, stream] { link->CloseLink(stream); });
  return reactor;
}

grpc::ServerBidiReactor<WorkRequest, WorkResponse>* WorkerLinkService::Work(grpc::CallbackServerContext* context) {
  auto* reactor =
      new StreamReactor<WorkRequest, WorkResponse>(parts_.runner->Begin(context, absl::StrCat(kService, "Work")));
  WorkerLink* link = parts_.link;
  const uint64_t stream = link->OpenWork(StreamOf(reactor));
  reactor->Begin([link, stream](WorkRequest message) { link->OnWork(stream, std::move(message)); },
                 [link, stream] { link->CloseWork(stream); });
  return reactor;
}

grpc::ServerWriteReactor<FetchBlobResponse>* WorkerLinkService::FetchBlob(grpc::CallbackServerContext* context,
                                                                          const FetchBlobRequest* request) {
  return Guarded::ServerStream<FetchBlobRequest, FetchBlobResponse>(
      parts_.runner, context, request, absl::StrCat(kService, "FetchBlob"),
      [this](const CallContext&, const FetchBlobRequest& request, StreamWriter<FetchBlobResponse>& writer) {
        RETURN_IF_ERROR(CheckDigest(request.sha256()));
        return parts_.blobs->Read(request.sha256(), [&](const std::string& piece) {
          FetchBlobResponse message;
          message.set_chunk(piece);
          if (!writer.Write(message)) return TenonError(Reason::kCancelled, "the worker is gone");
          if (parts_.observer != nullptr) parts_.observer->OnFetched(static_cast<int64_t>(piece.size()));
          return absl::OkStatus();
        });
      });
}

grpc::ServerReadReactor<PublishBlobRequest>* WorkerLinkService::PublishBlob(grpc::CallbackServerContext* context,
                                                                            PublishBlobResponse* response) {
  return Guarded::ClientStream<PublishBlobRequest, PublishBlobResponse>(
      parts_.runner, context, response, absl::StrCat(kService, "PublishBlob"),
      [this](const CallContext&, StreamReader<PublishBlobRequest>& reader, PublishBlobResponse*) {
        return Publish(reader);
      });
}

absl::Status WorkerLinkService::Publish(StreamReader<PublishBlobRequest>& reader) {
  PublishBlobRequest message;
  if (!reader.Read(&message) || !message.has_header()) {
    return TenonError(Reason::kFieldRequired, "the first message must be the header", "header");
  }
  const PublishBlobRequest::Header header = message.header();
  RETURN_IF_ERROR(CheckDigest(header.sha256()));
  if (header.size_bytes() < 0 || header.size_bytes() > parts_.max_blob_bytes) {
    return TenonError(Reason::kTooLarge, absl::StrCat("a blob has at most ", parts_.max_blob_bytes, " bytes"),
                      "size_bytes");
  }
  RETURN_IF_ERROR(parts_.jobs->CheckTerm(header.job(), header.term()));
  ASSIGN_OR_RETURN(const auto writer, parts_.blobs->Create(header.size_bytes()));
  int64_t written = 0;
  while (reader.Read(&message)) {
    RETURN_IF_ERROR(writer->Append(message.chunk()));
    written += static_cast<int64_t>(message.chunk().size());
  }
  if (written != header.size_bytes()) {
    return TenonError(Reason::kDigestMismatch,
                      absl::StrCat("announced ", header.size_bytes(), " bytes and sent ", written), "size_bytes");
  }
  RETURN_IF_ERROR(parts_.jobs->CheckTerm(header.job(), header.term()));  // the upload may have outlived its lease
  parts_.jobs->KeepBlob(header.sha256());  // it may be there already, and about to be deleted
  RETURN_IF_ERROR(writer->Commit(header.sha256()).status());
  if (parts_.observer != nullptr) parts_.observer->OnPublished(written);
  return absl::OkStatus();
}

grpc::ServerUnaryReactor* WorkerLinkService::ReportJob(grpc::CallbackServerContext* context,
                                                       const ReportJobRequest* request, ReportJobResponse* response) {
  return Guarded::Blocking(parts_.runner, context, request, response, absl::StrCat(kService, "ReportJob"),
                           [this](const CallContext&, const ReportJobRequest& request, ReportJobResponse*) {
                             return parts_.jobs->Report(request);
                           });
}

}  // namespace tenon::server
