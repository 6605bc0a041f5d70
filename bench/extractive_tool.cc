// Sentences and extracts for bench/extractive.py.
//
//   tenon-extractive-tool split    "T" a line in, ["sentence", ...] a line out
//   tenon-extractive-tool oracle   {"sentences": [T...], "reference": T, "max_sentences": n} a line in, [place, ...]
//   out tenon-extractive-tool scores   {"sentences": [T...], "references": [T...], "embeddings"?: [[x...]...],
//                                  "scores"?: [x...]} a line in, with what a trained scorer gives; at the end a line
//                                  for each way and number of sentences: ROUGE F1, mean and 95 % interval
#include <array>
#include <iostream>
#include <map>
#include <nlohmann/json.hpp>
#include <string>

#include "absl/strings/str_format.h"
#include "worker/engine/evaluate/bootstrap.h"
#include "worker/engine/evaluate/rouge.h"
#include "worker/engine/summarize/extractive.h"
#include "worker/engine/summarize/oracle.h"
#include "worker/engine/text/sentences.h"

namespace {

using nlohmann::json;
using tenon::engine::ExtractOptions;

constexpr int64_t kMostSentences = 4;

int Split() {
  const auto splitter = tenon::engine::SentenceSplitter::Make();
  std::string line;
  while (splitter.ok() && std::getline(std::cin, line)) {
    const std::string text = json::parse(line);
    json sentences = json::array();
    for (const auto& [begin, end] : splitter->Split(text)) sentences.push_back(text.substr(begin, end - begin));
    std::cout << sentences.dump() << '\n';
  }
  return splitter.ok() ? 0 : 1;
}

// Scores by way and kind of ROUGE, a number for each row.
using Table = std::map<std::string, std::array<std::vector<double>, 4>>;

bool ScoreRow(const json& row, Table& table) {
  const auto sentences = row["sentences"].get<std::vector<std::string>>();
  const auto references = row["references"].get<std::vector<std::string>>();
  std::vector<float> embeddings;
  std::vector<int64_t> words;
  for (const auto& one : row.value("embeddings", std::vector<std::vector<float>>()))
    embeddings.insert(embeddings.end(), one.begin(), one.end());
  for (const std::string& sentence : sentences) words.push_back(tenon::engine::CountWords(sentence));
  for (int64_t k = 1; k <= kMostSentences; ++k) {
    std::map<std::string, absl::StatusOr<std::vector<size_t>>> ways;
    ways["lead"] = tenon::engine::LeadSentences(words, {.max_sentences = k});
    if (row.contains("scores"))
      ways["trained"] = tenon::engine::ScoredSentences(row["scores"], words, {.max_sentences = k});
    for (const double lambda : {1.0, 0.8, 0.7, 0.6, 0.5, 0.3}) {
      if (embeddings.empty()) break;
      const std::string name = lambda == 1 ? "centroid" : absl::StrFormat("mmr %.1f", lambda);
      ways[name] = tenon::engine::ExtractSentences(embeddings, words, {.max_sentences = k, .lambda = lambda});
    }
    ways["oracle"] = tenon::engine::OracleSentences(sentences, references.front(), k);
    for (const auto& [way, chosen] : ways) {
      if (!chosen.ok()) {
        std::cerr << chosen.status() << '\n';
        return false;
      }
      std::string summary;
      for (const size_t s : *chosen) summary += sentences[s] + "\n";
      const auto scores = tenon::engine::ScoreRouge(references, summary, {.use_stemmer = true});
      auto& numbers = table[absl::StrFormat("%d %s", k, way)];
      numbers[0].push_back(scores.rouge1.f1);
      numbers[1].push_back(scores.rouge2.f1);
      numbers[2].push_back(scores.rouge_l.f1);
      numbers[3].push_back(scores.rouge_lsum.f1);
    }
  }
  return true;
}

// Places of the greedy oracle's sentences.
int Oracle() {
  std::string line;
  while (std::getline(std::cin, line)) {
    const json row = json::parse(line);
    std::cout << json(tenon::engine::OracleSentences(row["sentences"], row["reference"], row["max_sentences"])).dump()
              << '\n';
  }
  return 0;
}

int Scores() {
  Table table;
  std::string line;
  while (std::getline(std::cin, line)) {
    if (!ScoreRow(json::parse(line), table)) return 1;
  }
  for (const auto& [way, kinds] : table) {
    std::cout << absl::StrFormat("%-12s", way);
    for (const std::vector<double>& values : kinds) {
      const auto interval = tenon::engine::BootstrapMean(values, {});
      std::cout << absl::StrFormat("  %.4f [%.4f, %.4f]", interval.mean, interval.low, interval.high);
    }
    std::cout << '\n';
  }
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  const std::string mode = argc == 2 ? argv[1] : "";
  std::ios::sync_with_stdio(false);
  if (mode == "split") return Split();
  if (mode == "oracle") return Oracle();
  if (mode == "scores") return Scores();
  std::cerr << "usage: tenon-extractive-tool split | oracle | scores\n";
  return 2;
}
