// ROUGE (C.-Y. Lin, 2004), number for number as Google's rouge_score 0.1.2 counts it.
//
// Tokens are runs of [a-z0-9] in the lower-cased text: all other letters part words, `café` is `caf`. With the stemmer,
// tokens of more than three characters are stemmed. ROUGE-L takes a text as one sequence; ROUGE-Lsum takes each line as
// a sentence, so that whoever wants sentences breaks the text first.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace tenon::engine {

// Each from 0 to 1; 0 where it would divide by zero.
struct RougeScore {
  double precision = 0, recall = 0, f1 = 0;
};

struct RougeScores {
  RougeScore rouge1, rouge2, rouge_l, rouge_lsum;
};

struct RougeOptions {
  bool use_stemmer = false;
};

// Texts are UTF-8.
RougeScores ScoreRouge(const std::string& reference, const std::string& prediction, const RougeOptions& options);

// The best score of each kind by F1; of equal ones that of the earlier reference. Zeros when there is none.
RougeScores ScoreRouge(const std::vector<std::string>& references, const std::string& prediction,
                       const RougeOptions& options);

// Of n-grams, or other units, that were counted: `hits` are in both texts.
RougeScore RougeOfCounts(int64_t hits, int64_t predicted, int64_t wanted);

// What the scores are counted on.
std::vector<std::string> RougeTokens(const std::string& text, const RougeOptions& options);

}  // namespace tenon::engine
