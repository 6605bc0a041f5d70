// tenon classify | embed
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "client/cli/command.h"
#include "client/cli/inference_rows.h"
#include "client/cli/output.h"
#include "common/formats/status.h"

namespace tenon::cli {
namespace {

// A call's rows: enough for the server to fill its batches, small enough that the first answers come soon.
constexpr size_t kBatchRows = 128;
constexpr size_t kBatchBytes = 512 << 10;
constexpr size_t kInFlight = 4;

struct ClassifyFlags : ModelFlags {
  int top_k = 0;
  std::string pair;
};

struct ValueFormatter {
  void operator()(std::string* out, double value) const { out->append(FormatScore(value)); }
};

// The command's own texts, each with --text-pair beside it, or a file's rows.
absl::StatusOr<std::vector<InputRow>> ClassifyRows(const ClassifyFlags& flags) {
  if (!flags.pair.empty() && !flags.input.empty()) {
    return TenonError(Reason::kFieldInvalid, "--text-pair is for TEXT; rows of --input have their own `text_pair`.",
                      "--text-pair");
  }
  ASSIGN_OR_RETURN(std::vector<InputRow> rows, TextRows(flags.texts, flags.input, /*pairs=*/true));
  if (flags.pair.empty()) return rows;
  for (InputRow& row : rows) row.text_pair = flags.pair;
  return rows;
}

v1::ClassifyRequest WithRows(v1::ClassifyRequest request, absl::Span<const InputRow> batch) {
  bool pairs = false;
  for (const InputRow& row : batch) {
    request.add_texts(row.text);
    pairs = pairs || !row.text_pair.empty();
  }
  if (!pairs) return request;
  for (const InputRow& row : batch) request.add_text_pairs(row.text_pair);
  return request;
}

absl::Status Classify(Cli& cli, const ClassifyFlags& flags) {
  v1::ClassifyRequest model;
  RETURN_IF_ERROR(SetModel(flags, &model));
  model.set_top_k(flags.top_k);
  ASSIGN_OR_RETURN(const std::vector<InputRow> rows, ClassifyRows(flags));
  Table table({"TEXT", "LABEL", "SCORE", "OTHERS"});
  const auto call = [&](absl::Span<const InputRow> batch) {
    return cli.client().Call(cli.client().inference(), &v1::InferenceService::Stub::Classify, WithRows(model, batch));
  };
  const auto take = [&](absl::Span<const InputRow> batch, const v1::ClassifyResponse& response) {
    for (size_t i = 0; i < batch.size() && static_cast<int>(i) < response.classifications_size(); ++i) {
      const v1::Classification& answer = response.classifications(static_cast<int>(i));
      if (cli.json()) {
        PrintRow(RowJson(batch[i], answer, response.model(), {.input = answer.input_tokens()}));
        continue;
      }
      if (answer.values_size() > 0) {
        table.Add({RowName(batch[i]), "", absl::StrJoin(answer.values(), ", ", ValueFormatter()), ""});
        continue;
      }
      std::string others;
      for (int k = 1; k < answer.classes_size() && k < 4; ++k) {
        absl::StrAppend(&others, k > 1 ? ", " : "", answer.classes(k).label(), " ",
                        FormatScore(answer.classes(k).score()));
      }
      table.Add({RowName(batch[i]), answer.label(), FormatScore(answer.score()), others});
    }
  };
  RETURN_IF_ERROR(ForEachBatch<v1::ClassifyResponse>(CutBatches(rows, kBatchRows, kBatchBytes), kInFlight, cli.calls(),
                                                     call, take));
  if (!cli.json()) Print(table.ToString());
  return absl::OkStatus();
}

struct EmbedFlags : ModelFlags {
  std::string pooling;
  std::string normalize;
};

absl::Status Embed(Cli& cli, const EmbedFlags& flags) {
  v1::EmbedRequest model;
  RETURN_IF_ERROR(SetModel(flags, &model));
  if (!flags.pooling.empty()) {
    ASSIGN_OR_RETURN(const v1::Pooling pooling, ParseWord<v1::Pooling>(flags.pooling, "--pooling"));
    model.set_pooling(pooling);
  }
  if (!flags.normalize.empty()) model.set_normalize(flags.normalize == "true");
  ASSIGN_OR_RETURN(const std::vector<InputRow> rows, TextRows(flags.texts, flags.input));
  Table table({"TEXT", "FLOATS", "EMBEDDING"});
  const auto call = [&](absl::Span<const InputRow> batch) {
    v1::EmbedRequest request = model;
    for (const InputRow& row : batch) request.add_texts(row.text);
    return cli.client().Call(cli.client().inference(), &v1::InferenceService::Stub::Embed, request);
  };
  const auto take = [&](absl::Span<const InputRow> batch, const v1::EmbedResponse& response) {
    for (size_t i = 0; i < batch.size() && static_cast<int>(i) < response.embeddings_size(); ++i) {
      const v1::Embedding& answer = response.embeddings(static_cast<int>(i));
      if (cli.json()) {
        PrintRow(RowJson(batch[i], answer, response.model(), {.input = answer.input_tokens()}));
        continue;
      }
      std::string first;
      for (int k = 0; k < answer.embedding_size() && k < 5; ++k)
        absl::StrAppendFormat(&first, "%+.4f ", answer.embedding(k));
      table.Add({RowName(batch[i]), absl::StrCat(answer.embedding_size()), first + "…"});
    }
  };
  RETURN_IF_ERROR(
      ForEachBatch<v1::EmbedResponse>(CutBatches(rows, kBatchRows, kBatchBytes), kInFlight, cli.calls(), call, take));
  if (!cli.json()) Print(table.ToString());
  return absl::OkStatus();
}

}  // namespace

void AddInference(CLI::App& app, Cli& cli) {
  auto classify = std::make_shared<ClassifyFlags>();
  CLI::App* command = AddCommand(app, cli, "classify", "Label texts with an adapter",
                                 "tenon classify --adapter tickets \"Where is my parcel?\"\n"
                                 "  tenon classify --adapter tickets --input texts.jsonl --top-k 2 --output json\n"
                                 "  tenon classify --adapter same \"Where is it?\" --text-pair \"Has it been sent?\"",
                                 [&cli, classify] { return Classify(cli, *classify); });
  AddModelFlags(command, *classify);
  command->add_option("--text-pair", classify->pair,
                      "Second text, read with each TEXT as a pair; rows of --input have it as `text_pair`");
  command->add_option("--top-k", classify->top_k, "Best labels to return for each text; 0 is all")
      ->check(CLI::NonNegativeNumber);

  auto embed = std::make_shared<EmbedFlags>();
  command = AddCommand(app, cli, "embed", "Turn texts into sentence vectors",
                       "tenon embed --base minilm --input texts.jsonl --output json",
                       [&cli, embed] { return Embed(cli, *embed); });
  AddModelFlags(command, *embed);
  command->add_option("--pooling", embed->pooling, "mean, cls or max; by default what the base was made for");
  command
      ->add_option("--normalize", embed->normalize,
                   "true or false: vectors of length 1; by default what the base was made for")
      ->check(CLI::IsMember({"true", "false"}));
}

}  // namespace tenon::cli
