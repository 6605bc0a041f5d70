// Tags of words: `O`, `B-TYPE` and `I-TYPE` (BIO, or IOB2), and the entities that they mark. Pure.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace tenon::formats {

// What is wrong with `tag` behind `before` (empty at a row's beginning), for a data set: anything but these three
// forms, or `I-` that goes on with nothing of its type, as IOB1 has it. Empty when nothing is.
std::string TagFault(const std::string& tag, const std::string& before);

// Words [begin, end) that are one entity.
struct Entity {
  std::string type;
  int64_t begin = 0, end = 0;

  friend bool operator==(const Entity&, const Entity&) = default;
  friend auto operator<=>(const Entity&, const Entity&) = default;
};

// The entities that tags mark, in order, as conlleval and seqeval's default count them: `I-` behind another type, or
// behind none, begins one, too, so that whatever a model says has a meaning. Tags of none of the three forms mark none.
std::vector<Entity> Entities(const std::vector<std::string>& tags);

}  // namespace tenon::formats
