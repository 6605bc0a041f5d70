// Runs one fine-tuning outside of any server, for comparisons with other trainers: tests/parity/train_test.py,
// t5_train_test.py, bench/train_engine.py and bench/train_t5.py.
//
//   tenon-train-tool JOB.json     JSON lines on standard output
//
// JOB.json: {"base": FOLDER, "data": FILE, "out": FOLDER, "initial"?: FOLDER, "checkpoint"?: FOLDER, "threads"?: n,
// "logits"?: bool,
//            "options": {...}}
// FILE: {"labels": [...], "multi_label": bool, "train": [{"text", "text_pair"?, "labels": [i]}], "validation": [...]};
// {"tags": [...], "train": [{"words", "tags": [i]}], "validation": likewise}; {"questions": true, "train":
// [{"question", "context", "answers": [{"text", "begin"}]}], "validation": likewise}; with "regression": true "values":
// [x] stand in place of a row's labels; or, for a base that writes, {"train":
// [{"input", "target"}], "validation": [...]}; or, for a scorer of sentences,
// {"scorer": {"neighbours": n}, "train": [{"text", "reference"}], "validation"?: likewise, "score"?: [text]}: with
// "out", the logit of extracting each sentence of `score` is printed. Options have the names of the proto's fields,
// lora's among them. With "logits" the exported adapter or base is loaded as a worker would and asked for the
// validation rows.
#include <chrono>
#include <fstream>
#include <iostream>
#include <sstream>
#include <string>

#include "common/formats/status.h"
#include "nlohmann/json.hpp"
#include "worker/engine/adapter/adapter.h"
#include "worker/engine/evaluate/answers.h"
#include "worker/engine/evaluate/classification.h"
#include "worker/engine/evaluate/regression.h"
#include "worker/engine/evaluate/tags.h"
#include "worker/engine/infer.h"
#include "worker/engine/summarize/scorer.h"
#include "worker/engine/train/trainer.h"

namespace tenon::engine {
namespace {

using Json = nlohmann::json;

Json ReadJson(const std::string& file) { return Json::parse(std::ifstream(file)); }

void Print(const std::string& kind, const Json& value) { std::cout << Json{{kind, value}}.dump() << std::endl; }

absl::StatusOr<TrainOptions> ReadOptions(const Json& json) {
  TrainOptions options;
  const std::string method = json.value("method", "lora");
  options.method = method == "head"            ? Method::kHead
                   : method == "prompt_tuning" ? Method::kPromptTuning
                   : method == "bottleneck"    ? Method::kBottleneck
                   : method == "full"          ? Method::kFull
                                               : Method::kLora;
  ASSIGN_OR_RETURN(const auto layout, formats::ParseLayout(json.value("layout", "seq_bn")));
  options.bottleneck = formats::LayoutConfig(layout);
  options.bottleneck.reduction_factor = json.value("reduction_factor", options.bottleneck.reduction_factor);
  options.bottleneck.non_linearity = json.value("non_linearity", options.bottleneck.non_linearity);
  options.prompt.num_virtual_tokens = json.value("num_virtual_tokens", options.prompt.num_virtual_tokens);
  ASSIGN_OR_RETURN(options.prompt.init, formats::ParsePromptInit(json.value("init", "random")));
  options.prompt.init_text = json.value("init_text", "");
  options.lora.r = json.value("r", options.lora.r);
  options.lora.alpha = json.value("alpha", 16.0);
  options.lora.dropout = json.value("dropout", 0.0);
  options.lora.use_rslora = json.value("use_rslora", false);
  options.lora.all_linear = json.value("all_linear", false);
  if (!options.lora.all_linear) {
    options.lora.target_modules = json.value("target_modules", std::vector<std::string>{"query", "value"});
  }
  options.lora.modules_to_save = json.value("modules_to_save", std::vector<std::string>());
  options.learning_rate = json.value("learning_rate", options.learning_rate);
  ASSIGN_OR_RETURN(options.schedule, formats::ParseSchedule(json.value("schedule", "linear")));
  options.warmup_steps = json.value("warmup_steps", options.warmup_steps);
  options.batch_size = json.value("batch_size", options.batch_size);
  options.gradient_accumulation_steps = json.value("gradient_accumulation_steps", options.gradient_accumulation_steps);
  options.max_steps = json.value("max_steps", options.max_steps);
  options.epochs = json.value("epochs", options.epochs);
  options.weight_decay = json.value("weight_decay", options.weight_decay);
  options.max_grad_norm = json.value("max_grad_norm", options.max_grad_norm);
  options.max_input_tokens = json.value("max_input_tokens", options.max_input_tokens);
  options.max_target_tokens = json.value("max_target_tokens", options.max_target_tokens);
  options.seed = json.value("seed", options.seed);
  ASSIGN_OR_RETURN(options.precision, ParsePrecision(json.value("precision", "fp32")));
  options.eval_steps = json.value("eval_steps", options.eval_steps);
  options.save_steps = json.value("save_steps", options.save_steps);
  options.early_stopping_patience = json.value("early_stopping_patience", options.early_stopping_patience);
  options.metric_for_best = json.value("metric_for_best", options.metric_for_best);
  options.doc_stride = json.value("doc_stride", options.doc_stride);
  options.crf = json.value("crf", options.crf);
  options.base_dropout = json.value("base_dropout", options.base_dropout);
  options.group_by_length = json.value("group_by_length", options.group_by_length);
  options.shuffle = json.value("shuffle", options.shuffle);
  options.head_baseline = json.value("head_baseline", false);
  return options;
}

LabelledText ReadRow(const Json& row) {
  return {.text = row.at("text"),
          .labels = row.value("labels", std::vector<int64_t>()),
          .text_pair = row.value("text_pair", ""),
          .values = row.value("values", std::vector<float>())};
}

AnsweredQuestion ReadQuestion(const Json& row) {
  AnsweredQuestion question{row.at("question"), row.at("context"), {}};
  for (const Json& answer : row.at("answers")) question.answers.push_back({answer.at("text"), answer.at("begin")});
  return question;
}

// Rows for a head on every token.
TrainData ReadSpans(const Json& json) {
  TrainData data;
  data.labels = json.contains("tags") ? json.at("tags").get<std::vector<std::string>>() : formats::AnswerLabels();
  for (const bool validation : {false, true}) {
    for (const Json& row : json.value(validation ? "validation" : "train", Json::array())) {
      if (json.contains("tags")) {
        (validation ? data.validation_words : data.train_words).push_back({row.at("words"), row.at("tags")});
      } else {
        (validation ? data.validation_questions : data.train_questions).push_back(ReadQuestion(row));
      }
    }
  }
  return data;
}

TrainData ReadData(const Json& json) {
  if (json.contains("tags") || json.contains("questions")) return ReadSpans(json);
  TrainData data;
  if (!json.contains("labels")) {
    for (const Json& row : json.at("train")) data.train_pairs.push_back({row.at("input"), row.at("target")});
    for (const Json& row : json.at("validation")) data.validation_pairs.push_back({row.at("input"), row.at("target")});
    return data;
  }
  data.labels = json.at("labels");
  data.multi_label = json.value("multi_label", false);
  data.regression = json.value("regression", false);
  for (const Json& row : json.at("train")) data.train.push_back(ReadRow(row));
  for (const Json& row : json.at("validation")) data.validation.push_back(ReadRow(row));
  return data;
}

absl::StatusOr<ScorerTraining> ReadTexts(const Json& json, const SentenceSplitter& splitter,
                                         const std::string& separator) {
  ScorerData data;
  data.scorer.neighbours = json.at("scorer").at("neighbours");
  for (const Json& row : json.at("train")) data.train.push_back({row.at("text"), row.at("reference")});
  for (const Json& row : json.value("validation", Json::array())) {
    data.validation.push_back({row.at("text"), row.at("reference")});
  }
  return MakeScorerTraining(data, splitter, separator, [] { return false; });
}

absl::Status RunTraining(Trainer& trainer) {
  const auto start = std::chrono::steady_clock::now();
  for (;;) {
    ASSIGN_OR_RETURN(const std::optional<TrainUpdate> update, trainer.RunSlice());
    if (!update.has_value()) continue;
    const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    if (const auto* progress = std::get_if<TrainProgress>(&*update)) {
      Print("progress", {{"step", progress->step},
                         {"loss", progress->loss},
                         {"learning_rate", progress->learning_rate},
                         {"examples", progress->examples},
                         {"tokens", progress->tokens},
                         {"seconds", seconds}});
    } else if (const auto* evaluation = std::get_if<TrainEvaluation>(&*update)) {
      Print("evaluation", {{"step", evaluation->step},
                           {"kind", evaluation->kind},
                           {"metrics", evaluation->metrics},
                           {"best", evaluation->best},
                           {"seconds", seconds}});
    } else if (const auto* done = std::get_if<TrainDone>(&*update)) {
      Print("done", {{"total_steps", done->total_steps},
                     {"best_step", done->best_step},
                     {"trainable_parameters", done->trainable_parameters},
                     {"trained_tokens", done->trained_tokens},
                     {"stopped_early", done->stopped_early},
                     {"seconds", seconds}});
      return absl::OkStatus();
    }
  }
}

// Of an adapter on the base, or with nullptr of the base's own head.
absl::Status PrintLogits(const Base& base, std::shared_ptr<const HostAdapter> host, const TrainData& data) {
  std::shared_ptr<const DeviceAdapter> device;
  if (host != nullptr) {
    ASSIGN_OR_RETURN(device, DeviceAdapter::Place(host, base));
  }
  Json logits = Json::array();
  for (const LabelledText& row : data.validation) {
    const Encoding encoding = base.tokenizer().EncodeRow(row.text, row.text_pair, MaxInputTokens(base, host.get()));
    const InferRow one{
        .ids = &encoding.ids, .second_type = encoding.second_type, .adapter = device.get(), .output = Output::kLogits};
    ASSIGN_OR_RETURN(const auto values, Infer(base, {one}));
    logits.push_back(values[0]);
  }
  Print("logits", logits);
  return absl::OkStatus();
}

absl::Status PrintScores(const Base& base, const std::string& folder, const std::vector<std::string>& texts,
                         const SentenceSplitter& splitter) {
  ASSIGN_OR_RETURN(const auto host, HostAdapter::Load(folder, base));
  ASSIGN_OR_RETURN(const auto device, DeviceAdapter::Place(host, base));
  if (!host->config().sentence_scorer.has_value()) return absl::InternalError("the adapter scores no sentences");
  Json scores = Json::array();
  for (const std::string& text : texts) {
    std::vector<std::string> sentences;
    for (const auto& [begin, end] : splitter.Split(text)) sentences.push_back(text.substr(begin, end - begin));
    std::vector<Encoding> encodings;
    std::vector<InferRow> rows;
    for (size_t s = 0; s < sentences.size(); ++s) {
      const std::string row = ScorerRow(sentences, s, *host->config().sentence_scorer, base.tokenizer().separator());
      encodings.push_back(base.tokenizer().Encode(row, MaxInputTokens(base, host.get())));
    }
    for (const Encoding& one : encodings) {
      rows.push_back({.ids = &one.ids, .adapter = device.get(), .output = Output::kLogits});
    }
    ASSIGN_OR_RETURN(const auto values, Infer(base, rows));
    Json& own = scores.emplace_back(Json::array());
    for (const auto& logits : values) own.push_back(logits[kExtractLabel] - logits[1 - kExtractLabel]);
  }
  Print("scores", scores);
  return absl::OkStatus();
}

// {"scores": {"num_labels", "multi_label", "truth": [[i]], "probabilities": [[p]]}}: the counting alone.
Json Scores(const Json& json) {
  ClassificationEvaluator evaluator(json.at("num_labels"), json.at("multi_label"));
  for (size_t i = 0; i < json.at("truth").size(); ++i) {
    evaluator.Add(json.at("truth")[i], json.at("probabilities")[i]);
  }
  const ClassificationScores scores = evaluator.Finish();
  Json classes = Json::array();
  for (const ClassScore& one : scores.classes) classes.push_back({one.precision, one.recall, one.f1, one.support});
  return {{"accuracy", scores.accuracy},       {"macro_f1", scores.macro_f1}, {"micro_f1", scores.micro_f1},
          {"weighted_f1", scores.weighted_f1}, {"classes", classes},          {"confusion", scores.confusion}};
}

// {"correlations": {"truth": [[x]], "predicted": [[x]]}}: the same of numbers.
Json Correlations(const Json& json) {
  RegressionEvaluator evaluator(static_cast<int64_t>(json.at("truth")[0].size()));
  for (size_t i = 0; i < json.at("truth").size(); ++i) evaluator.Add(json.at("truth")[i], json.at("predicted")[i]);
  const RegressionScores scores = evaluator.Finish();
  Json out{{"mse", scores.mse}};
  if (scores.pearson.has_value()) out["pearson"] = *scores.pearson;
  if (scores.spearman.has_value()) out["spearman"] = *scores.spearman;
  return out;
}

// {"tag_scores": {"truth": [[tag]], "predicted": [[tag]]}}: entities.
Json CountTags(const Json& json) {
  TagEvaluator evaluator;
  for (size_t i = 0; i < json.at("truth").size(); ++i) evaluator.Add(json.at("truth")[i], json.at("predicted")[i]);
  const TagScores scores = evaluator.Finish();
  Json types = Json::object();
  for (const auto& [type, one] : scores.types) types[type] = {one.precision, one.recall, one.f1, one.support};
  return {{"precision", scores.precision},
          {"recall", scores.recall},
          {"f1", scores.f1},
          {"accuracy", scores.accuracy},
          {"types", types}};
}

// {"answer_scores": {"truth": [[text]], "predicted": [text]}}.
Json CountAnswers(const Json& json) {
  AnswerEvaluator evaluator;
  for (size_t i = 0; i < json.at("truth").size(); ++i) evaluator.Add(json.at("truth")[i], json.at("predicted")[i]);
  const AnswerScores scores = evaluator.Finish();
  return {
      {"exact_match", scores.all.exact_match},
      {"f1", scores.all.f1},
      {"with_answer", {scores.with_answer.exact_match, scores.with_answer.f1, scores.with_answer.rows}},
      {"without_answer", {scores.without_answer.exact_match, scores.without_answer.f1, scores.without_answer.rows}}};
}

absl::Status Run(const Json& job) {
  if (job.contains("tag_scores")) {
    Print("tag_scores", CountTags(job.at("tag_scores")));
    return absl::OkStatus();
  }
  if (job.contains("answer_scores")) {
    Print("answer_scores", CountAnswers(job.at("answer_scores")));
    return absl::OkStatus();
  }
  if (job.contains("correlations")) {
    Print("correlations", Correlations(job.at("correlations")));
    return absl::OkStatus();
  }
  if (job.contains("scores")) {
    Print("scores", Scores(job.at("scores")));
    return absl::OkStatus();
  }
  SetThreads(job.value("threads", 2));
  ASSIGN_OR_RETURN(const TrainOptions options, ReadOptions(job.at("options")));
  Base::Options base_options;
  base_options.digest = job.value("digest", "");
  ASSIGN_OR_RETURN(const auto device, ParseDevice(job.value("device", "cpu")));
  base_options.device = device;
  ASSIGN_OR_RETURN(const auto base, Base::Load(std::string(job.at("base")), base_options));
  const Json file = ReadJson(job.at("data"));
  ASSIGN_OR_RETURN(const auto splitter, SentenceSplitter::Make());
  TrainData data;
  if (file.contains("scorer")) {
    ASSIGN_OR_RETURN(ScorerTraining made, ReadTexts(file, splitter, base->tokenizer().separator()));
    data = std::move(made.data);
  } else {
    data = ReadData(file);
  }
  std::optional<std::filesystem::path> checkpoint, initial;
  if (job.contains("checkpoint")) checkpoint = std::string(job.at("checkpoint"));
  if (job.contains("initial")) initial = std::string(job.at("initial"));
  ASSIGN_OR_RETURN(const auto trainer, Trainer::Create(base, options, data, checkpoint, initial));
  RETURN_IF_ERROR(RunTraining(*trainer));
  if (!job.contains("out")) return absl::OkStatus();
  const std::string out = job.at("out");
  std::filesystem::create_directories(out);
  RETURN_IF_ERROR(trainer->Export(out, "finetuneJobs/tool"));
  if (file.contains("score")) return PrintScores(*base, out, file.at("score"), splitter);
  if (!job.value("logits", false)) return absl::OkStatus();
  if (options.method == Method::kFull) {
    ASSIGN_OR_RETURN(const auto made, Base::Load(out, base_options));
    return PrintLogits(*made, nullptr, data);
  }
  ASSIGN_OR_RETURN(const auto host, HostAdapter::Load(out, *base));
  return PrintLogits(*base, host, data);
}

}  // namespace
}  // namespace tenon::engine

int main(int argc, char** argv) {
  if (argc != 2) {
    std::cerr << "usage: tenon-train-tool JOB.json\n";
    return 2;
  }
  const absl::Status status = tenon::engine::Run(tenon::engine::ReadJson(argv[1]));
  if (status.ok()) return 0;
  tenon::engine::Print("error", {{"message", std::string(status.message())},
                                 {"reason", tenon::ReasonName(tenon::GetReason(status))},
                                 {"field", tenon::GetField(status)}});
  return 1;
}
