// Data sets as users write them: JSON lines, CSV (RFC 4180) and TSV with a header. One function reads rows for
// validation and for training, so that the two cannot disagree. Errors are DATASET_INVALID and name row (from 1, the
// header not counted) and column. TSV has no quotes: a quote is a character like others there.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "absl/status/statusor.h"
#include "common/formats/text_template.h"

namespace tenon::formats {

enum class DatasetFormat { kJsonLines, kCsv, kTsv };
enum class DatasetKind { kClassification, kQueries, kQrels, kRecords, kRegression, kTags, kAnswers };

// By file name: .jsonl/.json, .csv, .tsv. OPTION_INVALID otherwise.
absl::StatusOr<DatasetFormat> DatasetFormatFromName(const std::string& file_name);

struct ClassificationRow {
  std::string text;
  std::string text_pair;  // the second text of a pair, read with the first as one row; empty: the text stands alone
  // One label, or any number for a multi-label set. Integers are written in decimal. None in a set of kRegression.
  std::vector<std::string> labels;
  std::vector<float> values;  // of kRegression: as many in every row
};
// Words, each with its tag: `O`, `B-TYPE` or `I-TYPE`, the latter behind a `B-` or `I-` of its type alone (BIO, or
// IOB2; Ramshaw and Marcus, 1995).
struct TagsRow {
  std::vector<std::string> words, tags;
};
// A question, a text that it is asked of, and where the text has answers; none where it has none.
struct AnswersRow {
  struct Answer {
    std::string text;
    int64_t begin = 0;  // byte of the context
  };
  std::string question, context;
  std::vector<Answer> answers;
};
struct QueryRow {
  std::string id;
  std::string text;
};
struct QrelRow {
  std::string query_id;
  std::string document_id;
  int64_t score = 0;
};

struct Dataset {
  DatasetKind kind = DatasetKind::kClassification;
  bool multi_label = false;
  std::vector<ClassificationRow> classification;  // of kRegression, too
  std::vector<QueryRow> queries;
  std::vector<QrelRow> qrels;
  std::vector<TagsRow> tags;
  std::vector<AnswersRow> answers;
  // Of kRecords: values in the order of `fields`.
  std::vector<std::vector<std::string>> records;
  // Names that a template may use, in bytewise order: columns of kRecords that hold a text in every row; `text`, and
  // `label` where a row has one and `text_pair` where every row does, of kClassification;
  // `text` and `text_pair`, likewise, of kRegression; none of other kinds.
  std::vector<std::string> fields;
  // Of classes, numeric order when all are integers, else bytewise; of kTags the tags that occur, bytewise.
  std::vector<std::string> labels;
  // At most one for each kind of oddity, such as ignored columns.
  std::vector<std::string> warnings;
  int64_t pair_count = 0;   // rows of kClassification or kRegression that are two texts
  int64_t value_count = 0;  // of each row of kRegression

  int64_t row_count() const {
    return static_cast<int64_t>(classification.size() + queries.size() + qrels.size() + records.size() + tags.size() +
                                answers.size());
  }
  // A row under the names of `fields`.
  Record RecordAt(int64_t row) const;
};

// Limits on one text and one file.
struct DatasetLimits {
  int64_t max_text_bytes = 1 << 20;
  int64_t max_rows = 5'000'000;
  int64_t max_labels = 10'000;
  int64_t max_label_bytes = 256;
  int64_t max_words = 10'000;      // of a row of kTags
  int64_t max_answers = 100;       // of a row of kAnswers
  int64_t max_columns = 256;       // of records
  int64_t max_cells = 20'000'000;  // of records, over all rows
};

// Reads all rows of `bytes`. A `text_pair` that is missing, null or an empty cell leaves its text alone. Without a
// `kind` it is told by the columns of the first row, and is kRecords when those are of no other kind. Empty texts,
// missing columns, wrong types, invalid UTF-8 and rows without a label are errors; of records, a column that is no text
// in every row is no field, which a warning says. Up to ten broken rows are listed in the message; the first is the
// error's field.
absl::StatusOr<Dataset> ReadDataset(const std::string& bytes, DatasetFormat format, const DatasetLimits& limits = {},
                                    std::optional<DatasetKind> kind = std::nullopt);

// The first rows of a file that is good, at most `count`, under the names of their fields. `bytes` may be its
// beginning alone: a row that is cut ends the list.
std::vector<Record> ReadFirstRecords(const std::string& bytes, DatasetFormat format, DatasetKind kind, int64_t count);

// Index of every row's labels, or of its words' tags, in `labels`. LABEL_UNKNOWN names the first row whose label is not
// there.
absl::StatusOr<std::vector<std::vector<int64_t>>> LabelIndices(const Dataset& dataset,
                                                               const std::vector<std::string>& labels);

}  // namespace tenon::formats
