// ROUGE for tests/parity/rouge_test.py.
//
//   tenon-rouge-tool score [--stem]   {"references": [T...], "prediction": T} a line in, scores [4][3] a line out
//   tenon-rouge-tool stem             a word a line in, its stem a line out
#include <iostream>
#include <nlohmann/json.hpp>
#include <string>

#include "worker/engine/evaluate/porter_stemmer.h"
#include "worker/engine/evaluate/rouge.h"

namespace {

using nlohmann::json;

json Numbers(const tenon::engine::RougeScore& score) { return {score.precision, score.recall, score.f1}; }

int Score(bool stem) {
  std::string line;
  while (std::getline(std::cin, line)) {
    const json row = json::parse(line);
    const auto references = row["references"].get<std::vector<std::string>>();
    const auto scores =
        tenon::engine::ScoreRouge(references, row["prediction"].get<std::string>(), {.use_stemmer = stem});
    std::cout << json{Numbers(scores.rouge1), Numbers(scores.rouge2), Numbers(scores.rouge_l),
                      Numbers(scores.rouge_lsum)}
              << '\n';
  }
  return 0;
}

int Stem() {
  std::string word;
  while (std::getline(std::cin, word)) std::cout << tenon::engine::PorterStem(word) << '\n';
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  const std::string mode = argc > 1 ? argv[1] : "";
  std::ios::sync_with_stdio(false);
  if (mode == "stem" && argc == 2) return Stem();
  if (mode == "score" && argc == 2) return Score(false);
  if (mode == "score" && argc == 3 && std::string(argv[2]) == "--stem") return Score(true);
  std::cerr << "usage: tenon-rouge-tool score [--stem] | stem\n";
  return 2;
}
