// tenon collections create | list | delete, tenon retrieve
#include <google/protobuf/struct.pb.h>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "client/cli/command.h"
#include "client/cli/documents_commands.h"
#include "client/cli/output.h"
#include "client/cli/rows.h"
#include "common/formats/status.h"

namespace tenon::cli {
namespace {

struct CreateFlags {
  std::string id, base, adapter, metric, index, pooling, document_prefix, query_prefix, request_id;
};

void AddRow(Table& table, const v1::Collection& collection) {
  table.Add({collection.name(),
             collection.model().adapter().empty() ? collection.model().base() : collection.model().adapter(),
             absl::StrCat(collection.document_count()), absl::StrCat(collection.dimensions()),
             Word(collection.metric()), Word(collection.index_kind()), FormatTime(collection.create_time())});
}
const std::vector<std::string> kHeader = {"COLLECTION", "ENCODER", "DOCUMENTS", "FLOATS", "METRIC", "INDEX", "CREATED"};

absl::Status CreateCollection(Cli& cli, const CreateFlags& flags) {
  if (flags.base.empty() == flags.adapter.empty()) {
    return TenonError(Reason::kFieldRequired, "Name the encoder: --base B or --adapter A.", "--base");
  }
  v1::CreateCollectionRequest request;
  request.set_collection_id(flags.id);
  request.set_request_id(flags.request_id);
  v1::Collection& collection = *request.mutable_collection();
  if (flags.adapter.empty()) {
    collection.set_base(flags.base);
  } else {
    collection.set_adapter(flags.adapter);
  }
  if (!flags.metric.empty()) {
    ASSIGN_OR_RETURN(const auto metric, ParseWord<v1::VectorMetric>(flags.metric, "--metric"));
    collection.set_metric(metric);
  }
  if (!flags.index.empty()) {
    ASSIGN_OR_RETURN(const auto index, ParseWord<v1::IndexKind>(flags.index, "--index"));
    collection.set_index_kind(index);
  }
  if (!flags.pooling.empty()) {
    ASSIGN_OR_RETURN(const auto pooling, ParseWord<v1::Pooling>(flags.pooling, "--pooling"));
    collection.set_pooling(pooling);
  }
  collection.set_document_prefix(flags.document_prefix);
  collection.set_query_prefix(flags.query_prefix);
  ASSIGN_OR_RETURN(const v1::Collection created,
                   cli.client().Call(cli.client().retrieval(), &v1::RetrievalService::Stub::CreateCollection, request));
  if (cli.json()) {
    Print(ToJson(created));
  } else {
    Table table(kHeader);
    AddRow(table, created);
    Print(table.ToString());
  }
  return absl::OkStatus();
}

absl::Status ListCollections(Cli& cli) {
  v1::ListCollectionsResponse all;
  RETURN_IF_ERROR(client::ForEachPage<v1::ListCollectionsResponse>(
      [&](const std::string& token) {
        v1::ListCollectionsRequest request;
        request.set_page_size(1000);
        request.set_page_token(token);
        return cli.client().Call(cli.client().retrieval(), &v1::RetrievalService::Stub::ListCollections, request);
      },
      [&](const v1::ListCollectionsResponse& page) { all.mutable_collections()->MergeFrom(page.collections()); }));
  if (cli.json()) {
    Print(ToJson(all));
    return absl::OkStatus();
  }
  Table table(kHeader);
  for (const v1::Collection& collection : all.collections()) AddRow(table, collection);
  Print(table.empty() ? "No collections yet: `tenon collections create --help`." : table.ToString());
  return absl::OkStatus();
}

absl::Status DeleteCollection(Cli& cli, const std::string& id) {
  v1::DeleteCollectionRequest request;
  request.set_name(id);
  RETURN_IF_ERROR(
      cli.client().Call(cli.client().retrieval(), &v1::RetrievalService::Stub::DeleteCollection, request).status());
  if (!cli.json()) Print(absl::StrCat("Deleted collection ", ShortName(id), "."));
  if (cli.json()) Print("{}");
  return absl::OkStatus();
}

struct RetrieveFlags {
  std::string collection, input;
  std::vector<std::string> queries, filter;
  int top_k = 10;
};

// `key=value`: true and false are booleans, what reads as a number is one, a value in double quotes is a string
// whatever it holds.
absl::Status AddFilter(const std::string& assignment, google::protobuf::Struct* filter) {
  const size_t equals = assignment.find('=');
  if (equals == std::string::npos || equals == 0) {
    return TenonError(Reason::kFieldInvalid, absl::StrCat("'", assignment, "' is not key=value."), "--filter");
  }
  const std::string text = assignment.substr(equals + 1);
  google::protobuf::Value& value = (*filter->mutable_fields())[assignment.substr(0, equals)];
  double number = 0;
  if (text == "true" || text == "false") {
    value.set_bool_value(text == "true");
  } else if (text.size() >= 2 && text.front() == '"' && text.back() == '"') {
    value.set_string_value(text.substr(1, text.size() - 2));
  } else if (absl::SimpleAtod(text, &number)) {
    value.set_number_value(number);
  } else {
    value.set_string_value(text);
  }
  return absl::OkStatus();
}

absl::Status Retrieve(Cli& cli, const RetrieveFlags& flags) {
  v1::RetrieveRequest common;
  common.set_collection(flags.collection);
  common.set_top_k(flags.top_k);
  for (const std::string& filter : flags.filter) RETURN_IF_ERROR(AddFilter(filter, common.mutable_filter()));
  ASSIGN_OR_RETURN(const std::vector<InputRow> rows, TextRows(flags.queries, flags.input));
  const auto call = [&](absl::Span<const InputRow> batch) {
    v1::RetrieveRequest request = common;
    for (const InputRow& row : batch) request.add_queries(row.text);
    return cli.client().Call(cli.client().retrieval(), &v1::RetrievalService::Stub::Retrieve, request);
  };
  const auto take = [&](absl::Span<const InputRow> batch, const v1::RetrieveResponse& response) {
    const v1::RetrieveResult& result = response.results(0);
    if (cli.json()) {
      nlohmann::ordered_json line = nlohmann::ordered_json::object();
      if (!batch[0].id.is_null()) line["id"] = batch[0].id;
      line.update(ToJsonValue(result));
      line["model"] = ToJsonValue(response.model());
      line["usage"] = ToJsonValue(response.usage());
      Print(line.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace));
      return;
    }
    if (rows.size() > 1) Print(Shorten(batch[0].text, 100));
    Table table({"SCORE", "ID", "TEXT"});
    for (const v1::Hit& hit : result.hits()) table.Add({FormatScore(hit.score()), hit.id(), Shorten(hit.text(), 80)});
    Print(table.empty() ? "Nothing found." : table.ToString());
  };
  // One query a call, so that each answer says what its query consumed; the server batches them again.
  return ForEachBatch<v1::RetrieveResponse>(CutBatches(rows, 1, 1), 8, cli.calls(), call, take);
}

}  // namespace

void AddRetrieval(CLI::App& app, Cli& cli) {
  CLI::App* collections = AddNoun(app, "collections", "Sets of documents under one encoder");
  auto create = std::make_shared<CreateFlags>();
  CLI::App* command = AddCommand(*collections, cli, "create", "Make a collection; its encoder is pinned for good",
                                 "tenon collections create faq --base minilm",
                                 [&cli, create] { return CreateCollection(cli, *create); });
  command->add_option("ID", create->id, "Id of the collection")->required();
  command->add_option("--base", create->base, "Base that encodes documents and queries");
  command->add_option("--adapter", create->adapter, "Adapter that encodes them instead");
  command->add_option("--metric", create->metric, "cosine (default) or dot_product");
  command->add_option("--index", create->index, "flat (default, exact) or hnsw (approximate, for large collections)");
  command->add_option("--pooling", create->pooling, "mean, cls or max; by default what the base was made for");
  command->add_option("--document-prefix", create->document_prefix, "Put before every document");
  command->add_option("--query-prefix", create->query_prefix, "Put before every query");
  command->add_option("--request-id", create->request_id,
                      "The same call twice with one request id makes one collection");
  AddCommand(*collections, cli, "list", "All collections", "tenon collections list",
             [&cli] { return ListCollections(cli); });
  auto id = std::make_shared<std::string>();
  AddCommand(*collections, cli, "delete", "Delete a collection and its documents", "tenon collections delete faq",
             [&cli, id] { return DeleteCollection(cli, *id); })
      ->add_option("ID", *id, "Id of the collection")
      ->required();
  AddDocuments(app, cli);

  auto retrieve = std::make_shared<RetrieveFlags>();
  command = AddCommand(app, cli, "retrieve", "Find the documents nearest to a query",
                       "tenon retrieve --collection faq --top-k 3 \"How do I get my money back?\"\n"
                       "  tenon retrieve --collection faq --input queries.jsonl --output json",
                       [&cli, retrieve] { return Retrieve(cli, *retrieve); });
  command->add_option("--collection", retrieve->collection, "Id of the collection")->required();
  command->add_option("QUERY", retrieve->queries, "Queries");
  command->add_option("--input", retrieve->input,
                      "JSON lines with `text` and perhaps `id`, which is given back; - is standard input");
  command->add_option("--top-k", retrieve->top_k, "Hits for each query")->capture_default_str();
  command->add_option("--filter", retrieve->filter, "key=value that a hit's metadata must have; any number of times")
      ->allow_extra_args(false);
}

}  // namespace tenon::cli
