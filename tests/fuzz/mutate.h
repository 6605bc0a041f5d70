// Deterministic mutations of good inputs, for parsers of bytes from outside. No corpus on disk, no engine: the same
// runs everywhere.
#pragma once

#include <cstdint>
#include <random>
#include <string>
#include <vector>

namespace tenon::fuzz {

// Makes broken versions of its seeds. The same number gives the same inputs on every machine.
class Mutator {
 public:
  // `words` are pieces that mean something to the parser, such as keys and huge numbers.
  Mutator(std::vector<std::string> seeds, std::vector<std::string> words, uint64_t number)
      : seeds_(std::move(seeds)), words_(std::move(words)), random_(number) {}

  std::string Next() {
    std::string bytes = Pick(seeds_);
    const uint64_t changes = 1 + Below(6);
    for (uint64_t i = 0; i < changes; ++i) Change(&bytes);
    return bytes;
  }

 private:
  uint64_t Below(uint64_t end) { return end == 0 ? 0 : random_() % end; }
  const std::string& Pick(const std::vector<std::string>& from) { return from[Below(from.size())]; }

  void Change(std::string* bytes) {
    const size_t at = Below(bytes->size() + 1);
    const size_t left = bytes->size() - at;
    switch (Below(8)) {
      case 0:  // one bit
        if (left > 0) (*bytes)[at] = static_cast<char>((*bytes)[at] ^ (1 << Below(8)));
        break;
      case 1:  // one byte
        if (left > 0) (*bytes)[at] = static_cast<char>(Below(256));
        break;
      case 2:
        bytes->insert(at, 1, static_cast<char>(Below(256)));
        break;
      case 3:
        bytes->erase(at, Below(left + 1) % 16);
        break;
      case 4:
        bytes->resize(at);
        break;
      case 5:
        bytes->insert(at, Pick(words_));
        break;
      case 6: {  // a piece of this or another seed
        const std::string& other = Pick(seeds_);
        const size_t from = Below(other.size() + 1);
        bytes->insert(at, other.substr(from, Below(40)));
        break;
      }
      default: {  // a word in place of what is there
        const std::string& word = Pick(words_);
        bytes->replace(at, std::min(left, word.size()), word);
        break;
      }
    }
  }

  const std::vector<std::string> seeds_;
  const std::vector<std::string> words_;
  std::mt19937_64 random_;
};

}  // namespace tenon::fuzz
