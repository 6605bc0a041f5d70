// Tokenizes JSON lines for tests/parity/tokenizer_test.py.
//
//   tenon-tokenize-tool FOLDER   {"text": T, "max_tokens": N} a line in, [ids...] a line out
//   tenon-tokenize-tool --words  "T" a line in, [words...] a line out: clean-up and splitting alone, lower-casing
#include <iostream>
#include <nlohmann/json.hpp>
#include <string>

#include "worker/engine/text/bert_normalizer.h"
#include "worker/engine/text/tokenizer.h"

namespace {

using nlohmann::json;

int Words() {
  const tenon::engine::BertNormalizer normalizer({});
  std::string line;
  while (std::getline(std::cin, line)) {
    const std::string text = json::parse(line);
    json words = json::array();
    tenon::engine::WordBuilder builder(1 << 20, [&](const std::string& word, int64_t) {
      words.push_back(word);
      return true;
    });
    normalizer.Run(text.data(), text.data() + text.size(), [&](tenon::engine::CodePoint c) { return builder.Put(c); });
    builder.Finish();
    std::cout << words.dump() << '\n';
  }
  return 0;
}

int Ids(const std::string& folder) {
  const auto tokenizer = tenon::engine::LoadTokenizer(folder);
  if (!tokenizer.ok()) {
    std::cerr << tokenizer.status() << '\n';
    return 1;
  }
  std::string line;
  while (std::getline(std::cin, line)) {
    const json request = json::parse(line);
    std::cout << json((*tokenizer)->Encode(request["text"], request["max_tokens"]).ids).dump() << '\n';
  }
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) {
    std::cerr << "usage: tenon-tokenize-tool FOLDER | --words\n";
    return 2;
  }
  std::ios::sync_with_stdio(false);
  return std::string(argv[1]) == "--words" ? Words() : Ids(argv[1]);
}
