// tenon generate
#include "client/generate.h"

#include "absl/strings/match.h"
#include "client/cli/command.h"
#include "client/cli/generation_flags.h"
#include "client/cli/inference_rows.h"
#include "client/cli/output.h"
#include "client/cli/writing_rows.h"
#include "common/formats/status.h"

namespace tenon::cli {
namespace {

struct GenerateFlags : ModelFlags, GenerationFlags {
  bool stream = false;
};

// One text, printed while it is written; with JSON, each message on a line.
absl::Status Stream(Cli& cli, const GenerateFlags& flags, const v1::GenerationConfig& config, const InputRow& row) {
  v1::StreamGenerateRequest request;
  RETURN_IF_ERROR(SetModel(flags, &request));
  *request.mutable_generation() = config;
  request.set_max_input_tokens(flags.max_input_tokens);
  request.set_text(row.text);
  bool open_line = false;
  const auto on_message = [&](const v1::StreamGenerateResponse& message) {
    if (cli.json()) return Print(ToJson(message));
    if (message.text().empty()) return;
    PrintPart(Printable(message.text()));
    open_line = !absl::EndsWith(message.text(), "\n");
  };
  const auto last = client::StreamGenerate(cli.client(), request, on_message);
  if (open_line) PrintPart("\n");
  if (!last.ok() || cli.json()) return last.status();
  GenerationNotes notes;
  notes.AddRow(last->generation().truncated());
  notes.AddIgnored(last->ignored_options());
  if (const std::string text = notes.ToString(); !text.empty()) PrintNote(text);
  return absl::OkStatus();
}

void AddOutputs(const InputRow& row, const v1::Generation& generation, Table& table) {
  for (const v1::GeneratedText& output : generation.outputs()) {
    table.Add({RowName(row), output.text(), output.score() == 0 ? "-" : FormatScore(output.score()),
               Word(output.finish_reason())});
  }
}

absl::Status Generate(Cli& cli, const GenerateFlags& flags) {
  v1::GenerateRequest model;
  RETURN_IF_ERROR(SetModel(flags, &model));
  ASSIGN_OR_RETURN(*model.mutable_generation(), ToConfig(flags));
  model.set_max_input_tokens(flags.max_input_tokens);
  ASSIGN_OR_RETURN(const std::vector<InputRow> rows, TextRows(flags.texts, flags.input));
  if (flags.stream) {
    if (rows.size() == 1) return Stream(cli, flags, model.generation(), rows[0]);
    return TenonError(Reason::kFieldInvalid, "One text can be shown while it is written, not several.", "--stream");
  }
  Table table({"TEXT", "OUTPUT", "SCORE", "END"});
  const auto show = [&](const InputRow& row, const v1::Generation& answer) {
    if (rows.size() == 1 && answer.outputs_size() == 1) {
      Print(Printable(answer.outputs(0).text()));
    } else {
      AddOutputs(row, answer, table);
    }
  };
  const auto answers = [](const v1::GenerateResponse& response) -> const auto& { return response.generations(); };
  return WriteRows<v1::GenerateResponse>(cli, rows, model, &v1::InferenceService::Stub::Generate, answers, show, table);
}

}  // namespace

void AddGenerate(CLI::App& app, Cli& cli) {
  auto flags = std::make_shared<GenerateFlags>();
  CLI::App* command = AddCommand(
      app, cli, "generate", "Let a base that writes (T5, BART) answer texts, alone or with an adapter",
      "tenon generate --base flan \"Translate to German: How old are you?\"\n"
      "  tenon generate --base flan --stream --do-sample --temperature 0.8 --seed 7 \"Tell me a story.\"\n"
      "  tenon generate --adapter replies --input texts.jsonl --num-beams 4 --max-new-tokens 60 --output json",
      [&cli, flags] { return Generate(cli, *flags); });
  AddModelFlags(command, *flags);
  command->add_flag("--stream", flags->stream, "Show one text while it is written; Ctrl-C stops it");
  AddGenerationFlags(command, *flags, Outputs::kMany);
}

}  // namespace tenon::cli
