#include "worker/engine/summarize/extractive.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "absl/strings/str_cat.h"
#include "common/formats/status.h"

namespace tenon::engine {
namespace {

absl::Status CheckOptions(const ExtractOptions& options) {
  const auto wrong = [](const char* field, const std::string& what) {
    return TenonError(Reason::kOptionInvalid, absl::StrCat(field, " ", what), field);
  };
  if (options.max_sentences < 1)
    return wrong("max_sentences", absl::StrCat("is ", options.max_sentences, "; it must be 1 or more"));
  if (options.max_words < 0)
    return wrong("max_words", absl::StrCat("is ", options.max_words, "; it must be 0 or more"));
  if (!(options.lambda >= 0 && options.lambda <= 1))
    return wrong("lambda", absl::StrCat("is ", options.lambda, "; it must be from 0 to 1"));
  return absl::OkStatus();
}

// Sums are of doubles in a fixed order: the same on every machine.
double Dot(const double* a, const double* b, size_t size) {
  double sum = 0;
  for (size_t i = 0; i < size; ++i) sum += a[i] * b[i];
  return sum;
}

// To length 1; zeros stay zeros, which are unlike everything.
void Normalize(double* row, size_t size) {
  const double norm = std::sqrt(Dot(row, row, size));
  for (size_t i = 0; norm > 0 && i < size; ++i) row[i] /= norm;
}

// What was chosen, and whether another sentence still fits.
class Budget {
 public:
  Budget(const std::vector<int64_t>& words, const ExtractOptions& options) : words_(words), options_(options) {}

  bool full() const { return static_cast<int64_t>(chosen_.size()) >= options_.max_sentences; }
  bool Fits(size_t sentence) const {
    return chosen_.empty() || options_.max_words == 0 || used_ + words_[sentence] <= options_.max_words;
  }
  void Take(size_t sentence) {
    used_ += words_[sentence];
    chosen_.push_back(sentence);
  }
  std::vector<size_t> InOrder() {
    std::sort(chosen_.begin(), chosen_.end());
    return std::move(chosen_);
  }

 private:
  const std::vector<int64_t>& words_;
  const ExtractOptions& options_;
  std::vector<size_t> chosen_;
  int64_t used_ = 0;
};

}  // namespace

absl::StatusOr<std::vector<size_t>> ExtractSentences(const std::vector<float>& embeddings,
                                                     const std::vector<int64_t>& words, const ExtractOptions& options) {
  RETURN_IF_ERROR(CheckOptions(options));
  const size_t count = words.size();
  if (count == 0 ? !embeddings.empty() : (embeddings.empty() || embeddings.size() % count != 0)) {
    return absl::InternalError(absl::StrCat(embeddings.size(), " numbers are no embeddings of ", count, " sentences"));
  }
  if (count == 0) return std::vector<size_t>();
  const size_t hidden = embeddings.size() / count;
  std::vector<double> rows(embeddings.begin(), embeddings.end()), centroid(hidden);
  for (size_t s = 0; s < count; ++s) {
    Normalize(&rows[s * hidden], hidden);
    for (size_t i = 0; i < hidden; ++i) centroid[i] += rows[s * hidden + i];
  }
  if (!std::all_of(centroid.begin(), centroid.end(), [](double x) { return std::isfinite(x); }))
    return absl::InternalError("an embedding holds a number that is not finite");
  Normalize(centroid.data(), hidden);

  std::vector<double> relevance(count);
  for (size_t s = 0; s < count; ++s) relevance[s] = Dot(&rows[s * hidden], centroid.data(), hidden);
  std::vector<double> likeness(count, 0);  // to the chosen sentence that is most like it
  std::vector<bool> gone(count);
  Budget budget(words, options);
  for (bool first = true; !budget.full(); first = false) {
    size_t best = count;
    double best_score = 0;
    for (size_t s = 0; s < count; ++s) {
      if (gone[s] || !budget.Fits(s)) continue;
      const double score = options.lambda * relevance[s] - (1 - options.lambda) * likeness[s];
      if (best == count || score > best_score) best = s, best_score = score;
    }
    if (best == count) break;
    gone[best] = true;
    budget.Take(best);
    for (size_t s = 0; s < count; ++s) {
      const double like = Dot(&rows[s * hidden], &rows[best * hidden], hidden);
      likeness[s] = first ? like : std::max(likeness[s], like);
    }
  }
  return budget.InOrder();
}

absl::StatusOr<std::vector<size_t>> ScoredSentences(const std::vector<float>& scores, const std::vector<int64_t>& words,
                                                    const ExtractOptions& options) {
  RETURN_IF_ERROR(CheckOptions(options));
  if (scores.size() != words.size()) {
    return absl::InternalError(absl::StrCat(scores.size(), " scores for ", words.size(), " sentences"));
  }
  if (!std::all_of(scores.begin(), scores.end(), [](float score) { return std::isfinite(score); }))
    return absl::InternalError("a score is not finite");
  std::vector<size_t> best(scores.size());
  std::iota(best.begin(), best.end(), 0);
  std::stable_sort(best.begin(), best.end(), [&](size_t a, size_t b) { return scores[a] > scores[b]; });
  Budget budget(words, options);
  for (const size_t s : best) {
    if (!budget.full() && budget.Fits(s)) budget.Take(s);
  }
  return budget.InOrder();
}

absl::StatusOr<std::vector<size_t>> LeadSentences(const std::vector<int64_t>& words, const ExtractOptions& options) {
  RETURN_IF_ERROR(CheckOptions(options));
  Budget budget(words, options);
  for (size_t s = 0; s < words.size() && !budget.full() && budget.Fits(s); ++s) budget.Take(s);
  return budget.InOrder();
}

int64_t CountWords(const std::string& sentence) {
  int64_t words = 0;
  bool inside = false;
  for (const char c : sentence) {
    const bool space = c == ' ' || (c >= '\t' && c <= '\r');
    words += !space && !inside;
    inside = !space;
  }
  return words;
}

}  // namespace tenon::engine
