// What classify, embed, generate and summarize share: which model answers, and rows of answers.
#pragma once

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "client/cli/rows.h"
#include "common/formats/status.h"
#include "tenon/v1/types.pb.h"

namespace tenon::cli {

struct ModelFlags {
  std::string base, adapter, input;
  std::vector<std::string> texts;
};

// --base, --adapter, --input and TEXT.
void AddModelFlags(CLI::App* command, ModelFlags& flags);

// FIELD_REQUIRED unless exactly one of base and adapter is named.
template <typename Request>
absl::Status SetModel(const ModelFlags& flags, Request* request) {
  if (flags.base.empty() == flags.adapter.empty()) {
    return TenonError(Reason::kFieldRequired, "Name the model: --adapter A or --base B.", "--adapter");
  }
  if (flags.base.empty()) {
    request->set_adapter(flags.adapter);
  } else {
    request->set_base(flags.base);
  }
  return absl::OkStatus();
}

// Tokens of one row.
struct RowTokens {
  int64_t input = 0, output = 0;
};

// A row's answer as one JSON object: the row's id, the answer's own fields, the model and what this row consumed.
nlohmann::ordered_json RowJson(const InputRow& row, const google::protobuf::Message& answer,
                               const v1::ModelVersion& model, const RowTokens& tokens);
void PrintRow(const nlohmann::ordered_json& line);

// What a table calls a row: its id, else the beginning of its text.
std::string RowName(const InputRow& row);

}  // namespace tenon::cli
