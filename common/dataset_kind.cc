#include "common/dataset_kind.h"

namespace tenon {

std::optional<formats::DatasetKind> RowKind(v1::DatasetKind kind) {
  switch (kind) {
    case v1::DATASET_KIND_CLASSIFICATION:
      return formats::DatasetKind::kClassification;
    case v1::DATASET_KIND_QUERIES:
      return formats::DatasetKind::kQueries;
    case v1::DATASET_KIND_QRELS:
      return formats::DatasetKind::kQrels;
    case v1::DATASET_KIND_RECORDS:
      return formats::DatasetKind::kRecords;
    case v1::DATASET_KIND_REGRESSION:
      return formats::DatasetKind::kRegression;
    case v1::DATASET_KIND_TAGS:
      return formats::DatasetKind::kTags;
    case v1::DATASET_KIND_ANSWERS:
      return formats::DatasetKind::kAnswers;
    default:
      return std::nullopt;
  }
}

v1::DatasetKind ToKind(formats::DatasetKind kind) {
  switch (kind) {
    case formats::DatasetKind::kClassification:
      return v1::DATASET_KIND_CLASSIFICATION;
    case formats::DatasetKind::kQueries:
      return v1::DATASET_KIND_QUERIES;
    case formats::DatasetKind::kQrels:
      return v1::DATASET_KIND_QRELS;
    case formats::DatasetKind::kRecords:
      return v1::DATASET_KIND_RECORDS;
    case formats::DatasetKind::kRegression:
      return v1::DATASET_KIND_REGRESSION;
    case formats::DatasetKind::kTags:
      return v1::DATASET_KIND_TAGS;
    case formats::DatasetKind::kAnswers:
      return v1::DATASET_KIND_ANSWERS;
  }
  return v1::DATASET_KIND_UNSPECIFIED;
}

}  // namespace tenon
