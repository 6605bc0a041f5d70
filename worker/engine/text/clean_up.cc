#include "worker/engine/text/clean_up.h"

#include <string_view>
#include <utility>

namespace tenon::engine {
namespace {

// In this order, each over the whole text.
constexpr std::pair<std::string_view, std::string_view> kRules[] = {
    {" .", "."},     {" ?", "?"},   {" !", "!"},   {" ,", ","},     {" ' ", "'"},
    {" n't", "n't"}, {" 'm", "'m"}, {" 's", "'s"}, {" 've", "'ve"}, {" 're", "'re"},
};

}  // namespace

std::string CleanUpSpaces(std::string text) {
  for (const auto& [from, to] : kRules) {
    size_t found = text.find(from);
    if (found == std::string::npos) continue;
    std::string clean;
    size_t done = 0;
    for (; found != std::string::npos; found = text.find(from, done)) {
      clean.append(text, done, found - done).append(to);
      done = found + from.size();
    }
    text = clean.append(text, done);
  }
  return text;
}

}  // namespace tenon::engine
