// tenon tag | answer
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "client/cli/command.h"
#include "client/cli/inference_rows.h"
#include "client/cli/output.h"
#include "client/cli/set_option.h"
#include "common/formats/status.h"

namespace tenon::cli {
namespace {

using Json = nlohmann::ordered_json;

constexpr size_t kTextsAtOnce = 128;
constexpr size_t kBytesAtOnce = 512 << 10;
constexpr size_t kCallsAtOnce = 4;

absl::Status Wrong(const InputRow& row, const std::string& what) {
  return TenonError(Reason::kFieldInvalid, absl::StrCat("Row ", row.number, ": ", what, "."),
                    absl::StrCat("row ", row.number));
}

absl::Status TakeString(const Json& value, const char* key, InputRow* row, std::string* text) {
  const auto found = value.find(key);
  if (found == value.end() || !found->is_string()) return Wrong(*row, absl::StrCat("has no `", key, "`, a string"));
  *text = found->get<std::string>();
  return absl::OkStatus();
}

// `text`, or `words` in its place.
absl::Status TakeTagRow(const Json& value, InputRow* row) {
  const auto words = value.find("words");
  if (words == value.end()) return TakeString(value, "text", row, &row->text);
  if (value.contains("text")) return Wrong(*row, "has both `text` and `words`");
  if (!words->is_array() || words->empty()) return Wrong(*row, "`words` must be a list of strings");
  for (const Json& word : *words) {
    if (!word.is_string()) return Wrong(*row, "`words` must be a list of strings");
    row->words.push_back(word.get<std::string>());
  }
  row->text = absl::StrJoin(row->words, " ");
  return absl::OkStatus();
}

absl::Status TakeQuestion(const Json& value, InputRow* row) {
  RETURN_IF_ERROR(TakeString(value, "question", row, &row->text));
  return TakeString(value, "context", row, &row->text_pair);
}

// Calls with rows of one kind each: of words, or of texts.
std::vector<absl::Span<const InputRow>> CutTagRows(const std::vector<InputRow>& rows) {
  std::vector<absl::Span<const InputRow>> batches;
  for (const absl::Span<const InputRow> batch : CutBatches(rows, kTextsAtOnce, kBytesAtOnce)) {
    size_t first = 0;
    for (size_t i = 1; i <= batch.size(); ++i) {
      if (i < batch.size() && batch[i].words.empty() == batch[first].words.empty()) continue;
      batches.push_back(batch.subspan(first, i - first));
      first = i;
    }
  }
  return batches;
}

absl::Status Tag(Cli& cli, const ModelFlags& flags) {
  v1::TagTokensRequest model;
  RETURN_IF_ERROR(SetModel(flags, &model));
  std::vector<InputRow> rows;
  if (flags.input.empty() || !flags.texts.empty()) {
    ASSIGN_OR_RETURN(rows, TextRows(flags.texts, flags.input));
  } else {
    ASSIGN_OR_RETURN(const std::string bytes, ReadInput(flags.input));
    ASSIGN_OR_RETURN(rows, ParseRows(bytes, TakeTagRow));
  }
  Table table({"TEXT", "ENTITY", "TYPE", "SCORE", "PLACE"});
  const auto call = [&](absl::Span<const InputRow> batch) {
    v1::TagTokensRequest request = model;
    for (const InputRow& row : batch) {
      if (row.words.empty()) {
        request.add_texts(row.text);
      } else {
        request.add_words()->mutable_words()->Assign(row.words.begin(), row.words.end());
      }
    }
    return cli.client().Call(cli.client().inference(), &v1::InferenceService::Stub::TagTokens, request);
  };
  const auto take = [&](absl::Span<const InputRow> batch, const v1::TagTokensResponse& response) {
    for (size_t i = 0; i < batch.size() && static_cast<int>(i) < response.texts_size(); ++i) {
      const v1::TaggedText& answer = response.texts(static_cast<int>(i));
      if (cli.json()) {
        PrintRow(RowJson(batch[i], answer, response.model(), {.input = answer.input_tokens()}));
        continue;
      }
      for (const v1::TaggedEntity& entity : answer.entities()) {
        table.Add({RowName(batch[i]), entity.text(), entity.type(), FormatScore(entity.score()),
                   absl::StrCat(entity.begin(), "-", entity.end())});
      }
      if (answer.entities().empty()) table.Add({RowName(batch[i]), "-", "", "", ""});
    }
  };
  RETURN_IF_ERROR(ForEachBatch<v1::TagTokensResponse>(CutTagRows(rows), kCallsAtOnce, cli.calls(), call, take));
  if (!cli.json()) Print(table.ToString());
  return absl::OkStatus();
}

struct AnswerFlags : ModelFlags {
  std::string question, context, threshold;
  int top_k = 0, max_answer_tokens = 0, doc_stride = 0;
};

absl::StatusOr<std::vector<InputRow>> QuestionRows(const AnswerFlags& flags) {
  const bool own = !flags.question.empty() || !flags.context.empty();
  if (own != flags.input.empty()) {
    return TenonError(Reason::kFieldRequired, "Give either --question with --context, or --input FILE.", "--question");
  }
  if (own) {
    if (flags.question.empty() || flags.context.empty()) {
      return TenonError(Reason::kFieldRequired, "A question needs a context, and a context a question.",
                        flags.question.empty() ? "--question" : "--context");
    }
    return std::vector<InputRow>{{.number = 1, .text = flags.question, .text_pair = flags.context}};
  }
  ASSIGN_OR_RETURN(const std::string bytes, ReadInput(flags.input));
  return ParseRows(bytes, TakeQuestion);
}

absl::Status FindAnswer(Cli& cli, const AnswerFlags& flags) {
  v1::AnswerQuestionRequest model;
  RETURN_IF_ERROR(SetModel(flags, &model));
  v1::AnswerOptions& options = *model.mutable_options();
  options.set_top_k(flags.top_k);
  options.set_max_answer_tokens(flags.max_answer_tokens);
  options.set_doc_stride(flags.doc_stride);
  if (!flags.threshold.empty()) RETURN_IF_ERROR(SetOption("no_answer_threshold=" + flags.threshold, {&options}));
  ASSIGN_OR_RETURN(const std::vector<InputRow> rows, QuestionRows(flags));
  Table table({"QUESTION", "ANSWER", "SCORE", "PLACE"});
  const auto call = [&](absl::Span<const InputRow> batch) {
    v1::AnswerQuestionRequest request = model;
    for (const InputRow& row : batch) {
      v1::Question& question = *request.add_questions();
      question.set_question(row.text);
      question.set_context(row.text_pair);
    }
    return cli.client().Call(cli.client().inference(), &v1::InferenceService::Stub::AnswerQuestion, request);
  };
  const auto take = [&](absl::Span<const InputRow> batch, const v1::AnswerQuestionResponse& response) {
    for (size_t i = 0; i < batch.size() && static_cast<int>(i) < response.answers_size(); ++i) {
      const v1::QuestionAnswer& answer = response.answers(static_cast<int>(i));
      if (cli.json()) {
        PrintRow(RowJson(batch[i], answer, response.model(), {.input = answer.input_tokens()}));
        continue;
      }
      if (answer.no_answer()) table.Add({RowName(batch[i]), "-", "", ""});
      for (const v1::AnswerSpan& span : answer.spans()) {
        if (answer.no_answer()) break;
        table.Add(
            {RowName(batch[i]), span.text(), FormatScore(span.score()), absl::StrCat(span.begin(), "-", span.end())});
      }
    }
  };
  RETURN_IF_ERROR(ForEachBatch<v1::AnswerQuestionResponse>(CutBatches(rows, kTextsAtOnce, kBytesAtOnce), kCallsAtOnce,
                                                           cli.calls(), call, take));
  if (!cli.json()) Print(table.ToString());
  return absl::OkStatus();
}

}  // namespace

void AddSpans(CLI::App& app, Cli& cli) {
  auto tag = std::make_shared<ModelFlags>();
  CLI::App* command = AddCommand(app, cli, "tag", "Tag words, and find the entities that the tags mark",
                                 "tenon tag --adapter names \"Ada Lovelace lived in London.\"\n"
                                 "  tenon tag --adapter names --input texts.jsonl --output json\n"
                                 "  (rows of {\"text\": \"...\"} or, cut into words already, {\"words\": [\"...\"]})",
                                 [&cli, tag] { return Tag(cli, *tag); });
  AddModelFlags(command, *tag);

  auto answer = std::make_shared<AnswerFlags>();
  command =
      AddCommand(app, cli, "answer", "Find the answer to a question in a text",
                 "tenon answer --adapter handbook --question \"How long do I have?\" --context \"You have 30 days.\"\n"
                 "  tenon answer --adapter handbook --input questions.jsonl --no-answer-threshold 0 --output json\n"
                 "  (rows of {\"question\": \"...\", \"context\": \"...\"})",
                 [&cli, answer] { return FindAnswer(cli, *answer); });
  CLI::Option* base = command->add_option("--base", answer->base, "Base model that answers");
  command->add_option("--adapter", answer->adapter, "Adapter that answers: ID, or adapters/ID/revisions/DIGEST")
      ->excludes(base);
  command->add_option("--question", answer->question, "The question");
  command->add_option("--context", answer->context, "The text that may have its answer");
  command->add_option(
      "--input", answer->input,
      "JSON lines with `question`, `context` and perhaps `id`, which is given back; - is standard input");
  command->add_option("--top-k", answer->top_k, "Answers to return, best first; 1 by default")
      ->check(CLI::NonNegativeNumber);
  command->add_option("--max-answer-tokens", answer->max_answer_tokens, "Tokens of the longest answer; 30 by default")
      ->check(CLI::NonNegativeNumber);
  command
      ->add_option("--doc-stride", answer->doc_stride,
                   "Tokens that the windows of a long context share; 128 by default, at most half of a window's")
      ->check(CLI::NonNegativeNumber);
  command
      ->add_option("--no-answer-threshold", answer->threshold,
                   "There is no answer where its score is above the best answer's by more than this; by default there "
                   "always is one")
      ->type_name("NUMBER");
}

}  // namespace tenon::cli
