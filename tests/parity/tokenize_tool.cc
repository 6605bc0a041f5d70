// Tokenizes JSON lines for tests/parity/tokenizer_test.py, t5_tokenizer_test.py and byte_level_test.py.
//
//   tenon-tokenize-tool FOLDER   {"text": T, "max_tokens": N} a line in, [ids...] a line out; {"pair": [T, T],
//                                "max_tokens": N} a line in, [[ids...], [types...]] a line out
//   tenon-tokenize-tool --words  "T" a line in, [words...] a line out: clean-up and splitting alone, lower-casing
//   tenon-tokenize-tool --generative FOLDER  {"text": T, "max_tokens": N}, {"pair": [T, T], "max_tokens": N} or
//                                            {"piece": T} a line in, [ids...] a line out; {"ids": [ids...]} a line in,
//                                            "TEXT" a line out
//   tenon-tokenize-tool --byte-level FOLDER  the same
//   tenon-tokenize-tool --byte-level-words   "T" a line in, [bytes...] a line out: how long the words are
//   tenon-tokenize-tool --charsmap FILE   "T" a line in, "T" a line out, normalized
#include <fstream>
#include <iostream>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>

#include "worker/engine/text/bert_normalizer.h"
#include "worker/engine/text/byte_level_tokenizer.h"
#include "worker/engine/text/byte_level_words.h"
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

json IdsAndTypes(const tenon::engine::Encoding& encoding) {
  std::vector<int> types(encoding.ids.size(), 0);
  for (size_t i = 0; i < types.size(); ++i) types[i] = static_cast<int64_t>(i) >= encoding.second_type;
  return {encoding.ids, types};
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
    const bool pair = request.contains("pair");
    const json ids =
        pair ? IdsAndTypes((*tokenizer)->EncodePair(request["pair"][0], request["pair"][1], request["max_tokens"]))
             : json((*tokenizer)->Encode(request["text"], request["max_tokens"]).ids);
    std::cout << ids.dump() << '\n';
  }
  return 0;
}

json Answer(const tenon::engine::GenerativeTokenizer& tokenizer, const json& request) {
  if (request.contains("ids")) return tokenizer.Decode(request["ids"].get<std::vector<int32_t>>());
  if (request.contains("piece")) return tokenizer.EncodePiece(request["piece"]);
  if (request.contains("pair")) {
    return tokenizer.EncodePair(request["pair"][0], request["pair"][1], request["max_tokens"]).ids;
  }
  return tokenizer.Encode(request["text"], request["max_tokens"]).ids;
}

template <typename Loaded>
int Answers(const Loaded& tokenizer) {
  if (!tokenizer.ok()) {
    std::cerr << tokenizer.status() << '\n';
    return 1;
  }
  std::string line;
  while (std::getline(std::cin, line)) std::cout << Answer(**tokenizer, json::parse(line)).dump() << '\n';
  return 0;
}

int ByteLevelWords() {
  std::string line;
  while (std::getline(std::cin, line)) {
    const std::string text = json::parse(line);
    json words = json::array();
    const char* const end = text.data() + text.size();
    for (const char* p = text.data(); p != end; p += words.back().get<size_t>()) {
      words.push_back(tenon::engine::WordBytes(p, end));
    }
    std::cout << words.dump() << '\n';
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
  if (argc == 2 && first == "--byte-level-words") return ByteLevelWords();
  if (argc == 2) return first == "--words" ? Words() : Ids(first);
  if (argc == 3 && first == "--generative") return Answers(tenon::engine::LoadGenerativeTokenizer(argv[2]));
  if (argc == 3 && first == "--byte-level") return Answers(tenon::engine::ByteLevelTokenizer::Load(argv[2]));
  if (argc == 3 && first == "--charsmap") return Normalized(argv[2]);
  std::cerr << "usage: tenon-tokenize-tool FOLDER | --words | --generative FOLDER | --byte-level FOLDER | "
               "--byte-level-words | --charsmap FILE\n";
  return 2;
}
