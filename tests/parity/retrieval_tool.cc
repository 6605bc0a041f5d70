// Our ranking metrics and vector indexes as a program, for tests/parity/retrieval_test.py. One JSON object a line in,
// one out:
//   {"command": "score", "ks": [..], "run": {query: {document: score}}, "qrels": {query: {document: relevance}}}
//   {"command": "search", "kind": "flat" | "hnsw", "metric": "cosine" | "dot", "ids": [..], "vectors": [[..]],
//   "queries": [[..]],
//    "top_k": k}
#include <iostream>
#include <string>

#include "nlohmann/json.hpp"
#include "server/retrieval/collection_index.h"
#include "server/retrieval/metrics.h"

namespace tenon::server {
namespace {

using Json = nlohmann::json;

Json Score(const Json& request) {
  RetrievalScores scores(request.at("ks").get<std::vector<int>>());
  for (const auto& [query, judged] : request.at("qrels").items()) {
    if (!request.at("run").contains(query)) continue;
    Judgements judgements;
    for (const auto& [document, relevance] : judged.items()) judgements[document] = relevance.get<int64_t>();
    std::vector<ScoredDocument> run;
    for (const auto& [document, score] : request.at("run").at(query).items()) run.push_back({document, score});
    scores.Add(TrecOrder(std::move(run)), judgements);
  }
  Json reply;
  for (const auto& [name, value] : scores.Means()) reply[name] = value;
  return reply;
}

absl::StatusOr<Json> Search(const Json& request) {
  IndexSpec spec;
  spec.kind = request.at("kind") == "hnsw" ? v1::INDEX_KIND_HNSW : v1::INDEX_KIND_FLAT;
  spec.metric = request.at("metric") == "dot" ? v1::VECTOR_METRIC_DOT_PRODUCT : v1::VECTOR_METRIC_COSINE;
  const auto vectors = request.at("vectors").get<std::vector<std::vector<float>>>();
  spec.dimensions = static_cast<int>(vectors.at(0).size());
  CollectionIndex index(spec);
  IndexChange change;
  for (size_t i = 0; i < vectors.size(); ++i) {
    change.put.push_back({static_cast<int64_t>(i), request.at("ids").at(i), {}, vectors[i]});
  }
  absl::Status applied = index.Apply(std::move(change));
  if (!applied.ok()) return applied;
  const auto found =
      index.Search(request.at("queries").get<std::vector<std::vector<float>>>(), request.at("top_k"), Metadata());
  if (!found.ok()) return found.status();
  Json reply = Json::array();
  for (const auto& hits : *found) {
    Json& row = reply.emplace_back(Json::array());
    for (const IndexHit& hit : hits) row.push_back({hit.id, hit.score});
  }
  return reply;
}

}  // namespace
}  // namespace tenon::server

int main() {
  for (std::string line; std::getline(std::cin, line);) {
    const auto request = nlohmann::json::parse(line);
    if (request.at("command") == "score") {
      std::cout << tenon::server::Score(request).dump() << std::endl;
      continue;
    }
    const auto reply = tenon::server::Search(request);
    if (!reply.ok()) {
      std::cerr << reply.status() << std::endl;
      return 1;
    }
    std::cout << reply->dump() << std::endl;
  }
}
