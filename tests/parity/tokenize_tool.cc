// Tokenizes JSON lines for tests/parity/tokenizer_test.py and t5_tokenizer_test.py.
//
//   tenon-tokenize-tool FOLDER   {"text": T, "max_tokens": N} a line in, [ids...] a line out
//   tenon-tokenize-tool --words  "T" a line in, [words...] a line out: clean-up and splitting alone, lower-casing
//   tenon-tokenize-tool --t5 FOLDER       {"text": T, "max_tokens": N} or {"piece": T} a line in, [ids...] a line out;
//                                         {"ids": [ids...]} a line in, "TEXT" a line out
//   tenon-tokenize-tool --charsmap FILE   "T" a line in, "T" a line out, normalized
#include <fstream>
#include <iostream>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>

#include "worker/engine/text/bert_normalizer.h"
#include "worker/engine/text/charsmap.h"
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

int T5(const std::string& folder) {
  const auto tokenizer = tenon::engine::LoadGenerativeTokenizer(folder);
  if (!tokenizer.ok()) {
    std::cerr << tokenizer.status() << '\n';
    return 1;
  }
  std::string line;
  while (std::getline(std::cin, line)) {
    const json request = json::parse(line);
    if (request.contains("ids")) {
      std::cout << json((*tokenizer)->Decode(request["ids"].get<std::vector<int32_t>>())).dump() << '\n';
    } else if (request.contains("piece")) {
      std::cout << json((*tokenizer)->EncodePiece(request["piece"])).dump() << '\n';
    } else {
      std::cout << json((*tokenizer)->Encode(request["text"], request["max_tokens"]).ids).dump() << '\n';
    }
  }
  return 0;
}

int Normalized(const std::string& file) {
  std::ifstream in(file, std::ios::binary);
  std::stringstream bytes;
  bytes << in.rdbuf();
  const auto charsmap = tenon::engine::Charsmap::Parse(bytes.str());
  if (!charsmap.ok()) {
    std::cerr << charsmap.status() << '\n';
    return 1;
  }
  std::string line;
  while (std::getline(std::cin, line)) {
    std::cout << json(charsmap->Normalize(json::parse(line).get<std::string>())).dump() << '\n';
  }
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  std::ios::sync_with_stdio(false);
  const std::string first = argc > 1 ? argv[1] : "";
  if (argc == 2) return first == "--words" ? Words() : Ids(first);
  if (argc == 3 && first == "--t5") return T5(argv[2]);
  if (argc == 3 && first == "--charsmap") return Normalized(argv[2]);
  std::cerr << "usage: tenon-tokenize-tool FOLDER | --words | --t5 FOLDER | --charsmap FILE\n";
  return 2;
}
