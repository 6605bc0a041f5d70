#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/formats/dataset_rows.h"
#include "common/formats/status.h"
#include "common/formats/utf8.h"

namespace tenon::formats {
namespace {

constexpr size_t kMaxCells = 10'000;

// Cuts bytes into records of cells.
class Records {
 public:
  Records(const char* begin, const char* end, char delimiter) : at_(begin), end_(end), delimiter_(delimiter) {}

  // The next record that is not an empty line; false at the end. Behind an error, reading goes on at the next line.
  absl::StatusOr<bool> Next(std::vector<std::string>* cells) {
    cells->clear();
    while (at_ != end_ && (*at_ == '\n' || (*at_ == '\r' && at_ + 1 != end_ && at_[1] == '\n'))) ++at_;
    if (at_ == end_) return false;
    const bool quotes = delimiter_ == ',';
    for (;;) {
      if (cells->size() >= kMaxCells) return Skip(absl::StrCat("has more than ", kMaxCells, " cells"));
      cells->emplace_back();
      if (quotes && at_ != end_ && *at_ == '"') {
        const std::string error = Quoted(&cells->back());
        if (!error.empty()) return Skip(error);
      } else {
        const char* stop = std::find_if(at_, end_, [&](char c) { return c == delimiter_ || c == '\n'; });
        cells->back().assign(at_, stop);
        at_ = stop;
        if ((at_ == end_ || *at_ == '\n') && !cells->back().empty() && cells->back().back() == '\r')
          cells->back().pop_back();
      }
      if (at_ == end_) return true;
      if (*at_++ == '\n') return true;
    }
  }

 private:
  // A cell in quotes; at_ is at the delimiter, the newline or the end after it. An error's text, or "".
  std::string Quoted(std::string* cell) {
    ++at_;
    for (;;) {
      const char* quote = std::find(at_, end_, '"');
      if (quote == end_) return "has a quote that is never closed";
      cell->append(at_, quote);
      at_ = quote + 1;
      if (at_ == end_ || *at_ != '"') break;
      *cell += '"';
      ++at_;
    }
    if (at_ != end_ && *at_ == '\r' && (at_ + 1 == end_ || at_[1] == '\n')) ++at_;
    const bool ends = at_ == end_ || *at_ == delimiter_ || *at_ == '\n';
    return ends ? "" : "has text behind a closing quote";
  }
  absl::Status Skip(const std::string& error) {
    at_ = std::find(at_, end_, '\n');
    return absl::InvalidArgumentError(error);
  }

  const char* at_;
  const char* const end_;
  const char delimiter_;
};

class DelimitedReader : public RowReader {
 public:
  DelimitedReader(const char* begin, const char* end, char delimiter) : records_(begin, end, delimiter) {}

  absl::Status ReadHeader() {
    std::vector<std::string> names;
    const auto header = records_.Next(&names);
    if (!header.ok()) return Annotate(header.status(), "the header ");
    if (!*header) return absl::InvalidArgumentError("the file has no header");
    for (const std::string& name : names) {
      if (!IsValidUtf8(name)) return absl::InvalidArgumentError("the header is not valid UTF-8");
      const int column = FindColumn(name);
      if (column >= 0 && std::find(columns_.begin(), columns_.end(), column) != columns_.end()) {
        return absl::InvalidArgumentError(absl::StrCat("the header has the column \"", name, "\" twice"));
      }
      if (column < 0) NoteOther(name);
      columns_.push_back(column);
    }
    names_ = std::move(names);
    return absl::OkStatus();
  }

  absl::StatusOr<bool> Next(RawRow* row) override {
    row->Clear();
    const auto found = records_.Next(&cells_);
    if (!found.ok() || !*found) return found;
    if (cells_.size() != columns_.size()) {
      return absl::InvalidArgumentError(
          absl::StrCat("has ", cells_.size(), " cells; the header has ", columns_.size()));
    }
    for (size_t i = 0; i < cells_.size(); ++i) {
      if (!IsValidUtf8(cells_[i])) return absl::InvalidArgumentError("is not valid UTF-8");
      if (columns_[i] < 0 && !keeps_others()) continue;
      Value& value = columns_[i] < 0 ? row->others.emplace_back(names_[i], Value()).second
                                     : row->values[static_cast<size_t>(columns_[i])];
      value.kind = Value::Kind::kText;
      value.text = std::move(cells_[i]);
    }
    return true;
  }

 private:
  Records records_;
  std::vector<int> columns_;  // by cell; -1: none of ours
  std::vector<std::string> names_;
  std::vector<std::string> cells_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<RowReader>> NewDelimitedReader(const char* begin, const char* end, char delimiter) {
  auto reader = std::make_unique<DelimitedReader>(begin, end, delimiter);
  RETURN_IF_ERROR(reader->ReadHeader());
  return reader;
}

}  // namespace tenon::formats
