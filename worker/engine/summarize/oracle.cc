#include "worker/engine/summarize/oracle.h"

#include <algorithm>
#include <optional>
#include <unordered_map>

#include "worker/engine/evaluate/rouge.h"
#include "worker/engine/summarize/words.h"

namespace tenon::engine {
namespace {

constexpr int32_t kForeign = -1;  // a word or pair of words that the reference has not: it counts, but never hits

// Words, or pairs of them, of a selection against those of the reference, counted as the selection changes.
class Overlap {
 public:
  // Of the reference; the number is one more than the last, or one that came before.
  void Want(int32_t gram) {
    if (static_cast<size_t>(gram) == wanted_.size()) wanted_.push_back(0);
    ++wanted_[static_cast<size_t>(gram)];
    ++wanted_size_;
  }
  void Start() { left_ = wanted_; }
  void Add(int32_t gram) {
    ++size_;
    if (gram != kForeign && left_[static_cast<size_t>(gram)]-- > 0) ++hits_;
  }
  void Remove(int32_t gram) {
    --size_;
    if (gram != kForeign && ++left_[static_cast<size_t>(gram)] > 0) --hits_;
  }
  double F1() const { return RougeOfCounts(hits_, size_, wanted_size_).f1; }

 private:
  std::vector<int64_t> wanted_, left_;  // left: wanted less what the selection has, below 0 where it has more
  int64_t wanted_size_ = 0, size_ = 0, hits_ = 0;
};

// Chosen sentences, one behind another as in the text: pairs of words go across their ends.
class Selection {
 public:
  Selection(const std::vector<std::string>& sentences, const std::string& reference) {
    std::unordered_map<std::string, int32_t> words;
    int32_t last = kForeign;
    for (const std::string& token : SummaryWords(reference)) {
      const int32_t word = words.try_emplace(token, static_cast<int32_t>(words.size())).first->second;
      words_.Want(word);
      if (last != kForeign) {
        pairs_.Want(
            pair_numbers_.try_emplace(Key(last, word), static_cast<int32_t>(pair_numbers_.size())).first->second);
      }
      last = word;
    }
    for (const std::string& sentence : sentences) {
      std::vector<int32_t>& tokens = sentences_.emplace_back();
      for (const std::string& token : SummaryWords(sentence)) {
        const auto found = words.find(token);
        tokens.push_back(found == words.end() ? kForeign : found->second);
      }
    }
    words_.Start();
    pairs_.Start();
  }

  // What the selection would be worth with this sentence, which is not in it.
  double WorthWith(size_t sentence) {
    Change(sentence, &Overlap::Add, &Overlap::Remove);
    const double worth = words_.F1() + pairs_.F1();
    Change(sentence, &Overlap::Remove, &Overlap::Add);
    return worth;
  }
  void Take(size_t sentence) {
    Change(sentence, &Overlap::Add, &Overlap::Remove);
    chosen_.insert(std::lower_bound(chosen_.begin(), chosen_.end(), sentence), sentence);
  }
  bool Has(size_t sentence) const { return std::binary_search(chosen_.begin(), chosen_.end(), sentence); }
  const std::vector<size_t>& chosen() const { return chosen_; }

 private:
  using Count = void (Overlap::*)(int32_t gram);

  static uint64_t Key(int32_t first, int32_t second) {
    return static_cast<uint64_t>(first) << 32 | static_cast<uint32_t>(second);
  }
  int32_t Pair(int32_t first, int32_t second) const {
    if (first == kForeign || second == kForeign) return kForeign;
    const auto found = pair_numbers_.find(Key(first, second));
    return found == pair_numbers_.end() ? kForeign : found->second;
  }
  // Counts the sentence in or out: `mine` is done to what it brings, `other` to the pair of words that it parts.
  void Change(size_t sentence, Count mine, Count other) {
    const std::vector<int32_t>& tokens = sentences_[sentence];
    if (tokens.empty()) return;
    std::optional<int32_t> before, behind;  // the words next to it; sentences without a word are nothing
    for (const size_t one : chosen_) {
      if (sentences_[one].empty()) continue;
      if (one < sentence) before = sentences_[one].back();
      if (one > sentence && !behind.has_value()) behind = sentences_[one].front();
    }
    for (const int32_t word : tokens) (words_.*mine)(word);
    for (size_t i = 1; i < tokens.size(); ++i) (pairs_.*mine)(Pair(tokens[i - 1], tokens[i]));
    if (before.has_value()) (pairs_.*mine)(Pair(*before, tokens.front()));
    if (behind.has_value()) (pairs_.*mine)(Pair(tokens.back(), *behind));
    if (before.has_value() && behind.has_value()) (pairs_.*other)(Pair(*before, *behind));
  }

  std::unordered_map<uint64_t, int32_t> pair_numbers_;  // of the reference
  Overlap words_, pairs_;
  std::vector<std::vector<int32_t>> sentences_;  // their words, as the reference numbers them
  std::vector<size_t> chosen_;                   // in the text's order
};

}  // namespace

std::vector<size_t> OracleSentences(const std::vector<std::string>& sentences, const std::string& reference,
                                    int64_t max_sentences) {
  Selection selection(sentences, reference);
  double reached = 0;
  for (int64_t step = 0; step < max_sentences; ++step) {
    size_t best = sentences.size();
    for (size_t s = 0; s < sentences.size(); ++s) {
      if (selection.Has(s)) continue;
      const double with = selection.WorthWith(s);
      if (with > reached) best = s, reached = with;
    }
    if (best == sentences.size()) break;
    selection.Take(best);
  }
  return selection.chosen();
}

}  // namespace tenon::engine
