// Generates from JSON lines, for generate_test.py: one object a line in, one out.
//
//   {"cmd": "toy", "file": F, "vocab": V}    the tables of tests/worker/engine/generate/toy_decoder.h     -> {}
//   {"cmd": "generate", ...}                                            RunGenerations() of generation_json.h
// What is wrong gives {"error", "reason", "field"} instead of the reply.
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>

#include "absl/strings/str_cat.h"
#include "tests/parity/generation_json.h"
#include "tests/worker/engine/generate/toy_decoder.h"

namespace tenon::engine {
namespace {

using Json = nlohmann::json;

class Tool {
 public:
  absl::StatusOr<Json> Run(const Json& command) {
    const std::string name = command.at("cmd");
    if (name == "toy") {
      toy_ = ToyModel::Read(command.at("file"), command.at("vocab"));
      return Json::object();
    }
    if (name == "generate") {
      const auto decoder = [this]() -> absl::StatusOr<std::unique_ptr<Decoder>> {
        return std::make_unique<ToyDecoder>(toy_);
      };
      return RunGenerations({.decoder = decoder, .vocab_size = toy_.vocab}, command);
    }
    return absl::InvalidArgumentError(absl::StrCat("no command ", name));
  }

 private:
  ToyModel toy_;
};

int Main() {
  SetThreads(1);
  Tool tool;
  for (std::string line; std::getline(std::cin, line);) {
    const absl::StatusOr<Json> reply = tool.Run(Json::parse(line));
    std::cout << (reply.ok() ? *reply : ErrorOf(reply.status())).dump() << std::endl;
  }
  return 0;
}

}  // namespace
}  // namespace tenon::engine

int main() { return tenon::engine::Main(); }
