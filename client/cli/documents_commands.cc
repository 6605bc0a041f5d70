#include "client/cli/documents_commands.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "client/cli/documents.h"
#include "client/cli/output.h"
#include "client/cli/rows.h"
#include "common/formats/status.h"
#include "common/status_proto.h"

namespace tenon::cli {
namespace {

constexpr size_t kBatchDocuments = 128;
constexpr size_t kBatchBytes = 1 << 20;

struct AddFlags {
  std::string collection, input;
};

// The errors of a reply, told by the row of the file (from 0, like the contract's index).
void TakeErrors(const v1::AddDocumentsResponse& reply, const std::vector<const DocumentRow*>& batch,
                v1::AddDocumentsResponse* all) {
  for (const auto& error : reply.errors()) {
    auto& moved = *all->add_errors();
    moved = error;
    if (error.index() >= 0 && static_cast<size_t>(error.index()) < batch.size()) {
      moved.set_index(static_cast<int32_t>(batch[static_cast<size_t>(error.index())]->number - 1));
    }
  }
}

absl::Status PrintAdded(Cli& cli, v1::AddDocumentsResponse all) {
  std::sort(all.mutable_errors()->begin(), all.mutable_errors()->end(),
            [](const auto& a, const auto& b) { return a.index() < b.index(); });
  if (cli.json()) {
    Print(ToJson(all));
  } else {
    Print(absl::StrCat(all.stored_count(), " documents stored, ", all.errors_size(), " refused."));
    Table table({"ROW", "ID", "ERROR"});
    for (const auto& error : all.errors()) {
      table.Add({absl::StrCat(error.index() + 1), Shorten(error.id(), 32), error.error().message()});
    }
    if (!table.empty()) Print(table.ToString());
  }
  if (all.errors().empty()) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(all.errors_size(), " of ", all.errors_size() + all.stored_count(),
                                                 " documents were refused; the others are stored."));
}

absl::Status Add(Cli& cli, const AddFlags& flags) {
  ASSIGN_OR_RETURN(const std::string bytes, ReadInput(flags.input));
  const std::vector<DocumentRow> rows = ParseDocuments(bytes);
  if (rows.empty()) return TenonError(Reason::kFieldRequired, "The input has no rows.", "--input");
  v1::AddDocumentsResponse all;
  std::vector<const DocumentRow*> batch;
  size_t batch_bytes = 0;
  const auto send = [&]() -> absl::Status {
    if (batch.empty()) return absl::OkStatus();
    v1::AddDocumentsRequest request;
    request.set_collection(flags.collection);
    for (const DocumentRow* row : batch) *request.add_documents() = row->document;
    const absl::StatusOr<v1::AddDocumentsResponse> reply = CallWithPatience(cli.calls(), [&] {
      return cli.client().Call(cli.client().retrieval(), &v1::RetrievalService::Stub::AddDocuments, request);
    });
    if (!reply.ok()) {
      // What was stored before this batch stays stored: say how far it came.
      if (all.stored_count() > 0)
        PrintNote(absl::StrCat(all.stored_count(), " documents were stored before the error."));
      return reply.status();
    }
    all.set_stored_count(all.stored_count() + reply->stored_count());
    all.mutable_usage()->set_input_tokens(all.usage().input_tokens() + reply->usage().input_tokens());
    TakeErrors(*reply, batch, &all);
    batch.clear();
    batch_bytes = 0;
    return absl::OkStatus();
  };
  for (const DocumentRow& row : rows) {
    if (!row.error.ok()) {
      auto& error = *all.add_errors();
      error.set_index(static_cast<int32_t>(row.number - 1));
      error.set_id(row.document.id());
      *error.mutable_error() = ToRpcStatus(row.error);
      continue;
    }
    const size_t size = row.document.ByteSizeLong();
    if (batch.size() == kBatchDocuments || batch_bytes + size > kBatchBytes) RETURN_IF_ERROR(send());
    batch.push_back(&row);
    batch_bytes += size;
  }
  RETURN_IF_ERROR(send());
  return PrintAdded(cli, std::move(all));
}

struct DeleteFlags {
  std::string collection;
  std::vector<std::string> ids;
};

absl::Status Delete(Cli& cli, const DeleteFlags& flags) {
  v1::DeleteDocumentsRequest request;
  request.set_collection(flags.collection);
  for (const std::string& id : flags.ids) request.add_ids(id);
  ASSIGN_OR_RETURN(const v1::DeleteDocumentsResponse reply,
                   cli.client().Call(cli.client().retrieval(), &v1::RetrievalService::Stub::DeleteDocuments, request));
  if (cli.json()) {
    Print(ToJson(reply));
    return absl::OkStatus();
  }
  Print(absl::StrCat(reply.deleted_count(), " documents deleted."));
  for (const std::string& id : reply.missing_ids()) Print(absl::StrCat("  not there: ", id));
  return absl::OkStatus();
}

}  // namespace

void AddDocuments(CLI::App& app, Cli& cli) {
  CLI::App* documents = AddNoun(app, "documents", "What a collection holds");
  auto add = std::make_shared<AddFlags>();
  CLI::App* command =
      AddCommand(*documents, cli, "add", "Index documents; one with an id that is there already replaces it",
                 "tenon documents add --collection faq --input documents.jsonl\n"
                 "  (rows of {\"id\": \"refunds-1\", \"text\": \"...\", \"metadata\": {\"area\": \"billing\"}})",
                 [&cli, add] { return Add(cli, *add); });
  command->add_option("--collection", add->collection, "Id of the collection")->required();
  command->add_option("--input", add->input, "JSON lines; - is standard input")->required();
  auto remove = std::make_shared<DeleteFlags>();
  command = AddCommand(*documents, cli, "delete", "Delete documents by id",
                       "tenon documents delete --collection faq refunds-1 refunds-2",
                       [&cli, remove] { return Delete(cli, *remove); });
  command->add_option("--collection", remove->collection, "Id of the collection")->required();
  command->add_option("ID", remove->ids, "Ids of documents")->required();
}

}  // namespace tenon::cli
