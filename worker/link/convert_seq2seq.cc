#include "worker/link/convert_seq2seq.h"

#include <algorithm>
#include <fstream>

#include "common/formats/adapter_config.h"
#include "common/formats/files.h"
#include "common/formats/status.h"
#include "worker/link/convert_generation.h"

namespace tenon::link {
namespace {

constexpr char kTenonConfig[] = "tenon.json";
constexpr int64_t kMaxConfigBytes = 16 << 20;

formats::TextTemplate ToTemplate(const v1::TextTemplate& text_template) {
  return {text_template.input(), text_template.target()};
}

}  // namespace

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
