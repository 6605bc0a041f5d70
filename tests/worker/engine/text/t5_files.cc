#include "tests/worker/engine/text/t5_files.h"

#include <cstring>
#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"

namespace tenon::test {
namespace {

std::string Varint(uint64_t value) {
  std::string bytes;
  for (; value >= 0x80; value >>= 7) bytes.push_back(static_cast<char>(value | 0x80));
  bytes.push_back(static_cast<char>(value));
  return bytes;
}

std::string FixedField(uint64_t number, float value) {
  std::string bytes(4, '\0');
  std::memcpy(bytes.data(), &value, 4);
  return Varint(number << 3 | 5) + bytes;
}

std::string U32(uint32_t value) {
  std::string bytes;
  for (int i = 0; i < 4; ++i) bytes.push_back(static_cast<char>(value >> (8 * i)));
  return bytes;
}

struct Node {
  std::map<uint8_t, Node> children;
  int64_t value = -1;  // offset of the replacement
};

// Darts-clone's double array, each node at the first place where it fits. A child with the label c of the node whose
// children start at `base` lies at base ^ c; the value is the child with the label 0.
class DoubleArray {
 public:
  explicit DoubleArray(const Node& root) {
    used_.insert(0);
    Place(root, 0, 0);
  }
  std::string Bytes() const {
    std::string bytes;
    const uint32_t size = units_.empty() ? 1 : units_.rbegin()->first + 1;
    for (uint32_t i = 0; i < size; ++i) bytes += U32(units_.count(i) > 0 ? units_.at(i) : 0);
    return bytes;
  }

 private:
  void Place(const Node& node, uint32_t at, uint8_t label) {
    uint32_t base = 1;
    const auto fits = [&] {
      if (bases_.count(base) > 0 || (node.value >= 0 && used_.count(base) > 0)) return false;
      for (const auto& [c, child] : node.children) {
        if (used_.count(base ^ c) > 0) return false;
      }
      return true;
    };
    while (!fits()) ++base;
    bases_.insert(base);
    units_[at] = (at ^ base) << 10 | label | (node.value >= 0 ? 0x100 : 0);
    if (node.value >= 0) {
      used_.insert(base);
      units_[base] = 0x80000000 | static_cast<uint32_t>(node.value);
    }
    for (const auto& [c, child] : node.children) used_.insert(base ^ c);
    for (const auto& [c, child] : node.children) Place(child, base ^ c, c);
  }

  std::map<uint32_t, uint32_t> units_;
  std::set<uint32_t> used_, bases_;
};

}  // namespace

std::string CharsmapBytes(const std::vector<std::pair<std::string, std::string>>& replacements) {
  Node root;
  std::string texts;
  for (const auto& [from, to] : replacements) {
    Node* node = &root;
    for (const char c : from) node = &node->children[static_cast<uint8_t>(c)];
    node->value = static_cast<int64_t>(texts.size());
    texts += to + '\0';
  }
  const std::string trie = DoubleArray(root).Bytes();
  return U32(static_cast<uint32_t>(trie.size())) + trie + texts;
}

std::string TinyCharsmap() {
  return CharsmapBytes(
      {{"\xEF\xBD\x81", "a"}, {"\xC2\xA0", " "}, {"\xE2\x96\x81", " "}, {"e\xCC\x81", "\xC3\xA9"}, {"\x01", ""}});
}

std::vector<TinyPiece> TinyPieces() {
  return {{"<pad>", 0, kControl},
          {"</s>", 0, kControl},
          {"<unk>", 0, kUnknown},
          {"\xE2\x96\x81", -2},
          {"\xE2\x96\x81"
           "a",
           -3},
          {"\xE2\x96\x81"
           "ab",
           -4},
          {"a", -5},
          {"b", -5},
          {"c", -5},
          {"bc", -7},
          {"\xC3\xA9", -7},
          {".", -4},
          {"<", -8}};
}

std::string ProtoField(uint64_t number, uint64_t value) { return Varint(number << 3) + Varint(value); }
std::string ProtoField(uint64_t number, const std::string& bytes) {
  return Varint(number << 3 | 2) + Varint(bytes.size()) + bytes;
}

std::string TinySpiece(const std::vector<TinyPiece>& pieces, const std::string& charsmap) {
  std::string model;
  for (const TinyPiece& piece : pieces) {
    model += ProtoField(
        1, ProtoField(1, piece.text) + FixedField(2, piece.score) + ProtoField(3, static_cast<uint64_t>(piece.type)));
  }
  // trainer_spec: model_type UNIGRAM, unk_id 2; normalizer_spec: its map.
  return model + ProtoField(2, ProtoField(3, 1) + ProtoField(40, 2)) + ProtoField(3, ProtoField(2, charsmap));
}

std::string TinyT5Json() {
  using Json = nlohmann::json;
  Json vocab = Json::array(), added = Json::array();
  for (const TinyPiece& piece : TinyPieces()) vocab.push_back({piece.text, piece.score});
  for (const char* sentinel : {"<extra_id_1>", "<extra_id_0>"}) vocab.push_back({sentinel, 0.0});
  for (const int id : {0, 1, 2, 13, 14}) {
    added.push_back(
        {{"id", id}, {"content", vocab[static_cast<size_t>(id)][0]}, {"special", true}, {"normalized", false}});
  }
  const Json metaspace = {{"type", "Metaspace"}, {"replacement", "\xE2\x96\x81"}, {"prepend_scheme", "always"}};
  return Json{{"version", "1.0"},
              {"truncation", nullptr},
              {"padding", nullptr},
              {"added_tokens", added},
              {"normalizer", {{"type", "Precompiled"}, {"precompiled_charsmap", absl::Base64Escape(TinyCharsmap())}}},
              {"pre_tokenizer",
               {{"type", "Sequence"}, {"pretokenizers", Json::array({{{"type", "WhitespaceSplit"}}, metaspace})}}},
              {"post_processor", {{"type", "TemplateProcessing"}}},
              {"decoder", metaspace},
              {"model", {{"type", "Unigram"}, {"unk_id", 2}, {"vocab", vocab}, {"byte_fallback", false}}}}
      .dump();
}

}  // namespace tenon::test
