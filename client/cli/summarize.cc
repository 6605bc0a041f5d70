// tenon summarize
#include "client/cli/command.h"
#include "client/cli/generation_flags.h"
#include "client/cli/inference_rows.h"
#include "client/cli/output.h"
#include "client/cli/set_option.h"
#include "client/cli/writing_rows.h"
#include "common/formats/status.h"

namespace tenon::cli {
namespace {

struct SummarizeFlags : ModelFlags, GenerationFlags {
  int max_sentences = 0;
  std::string method, relevance;
  bool combine_chunks = false;
};

absl::StatusOr<v1::SummarizeRequest> ToRequest(const SummarizeFlags& flags) {
  v1::SummarizeRequest request;
  RETURN_IF_ERROR(SetModel(flags, &request));
  ASSIGN_OR_RETURN(*request.mutable_generation(), ToConfig(flags));
  request.set_max_input_tokens(flags.max_input_tokens);
  request.set_combine_chunks(flags.combine_chunks);
  v1::ExtractiveOptions& extractive = *request.mutable_extractive();
  extractive.set_max_sentences(flags.max_sentences);
  if (!flags.method.empty()) {
    ASSIGN_OR_RETURN(const auto method, ParseWord<v1::ExtractiveMethod>(flags.method, "--method"));
    extractive.set_method(method);
  }
  if (!flags.relevance.empty()) RETURN_IF_ERROR(SetOption("relevance=" + flags.relevance, {&extractive}));
  return request;
}

absl::Status Summarize(Cli& cli, const SummarizeFlags& flags) {
  ASSIGN_OR_RETURN(const v1::SummarizeRequest model, ToRequest(flags));
  ASSIGN_OR_RETURN(const std::vector<InputRow> rows, TextRows(flags.texts, flags.input));
  Table table({"TEXT", "SUMMARY", "KIND"});
  const auto show = [&](const InputRow& row, const v1::Summary& answer) {
    if (rows.size() == 1) {
      Print(Printable(answer.summary()));
    } else {
      table.Add({RowName(row), answer.summary(), Word(answer.kind())});
    }
  };
  const auto answers = [](const v1::SummarizeResponse& response) -> const auto& { return response.summaries(); };
  return WriteRows<v1::SummarizeResponse>(cli, rows, model, &v1::InferenceService::Stub::Summarize, answers, show,
                                          table);
}

}  // namespace

void AddSummarize(CLI::App& app, Cli& cli) {
  auto flags = std::make_shared<SummarizeFlags>();
  CLI::App* command =
      AddCommand(app, cli, "summarize",
                 "Shorten texts: a base that writes (T5, BART) writes a summary, an encoder chooses sentences",
                 "tenon summarize --base minilm --max-sentences 2 --input articles.jsonl --output json\n"
                 "  tenon summarize --adapter minutes --num-beams 4 --combine-chunks --input calls.jsonl\n"
                 "  (an adapter trained with `jobs finetune --task extractive` chooses sentences as it learnt to)",
                 [&cli, flags] { return Summarize(cli, *flags); });
  AddModelFlags(command, *flags);
  const std::string group = "With an encoder";
  command->add_option("--max-sentences", flags->max_sentences, "Sentences of a summary; 3 by default")
      ->check(CLI::NonNegativeNumber)
      ->group(group);
  command
      ->add_option("--method", flags->method,
                   "mmr (like the whole text, unlike each other), centroid, lead (the first ones), or scorer (what an "
                   "adapter was trained to choose). Default: scorer with such an adapter, else mmr")
      ->group(group);
  command
      ->add_option("--relevance", flags->relevance,
                   "For mmr, 0 to 1: being like the whole text against being unlike the sentences chosen already; "
                   "0.7 by default")
      ->type_name("NUMBER")
      ->group(group);
  AddGenerationFlags(command, *flags, Outputs::kOne);
  command
      ->add_flag("--combine-chunks", flags->combine_chunks,
                 "A text too long to be read at once is summarized in pieces, and the summaries again")
      ->group("How a text is written");
}

}  // namespace tenon::cli
