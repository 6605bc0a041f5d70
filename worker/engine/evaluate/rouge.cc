#include "worker/engine/evaluate/rouge.h"

#include <algorithm>
#include <cstdint>
#include <numeric>
#include <string_view>
#include <unordered_map>

#include "worker/engine/evaluate/lcs.h"
#include "worker/engine/evaluate/porter_stemmer.h"

namespace tenon::engine {
namespace {

constexpr size_t kLongestUnstemmed = 3;

// Tokens as small numbers, the same for the texts of one comparison.
class Numbering {
 public:
  explicit Numbering(const RougeOptions& options) : options_(options) {}

  std::vector<TokenIds> ReadLines(const std::string& text) {
    std::vector<TokenIds> lines;
    for (size_t start = 0; start <= text.size();) {
      const size_t end = std::min(text.find('\n', start), text.size());
      if (end > start) lines.push_back(Read(text.substr(start, end - start)));
      start = end + 1;
    }
    return lines;
  }

  size_t size() const { return ids_.size(); }

 private:
  TokenIds Read(const std::string& text) {
    TokenIds ids;
    for (std::string& token : RougeTokens(text, options_))
      ids.push_back(ids_.try_emplace(std::move(token), static_cast<int32_t>(ids_.size())).first->second);
    return ids;
  }

  const RougeOptions options_;
  std::unordered_map<std::string, int32_t> ids_;
};

TokenIds Joined(const std::vector<TokenIds>& lines) {
  TokenIds all;
  for (const TokenIds& line : lines) all.insert(all.end(), line.begin(), line.end());
  return all;
}

// Each n-gram as one number, sorted.
std::vector<uint64_t> Grams(const TokenIds& ids, size_t n) {
  std::vector<uint64_t> grams;
  for (size_t i = 0; i + n <= ids.size(); ++i) {
    uint64_t gram = 0;
    for (size_t k = 0; k < n; ++k) gram = gram << 32 | static_cast<uint32_t>(ids[i + k]);
    grams.push_back(gram);
  }
  std::sort(grams.begin(), grams.end());
  return grams;
}

RougeScore RougeN(const TokenIds& reference, const TokenIds& prediction, size_t n) {
  const std::vector<uint64_t> wanted = Grams(reference, n), predicted = Grams(prediction, n);
  int64_t hits = 0;
  for (size_t i = 0, j = 0; i < wanted.size() && j < predicted.size();) {
    if (wanted[i] == predicted[j]) ++hits;
    const bool advance_wanted = wanted[i] <= predicted[j], advance_predicted = predicted[j] <= wanted[i];
    i += advance_wanted;
    j += advance_predicted;
  }
  return RougeOfCounts(hits, static_cast<int64_t>(predicted.size()), static_cast<int64_t>(wanted.size()));
}

RougeScore RougeL(const TokenIds& reference, const TokenIds& prediction) {
  if (reference.empty() || prediction.empty()) return {};
  return RougeOfCounts(LcsLength(reference, prediction), static_cast<int64_t>(prediction.size()),
                       static_cast<int64_t>(reference.size()));
}

// Tokens of each reference sentence that are in its longest common subsequence with any predicted one; each counts as
// often as both texts have it.
RougeScore RougeLsum(const std::vector<TokenIds>& reference, const std::vector<TokenIds>& prediction, size_t tokens) {
  std::vector<int64_t> wanted(tokens), predicted(tokens);
  for (const TokenIds& sentence : reference) {
    for (const int32_t id : sentence) ++wanted[static_cast<size_t>(id)];
  }
  for (const TokenIds& sentence : prediction) {
    for (const int32_t id : sentence) ++predicted[static_cast<size_t>(id)];
  }
  const int64_t wanted_size = std::accumulate(wanted.begin(), wanted.end(), int64_t{0});
  const int64_t predicted_size = std::accumulate(predicted.begin(), predicted.end(), int64_t{0});
  if (wanted_size == 0 || predicted_size == 0) return {};
  int64_t hits = 0;
  for (const TokenIds& sentence : reference) {
    std::vector<bool> used(sentence.size());
    for (const TokenIds& other : prediction) MarkLcs(sentence, other, &used);
    for (size_t i = 0; i < sentence.size(); ++i) {
      const auto id = static_cast<size_t>(sentence[i]);
      if (!used[i] || wanted[id] == 0 || predicted[id] == 0) continue;
      ++hits;
      --wanted[id];
      --predicted[id];
    }
  }
  return RougeOfCounts(hits, predicted_size, wanted_size);
}

}  // namespace

RougeScore RougeOfCounts(int64_t hits, int64_t predicted, int64_t wanted) {
  RougeScore score;
  score.precision = static_cast<double>(hits) / static_cast<double>(std::max<int64_t>(predicted, 1));
  score.recall = static_cast<double>(hits) / static_cast<double>(std::max<int64_t>(wanted, 1));
  if (score.precision + score.recall > 0)
    score.f1 = 2 * score.precision * score.recall / (score.precision + score.recall);
  return score;
}

std::vector<std::string> RougeTokens(const std::string& text, const RougeOptions& options) {
  // Two letters beyond ASCII have an ASCII lower case: the Kelvin sign and, before a combining dot, the Turkish I.
  constexpr std::string_view kKelvin = "\u212A", kDottedI = "\u0130";
  std::vector<std::string> tokens;
  std::string token;
  const auto end_token = [&] {
    if (token.empty()) return;
    tokens.push_back(options.use_stemmer && token.size() > kLongestUnstemmed ? PorterStem(token) : token);
    token.clear();
  };
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if ((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9')) {
      token.push_back(c);
    } else if (c >= 'A' && c <= 'Z') {
      token.push_back(static_cast<char>(c - 'A' + 'a'));
    } else if (text.compare(i, kKelvin.size(), kKelvin) == 0) {
      token.push_back('k');
      i += kKelvin.size() - 1;
    } else {
      if (text.compare(i, kDottedI.size(), kDottedI) == 0) token.push_back('i');
      end_token();
    }
  }
  end_token();
  return tokens;
}

RougeScores ScoreRouge(const std::string& reference, const std::string& prediction, const RougeOptions& options) {
  Numbering numbering(options);
  // A line's end parts tokens: the lines' tokens in a row are the text's.
  const std::vector<TokenIds> wanted_lines = numbering.ReadLines(reference);
  const std::vector<TokenIds> predicted_lines = numbering.ReadLines(prediction);
  const TokenIds wanted = Joined(wanted_lines), predicted = Joined(predicted_lines);
  RougeScores scores;
  scores.rouge1 = RougeN(wanted, predicted, 1);
  scores.rouge2 = RougeN(wanted, predicted, 2);
  scores.rouge_l = RougeL(wanted, predicted);
  scores.rouge_lsum = RougeLsum(wanted_lines, predicted_lines, numbering.size());
  return scores;
}

RougeScores ScoreRouge(const std::vector<std::string>& references, const std::string& prediction,
                       const RougeOptions& options) {
  RougeScores best;
  for (size_t i = 0; i < references.size(); ++i) {
    const RougeScores scores = ScoreRouge(references[i], prediction, options);
    for (const auto kind :
         {&RougeScores::rouge1, &RougeScores::rouge2, &RougeScores::rouge_l, &RougeScores::rouge_lsum}) {
      if (i == 0 || (scores.*kind).f1 > (best.*kind).f1) best.*kind = scores.*kind;
    }
  }
  return best;
}

}  // namespace tenon::engine
