#include "worker/link/convert_seq2seq.h"

#include <algorithm>
#include <fstream>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/formats/adapter_config.h"
#include "common/formats/files.h"
#include "common/formats/status.h"
#include "worker/link/convert_generation.h"

namespace tenon::link {
namespace {

constexpr char kTenonConfig[] = "tenon.json";
constexpr int64_t kMaxConfigBytes = 16 << 20;
constexpr size_t kMaxTextBytes = size_t{2} << 30;  // that a template makes of all rows

formats::TextTemplate ToTemplate(const v1::TextTemplate& text_template) {
  return {text_template.input(), text_template.target()};
}

}  // namespace

absl::StatusOr<std::vector<engine::TextPair>> ToTextPairs(const formats::Dataset& dataset,
                                                          const v1::TextTemplate& text_template) {
  ASSIGN_OR_RETURN(const auto input, formats::TextPattern::Parse(text_template.input(), "text_template.input"));
  ASSIGN_OR_RETURN(const auto target, formats::TextPattern::Parse(text_template.target(), "text_template.target"));
  std::vector<engine::TextPair> pairs;
  pairs.reserve(static_cast<size_t>(dataset.row_count()));
  size_t bytes = 0;
  for (int64_t row = 0; row < dataset.row_count(); ++row) {
    const formats::Record record = dataset.RecordAt(row);
    engine::TextPair& pair = pairs.emplace_back();
    for (const auto& [pattern, text] : {std::make_pair(&input, &pair.input), std::make_pair(&target, &pair.target)}) {
      absl::StatusOr<std::string> rendered = pattern->Render(record);
      if (!rendered.ok()) {
        const std::string place = absl::StrCat("row ", row + 1);
        return TenonError(GetReason(rendered.status()),
                          absl::StrCat(place, ": ", std::string(rendered.status().message())), place);
      }
      *text = *std::move(rendered);
      bytes += text->size();
      if (bytes > kMaxTextBytes) {
        return TenonError(Reason::kTextTooLarge,
                          absl::StrCat("the template makes more than ", kMaxTextBytes >> 30, " GiB of text of ",
                                       dataset.row_count(), " rows"),
                          "text_template");
      }
    }
  }
  return pairs;
}

absl::StatusOr<runtime::Seq2SeqEvalJob> ToSeq2SeqEvalJob(const internal::v1::EvalWork& work,
                                                         const formats::Dataset& dataset) {
  const v1::Seq2SeqEval& spec = work.seq2seq();
  runtime::Seq2SeqEvalJob job;
  for (const internal::v1::AdapterRef& adapter : work.adapters()) job.adapter_digests.push_back(adapter.digest());
  const int64_t rows = spec.max_rows() > 0 ? std::min(spec.max_rows(), dataset.row_count()) : dataset.row_count();
  job.rows.reserve(static_cast<size_t>(rows));
  for (int64_t row = 0; row < rows; ++row) job.rows.push_back(dataset.RecordAt(row));
  if (spec.has_text_template()) job.text_template = ToTemplate(spec.text_template());
  ASSIGN_OR_RETURN(job.options, ToGenerationOptions(spec.generation()));
  job.bad_words.assign(spec.generation().bad_words().begin(), spec.generation().bad_words().end());
  job.max_input_tokens = work.max_input_tokens();
  if (spec.max_target_tokens() > 0) job.max_target_tokens = spec.max_target_tokens();
  job.labels.assign(spec.labels().begin(), spec.labels().end());
  if (spec.has_use_stemmer()) job.use_stemmer = spec.use_stemmer();
  return job;
}

v1::EvalResult ToEvalResult(const std::string& base_digest, const std::string& adapter_digest,
                            const google::protobuf::RepeatedPtrField<std::string>& labels,
                            const engine::Seq2SeqScores& scores) {
  v1::EvalResult result;
  result.mutable_model()->set_base_digest(base_digest);
  result.mutable_model()->set_revision(adapter_digest);
  for (const engine::NamedMetric& metric : scores.metrics) {
    v1::Metric& out = *result.add_metrics();
    out.set_name(metric.name);
    out.set_value(metric.value);
  }
  for (const engine::MetricInterval& interval : scores.intervals) {
    v1::EvalResult::Interval& out = *result.add_intervals();
    out.set_name(interval.name);
    out.set_low(interval.low);
    out.set_high(interval.high);
  }
  for (size_t i = 0; i < scores.classes.size(); ++i) {
    v1::EvalResult::ClassScore& out = *result.add_classes();
    if (static_cast<int>(i) < labels.size()) out.set_label(labels[static_cast<int>(i)]);
    out.set_precision(scores.classes[i].precision);
    out.set_recall(scores.classes[i].recall);
    out.set_f1(scores.classes[i].f1);
    out.set_support(scores.classes[i].support);
  }
  result.mutable_confusion_matrix()->Add(scores.confusion.begin(), scores.confusion.end());
  result.set_examples(scores.examples);
  return result;
}

absl::Status AddTemplate(const std::filesystem::path& folder, const v1::TextTemplate& text_template) {
  const std::filesystem::path file = folder / kTenonConfig;
  ASSIGN_OR_RETURN(const std::string text, formats::ReadFile(file, kMaxConfigBytes, Reason::kAdapterInvalid));
  ASSIGN_OR_RETURN(formats::TenonConfig config, formats::ParseTenonConfig(text));
  config.text_template = ToTemplate(text_template);
  std::ofstream out(file, std::ios::binary | std::ios::trunc);
  out << formats::WriteTenonConfig(config, /*with_job=*/true);
  out.close();
  return out ? absl::OkStatus() : TenonError(Reason::kDiskFull, "the worker cannot write tenon.json");
}

}  // namespace tenon::link
