// Two rows of dialogues with summaries, and templates for them.
#pragma once

#include <string>

#include "common/formats/dataset.h"
#include "tenon/v1/types.pb.h"

namespace tenon::link::testing {

inline formats::Dataset Talks() {
  return *formats::ReadDataset("{\"dialogue\":\"hi\",\"summary\":\"h\"}\n{\"dialogue\":\"no {x}\",\"summary\":\"n\"}\n",
                               formats::DatasetFormat::kJsonLines);
}

inline v1::TextTemplate Template(const std::string& input, const std::string& target) {
  v1::TextTemplate text_template;
  text_template.set_input(input);
  text_template.set_target(target);
  return text_template;
}

}  // namespace tenon::link::testing
