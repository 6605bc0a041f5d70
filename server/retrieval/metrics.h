// How well a ranking agrees with judgements: trec_eval's definitions (https://github.com/usnistgov/trec_eval), as BEIR
// reports them.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace tenon::server {

struct ScoredDocument {
  std::string id;
  double score = 0;
};

// Document id -> relevance. Zero and below mean "judged, not relevant".
using Judgements = std::map<std::string, int64_t>;

// Document ids in trec_eval's order: score descending, and equal scores by id descending, whatever the order here.
std::vector<std::string> TrecOrder(std::vector<ScoredDocument> documents);

// Linear gain over log2(rank + 1), divided by the same of the best possible ranking of all judged documents. 0 without
// a relevant one.
double Ndcg(const std::vector<std::string>& ranking, const Judgements& judgements, int k);
// Relevant documents among the first k, divided by all relevant ones (so it may stay below 1 for every ranking). 0
// without one.
double Recall(const std::vector<std::string>& ranking, const Judgements& judgements, int k);
// 1 / rank of the first relevant document among the first k; 0 when there is none.
double ReciprocalRank(const std::vector<std::string>& ranking, const Judgements& judgements, int k);

// Plain means over queries. trec_eval's mean: over the queries that were run and are judged. (BEIR divides MRR by all
// judged queries, which is the same as long as every judged query was run.)
class RetrievalScores {
 public:
  explicit RetrievalScores(std::vector<int> ks) : ks_(std::move(ks)) {}
  void Add(const std::vector<std::string>& ranking, const Judgements& judgements);
  // `ndcg@10`, `recall@10`, `mrr@10`, ... in the order of ks.
  std::vector<std::pair<std::string, double>> Means() const;
  int64_t queries() const { return queries_; }

 private:
  struct Sums {
    double ndcg = 0, recall = 0, reciprocal_rank = 0;
  };
  std::vector<int> ks_;
  std::vector<Sums> sums_ = std::vector<Sums>(ks_.size());
  int64_t queries_ = 0;
};

}  // namespace tenon::server
