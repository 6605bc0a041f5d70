// Drives the engine from Python: one JSON object a line in, one out. Used by engine_test.py.
//
//   {"cmd": "base", "folder": F, "precision": "fp32", "digest": D}      -> {"layers": {...}, "bytes": n, "pooling":
//   "cls" | "other"}
//   {"cmd": "adapter", "name": N, "folder": F}                          -> {"config": {...}, "parameters": n,
//   "lora_parameters": n}
//   {"cmd": "write", "name": N, "folder": F}                            -> {}
//   {"cmd": "infer", "rows": [{"text" ("text_pair") | "ids", "adapter", "output", "pooling", "normalize",
//   "max_tokens"}]} -> {"rows":
//   [[...]]}
//   output "tokens" gives every token's logits, flat; a row may have "words", and "question" with "context" (its first
//   window): see worker/engine/spans
//   {"cmd": "tags", "adapter", "words": [[...]], "max_tokens"}          -> {"rows": [[tag, score]], "windows": [n]}
//   {"cmd": "answers", "adapter", "rows": [{"question", "context"}], "max_tokens", "doc_stride", "max_answer_tokens",
//   "top_k", "threshold"}                                               -> {"rows": [{"best": [[begin, end, score]],
//   "none", "no_answer", "windows": [[ids]]}]}
//   {"cmd": "places", "texts": [...]}                                   -> {"rows": [{"ids", "places"}]}
//   {"cmd": "word_ids", "words": [...]}                                 -> {"rows": [[id]]}
//   {"cmd": "plain", "texts": [...]}                                    -> {"rows": [[...]]}, mean vectors by the
//   training path
// An error gives {"error": message, "reason": REASON, "field": FIELD}.
#include <ATen/core/grad_mode.h>

#include <deque>
#include <iostream>
#include <map>
#include <string>

#include "absl/strings/str_cat.h"
#include "common/formats/status.h"
#include "nlohmann/json.hpp"
#include "worker/engine/adapter/adapter.h"
#include "worker/engine/adapter/tensors.h"
#include "worker/engine/adapter/write.h"
#include "worker/engine/infer.h"
#include "worker/engine/model/encoder.h"
#include "worker/engine/spans/answers.h"
#include "worker/engine/spans/tag_windows.h"
#include "worker/engine/spans/tags.h"

namespace tenon::engine {
namespace {

using Json = nlohmann::json;

Output ParseOutput(const std::string& name) {
  if (name == "logits") return Output::kLogits;
  if (name == "tokens") return Output::kTokenLogits;
  return name == "probabilities" ? Output::kProbabilities : Output::kEmbedding;
}

formats::Pooling ParsePooling(const std::string& name) {
  if (name == "cls") return formats::Pooling::kCls;
  return name == "max" ? formats::Pooling::kMax : formats::Pooling::kMean;
}

class Tool {
 public:
  absl::StatusOr<Json> Run(const Json& command) {
    const std::string name = command.at("cmd");
    if (name == "base") return LoadBase(command);
    if (name == "adapter") return LoadAdapter(command);
    if (name == "write") return Write(command);
    if (name == "infer") return RunInfer(command);
    if (name == "tags") return RunTags(command);
    if (name == "answers") return RunAnswers(command);
    if (name == "places") return Places(command);
    if (name == "word_ids") return WordIds(command);
    if (name == "plain") return RunPlain(command);
    return absl::InvalidArgumentError(absl::StrCat("no command ", name));
  }

 private:
  absl::StatusOr<Json> LoadBase(const Json& command) {
    Base::Options options;
    ASSIGN_OR_RETURN(options.precision, ParsePrecision(command.value("precision", "fp32")));
    options.digest = command.value("digest", "");
    ASSIGN_OR_RETURN(base_, Base::Load(std::string(command.at("folder")), options));
    adapters_.clear();
    ASSIGN_OR_RETURN(auto encoder, base_->encoder(options.precision));
    Json layers = Json::object();
    for (const auto& [layer, shape] : encoder->linear_layers()) layers[layer] = {shape.first, shape.second};
    const bool first_token = base_->sentence().pooling == formats::Pooling::kCls;
    return Json{{"layers", layers}, {"bytes", base_->ResidentBytes()}, {"pooling", first_token ? "cls" : "other"}};
  }

  absl::StatusOr<Json> LoadAdapter(const Json& command) {
    ASSIGN_OR_RETURN(auto host, HostAdapter::Load(std::string(command.at("folder")), *base_));
    ASSIGN_OR_RETURN(auto placed, DeviceAdapter::Place(host, *base_));
    adapters_[command.at("name")] = placed;
    int64_t lora = 0;
    for (const auto& [module, pair] : host->tensors().pairs) lora += pair.a.numel() + pair.b.numel();
    return Json{{"config", Json::parse(formats::WriteTenonConfig(host->config(), true))},
                {"parameters", host->tensors().Parameters()},
                {"lora_parameters", lora}};
  }

  absl::StatusOr<Json> Write(const Json& command) {
    RETURN_IF_ERROR(
        WriteAdapter(std::string(command.at("folder")), adapters_.at(command.at("name"))->host().tensors()));
    return Json::object();
  }

  Encoding Encoded(const Json& row) const {
    if (row.contains("ids")) return {.ids = row.at("ids")};
    if (row.contains("words")) return CutWords(*base_->tokenizer().places(), row.at("words"), 1 << 20).front().encoding;
    return base_->tokenizer().EncodeRow(row.at("text"), row.value("text_pair", ""),
                                        row.value("max_tokens", base_->default_max_tokens()));
  }

  absl::StatusOr<Json> RunInfer(const Json& command) {
    std::deque<Encoding> encodings;
    std::vector<InferRow> rows;
    for (const Json& wanted : command.at("rows")) {
      const Encoding& encoding = encodings.emplace_back(Encoded(wanted));
      InferRow row{.ids = &encoding.ids, .second_type = encoding.second_type};
      const std::string adapter = wanted.value("adapter", "");
      if (!adapter.empty()) row.adapter = adapters_.at(adapter).get();
      row.output = ParseOutput(wanted.value("output", "embedding"));
      row.pooling = ParsePooling(wanted.value("pooling", "mean"));
      row.normalize = wanted.value("normalize", false);
      rows.push_back(row);
    }
    ASSIGN_OR_RETURN(auto results, Infer(*base_, rows));
    return Json{{"rows", results}};
  }

  // Logits of every token of each row.
  absl::StatusOr<std::vector<std::vector<float>>> TokenLogits(const std::string& adapter,
                                                              const std::vector<const Encoding*>& encodings) const {
    std::vector<InferRow> rows;
    for (const Encoding* one : encodings) {
      rows.push_back({.ids = &one->ids,
                      .second_type = one->second_type,
                      .adapter = adapter.empty() ? nullptr : adapters_.at(adapter).get(),
                      .output = Output::kTokenLogits});
    }
    return Infer(*base_, rows);
  }

  static std::vector<const std::vector<float>*> Pointers(const std::vector<std::vector<float>>& rows) {
    std::vector<const std::vector<float>*> pointers;
    for (const auto& row : rows) pointers.push_back(&row);
    return pointers;
  }

  absl::StatusOr<Json> RunTags(const Json& command) {
    const std::string adapter = command.value("adapter", "");
    const std::vector<std::string>& labels =
        adapter.empty() ? base_->labels() : adapters_.at(adapter)->host().config().labels;
    const std::optional<Crf> crf = adapter.empty() ? std::nullopt : adapters_.at(adapter)->host().crf();
    Json out = Json::array(), counts = Json::array();
    for (const Json& words : command.at("words")) {
      const std::vector<TagWindow> windows =
          CutWords(*base_->tokenizer().places(), words, command.value("max_tokens", base_->default_max_tokens()));
      std::vector<const Encoding*> encodings;
      for (const TagWindow& window : windows) encodings.push_back(&window.encoding);
      ASSIGN_OR_RETURN(const auto rows, TokenLogits(adapter, encodings));
      const auto logits = WordLogits(windows, words.size(), Pointers(rows), labels.size());
      Json& tags = out.emplace_back(Json::array());
      for (const TagChoice& one : ChooseTags(logits, crf.has_value() ? &*crf : nullptr)) {
        tags.push_back({labels[static_cast<size_t>(one.tag)], one.score});
      }
      counts.push_back(windows.size());
    }
    return Json{{"rows", out}, {"windows", counts}};
  }

  absl::StatusOr<Json> RunAnswers(const Json& command) {
    AnswerOptions options;
    options.max_answer_tokens = command.value("max_answer_tokens", options.max_answer_tokens);
    options.doc_stride = command.value("doc_stride", options.doc_stride);
    options.top_k = command.value("top_k", options.top_k);
    if (command.contains("threshold")) options.no_answer_threshold = command.at("threshold").get<double>();
    Json out = Json::array();
    for (const Json& row : command.at("rows")) {
      ASSIGN_OR_RETURN(const AnswerWindows made,
                       CutContext(*base_->tokenizer().places(), row.at("question"), row.at("context"),
                                  command.value("max_tokens", base_->default_max_tokens()), options.doc_stride, "row"));
      std::vector<const Encoding*> encodings;
      for (const AnswerWindow& window : made.windows) encodings.push_back(&window.encoding);
      ASSIGN_OR_RETURN(const auto rows, TokenLogits(command.value("adapter", ""), encodings));
      const FoundAnswers found = FindAnswers(made, Pointers(rows), options);
      Json best = Json::array(), windows = Json::array();
      for (const FoundAnswer& one : found.best) best.push_back({one.place.begin, one.place.end, one.score});
      for (const Encoding* one : encodings) windows.push_back(one->ids);
      out.push_back(
          {{"best", best}, {"none", found.no_answer_score}, {"no_answer", found.no_answer}, {"windows", windows}});
    }
    return Json{{"rows", out}};
  }

  absl::StatusOr<Json> Places(const Json& command) {
    Json out = Json::array();
    for (const Json& text : command.at("texts")) {
      const PlacedTokens tokens = base_->tokenizer().places()->EncodePlaces(text);
      Json places = Json::array();
      for (const TextPlace& place : tokens.places) places.push_back({place.begin, place.end});
      out.push_back({{"ids", tokens.ids}, {"places", places}});
    }
    return Json{{"rows", out}};
  }

  absl::StatusOr<Json> WordIds(const Json& command) {
    Json out = Json::array();
    for (const Json& word : command.at("words")) out.push_back(base_->tokenizer().places()->EncodeWord(word));
    return Json{{"rows", out}};
  }

  absl::StatusOr<Json> RunPlain(const Json& command) {
    const at::NoGradGuard no_grad;
    std::deque<std::vector<int32_t>> ids;
    std::vector<const std::vector<int32_t>*> rows;
    for (const Json& text : command.at("texts")) rows.push_back(&ids.emplace_back(Encoded({{"text", text}}).ids));
    ASSIGN_OR_RETURN(auto encoder, base_->encoder(Precision::kFp32));
    const PackedBatch batch = Pack(rows, encoder->device());
    at::Tensor x = encoder->Embed(batch, {});
    for (int64_t i = 0; i < encoder->config().num_hidden_layers; ++i)
      x = encoder->Layer(i, x, batch, {}, Lines::kTokens);
    const at::Tensor vectors = PoolSentences(x, batch, formats::Pooling::kMean, false);
    Json lists = Json::array();
    for (int64_t r = 0; r < vectors.size(0); ++r) {
      const float* data = vectors.const_data_ptr<float>() + r * vectors.size(1);
      lists.push_back(std::vector<float>(data, data + vectors.size(1)));
    }
    return Json{{"rows", lists}};
  }

  std::shared_ptr<const Base> base_;
  std::map<std::string, std::shared_ptr<const DeviceAdapter>> adapters_;
};

int Main() {
  SetThreads(2);
  Tool tool;
  for (std::string line; std::getline(std::cin, line);) {
    const absl::StatusOr<Json> reply = tool.Run(Json::parse(line));
    const Json out = reply.ok() ? *reply
                                : Json{{"error", std::string(reply.status().message())},
                                       {"reason", ReasonName(GetReason(reply.status()))},
                                       {"field", GetField(reply.status())}};
    std::cout << out.dump() << std::endl;
  }
  return 0;
}

}  // namespace
}  // namespace tenon::engine

int main() { return tenon::engine::Main(); }
