#include "client/cli/inference_rows.h"

#include "client/cli/output.h"

namespace tenon::cli {

void AddModelFlags(CLI::App* command, ModelFlags& flags) {
  CLI::Option* base = command->add_option("--base", flags.base, "Base model that answers");
  command->add_option("--adapter", flags.adapter, "Adapter that answers: ID, or adapters/ID/revisions/DIGEST")
      ->excludes(base);
  command->add_option("TEXT", flags.texts, "Texts");
  command->add_option("--input", flags.input,
                      "JSON lines with `text` and perhaps `id`, which is given back; - is standard input");
}

nlohmann::ordered_json RowJson(const InputRow& row, const google::protobuf::Message& answer,
                               const v1::ModelVersion& model, const RowTokens& tokens) {
  nlohmann::ordered_json line = nlohmann::ordered_json::object();
  if (!row.id.is_null()) line["id"] = row.id;
  line.update(ToJsonValue(answer));
  line["model"] = ToJsonValue(model);
  v1::Usage usage;
  usage.set_input_tokens(tokens.input);
  usage.set_output_tokens(tokens.output);
  line["usage"] = ToJsonValue(usage);
  return line;
}

void PrintRow(const nlohmann::ordered_json& line) {
  Print(line.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace));
}

std::string RowName(const InputRow& row) {
  if (row.id.is_null()) return Shorten(row.text, 48);
  return row.id.is_string() ? row.id.get<std::string>() : row.id.dump();
}

}  // namespace tenon::cli
