#include "server/retrieval/metrics.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"

namespace tenon::server {
namespace {

int64_t Relevance(const Judgements& judgements, const std::string& id) {
  const auto found = judgements.find(id);
  return found == judgements.end() ? 0 : std::max<int64_t>(found->second, 0);
}

size_t Cut(const std::vector<std::string>& ranking, int k) { return std::min<size_t>(ranking.size(), std::max(k, 0)); }

double Discounted(int64_t gain, size_t index) {
  return static_cast<double>(gain) / std::log2(static_cast<double>(index) + 2);
}

}  // namespace

std::vector<std::string> TrecOrder(std::vector<ScoredDocument> documents) {
  std::sort(documents.begin(), documents.end(), [](const ScoredDocument& a, const ScoredDocument& b) {
    return a.score != b.score ? a.score > b.score : a.id > b.id;
  });
  std::vector<std::string> ids;
  ids.reserve(documents.size());
  for (ScoredDocument& document : documents) ids.push_back(std::move(document.id));
  return ids;
}

double Ndcg(const std::vector<std::string>& ranking, const Judgements& judgements, int k) {
  std::vector<int64_t> gains;
  for (const auto& [id, relevance] : judgements) {
    if (relevance > 0) gains.push_back(relevance);
  }
  std::sort(gains.rbegin(), gains.rend());
  double ideal = 0;
  for (size_t i = 0; i < std::min<size_t>(gains.size(), std::max(k, 0)); ++i) ideal += Discounted(gains[i], i);
  if (ideal == 0) return 0;
  double sum = 0;
  for (size_t i = 0; i < Cut(ranking, k); ++i) sum += Discounted(Relevance(judgements, ranking[i]), i);
  return sum / ideal;
}

double Recall(const std::vector<std::string>& ranking, const Judgements& judgements, int k) {
  int64_t relevant = 0;
  for (const auto& [id, relevance] : judgements) relevant += relevance > 0;
  if (relevant == 0) return 0;
  int64_t found = 0;
  for (size_t i = 0; i < Cut(ranking, k); ++i) found += Relevance(judgements, ranking[i]) > 0;
  return static_cast<double>(found) / static_cast<double>(relevant);
}

double ReciprocalRank(const std::vector<std::string>& ranking, const Judgements& judgements, int k) {
  for (size_t i = 0; i < Cut(ranking, k); ++i) {
    if (Relevance(judgements, ranking[i]) > 0) return 1 / static_cast<double>(i + 1);
  }
  return 0;
}

void RetrievalScores::Add(const std::vector<std::string>& ranking, const Judgements& judgements) {
  ++queries_;
  for (size_t i = 0; i < ks_.size(); ++i) {
    sums_[i].ndcg += Ndcg(ranking, judgements, ks_[i]);
    sums_[i].recall += Recall(ranking, judgements, ks_[i]);
    sums_[i].reciprocal_rank += ReciprocalRank(ranking, judgements, ks_[i]);
  }
}

std::vector<std::pair<std::string, double>> RetrievalScores::Means() const {
  std::vector<std::pair<std::string, double>> means;
  const double count = static_cast<double>(std::max<int64_t>(queries_, 1));
  for (size_t i = 0; i < ks_.size(); ++i) {
    means.emplace_back(absl::StrCat("ndcg@", ks_[i]), sums_[i].ndcg / count);
    means.emplace_back(absl::StrCat("recall@", ks_[i]), sums_[i].recall / count);
    means.emplace_back(absl::StrCat("mrr@", ks_[i]), sums_[i].reciprocal_rank / count);
  }
  return means;
}

}  // namespace tenon::server
