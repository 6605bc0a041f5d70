#include "tests/worker/engine/text/byte_level_files.h"

#include <nlohmann/json.hpp>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "worker/engine/text/byte_level_alphabet.h"

namespace tenon::test {
namespace {

using Json = nlohmann::json;
using engine::ToByteCharacters;

const std::vector<std::pair<std::string, std::string>>& Merges() {
  static const auto* const merges = new std::vector<std::pair<std::string, std::string>>{
      {"a", "b"}, {" ", "ab"}, {"t", "h"}, {"th", "e"}, {"\xE4", "\xB8"}, {"\xE4\xB8", "\xAD"}};
  return *merges;
}

const std::vector<std::string>& Specials() {
  static const auto* const specials = new std::vector<std::string>{"<s>", "<pad>", "</s>", "<unk>", "<mask>"};
  return *specials;
}

Json Vocab() {
  Json vocab;
  for (int byte = 0; byte < 256; ++byte) vocab[ToByteCharacters(std::string(1, static_cast<char>(byte)))] = byte;
  for (const auto& [left, right] : Merges()) vocab[ToByteCharacters(left + right)] = vocab.size();
  for (const std::string& special : Specials()) vocab[special] = vocab.size();
  return vocab;
}

}  // namespace

std::string TinyBytesVocab() { return Vocab().dump(); }

std::string TinyBytesMerges() {
  std::string lines = "#version: 0.2\n";
  for (const auto& [left, right] : Merges()) {
    absl::StrAppend(&lines, ToByteCharacters(left), " ", ToByteCharacters(right), "\n");
  }
  return lines;
}

std::string TinyBytesJson() {
  const Json vocab = Vocab();
  Json merges = Json::array(), added = Json::array();
  for (const auto& [left, right] : Merges()) merges.push_back({ToByteCharacters(left), ToByteCharacters(right)});
  for (const std::string& special : Specials()) {
    added.push_back({{"id", vocab[special]},
                     {"content", special},
                     {"single_word", false},
                     {"lstrip", special == "<mask>"},
                     {"rstrip", false},
                     {"normalized", false},
                     {"special", true}});
  }
  const Json byte_level = {
      {"type", "ByteLevel"}, {"add_prefix_space", false}, {"trim_offsets", true}, {"use_regex", true}};
  return Json{{"version", "1.0"},
              {"truncation", nullptr},
              {"padding", nullptr},
              {"added_tokens", added},
              {"normalizer", nullptr},
              {"pre_tokenizer", byte_level},
              {"post_processor",
               {{"type", "RobertaProcessing"},
                {"sep", {"</s>", vocab["</s>"]}},
                {"cls", {"<s>", vocab["<s>"]}},
                {"trim_offsets", true},
                {"add_prefix_space", false}}},
              {"decoder", byte_level},
              {"model",
               {{"type", "BPE"},
                {"dropout", nullptr},
                {"unk_token", nullptr},
                {"continuing_subword_prefix", ""},
                {"end_of_word_suffix", ""},
                {"fuse_unk", false},
                {"vocab", vocab},
                {"merges", merges}}}}
      .dump();
}

}  // namespace tenon::test
