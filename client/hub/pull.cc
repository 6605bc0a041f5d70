#include "client/hub/pull.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <iterator>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "common/formats/base_config.h"
#include "common/formats/files.h"
#include "common/formats/model_config.h"
#include "common/formats/status.h"

namespace tenon::hub {
namespace {

namespace fs = std::filesystem;

constexpr char kConfig[] = "config.json";
constexpr char kWeights[] = "model.safetensors";
constexpr char kIndex[] = "model.safetensors.index.json";
// Beside the weights' own; what formats::BaseFiles takes is among them.
constexpr const char* kSmallFiles[] = {"generation_config.json", "modules.json", "sentence_bert_config.json",
                                       "config_sentence_transformers.json"};
constexpr const char* kTokenizerFiles[] = {
    "tokenizer.json",   "vocab.txt",  "spiece.model",          "sentencepiece.bpe.model",
    "vocab.json",       "merges.txt", "tokenizer_config.json", "special_tokens_map.json",
    "added_tokens.json"};
constexpr int64_t kMaxSmallBytes = 64 << 20;
constexpr int64_t kSpareBytes = 64 << 20;

// Held while a pull writes to a repository's folder.
class Lock {
 public:
  ~Lock() {
    if (descriptor_ >= 0) close(descriptor_);
  }
  absl::Status Take(const fs::path& folder) {
    std::error_code error;
    fs::create_directories(folder, error);
    const fs::path file = folder / ".lock";
    if (!error) descriptor_ = open(file.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    if (descriptor_ < 0)
      return TenonError(Reason::kFieldInvalid, absl::StrCat("Cannot write to ", folder.string(), "."), "--cache");
    if (flock(descriptor_, LOCK_EX | LOCK_NB) == 0) return absl::OkStatus();
    return absl::AbortedError(absl::StrCat("Another pull writes to ", folder.string(), "."));
  }

 private:
  int descriptor_ = -1;
};

// What the server will say of it, too.
absl::Status CheckRunnable(const fs::path& folder) { return formats::ReadBaseConfig(folder).status(); }

absl::Status Missing(const Snapshot& snapshot, const std::string& name, const std::string& why) {
  return TenonError(Reason::kBaseInvalid,
                    absl::StrCat(snapshot.repository, " has no ", name, " at ", snapshot.commit.substr(0, 12), why),
                    name);
}

absl::Status NoSafetensors(const Snapshot& snapshot) {
  const std::string& repository = snapshot.repository;
  if (snapshot.Find("pytorch_model.bin") == nullptr && snapshot.Find("pytorch_model.bin.index.json") == nullptr)
    return Missing(snapshot, kWeights, ", nor an index of shards.");
  const std::string name = repository.substr(repository.rfind('/') + 1);
  return Missing(
      snapshot, kWeights,
      absl::StrCat(": its weights are a pickle, which can run code and which Tenon never reads, and the Hub has no "
                   "conversion of them. Where you trust it, convert it with Python's transformers:\n"
                   "  python -c \"import transformers as t; m='",
                   repository, "'; d='", name,
                   "'; t.AutoModel.from_pretrained(m).save_pretrained(d); "
                   "t.AutoTokenizer.from_pretrained(m).save_pretrained(d)\"\n"
                   "  tenon bases add ",
                   IdOf(repository), " ", name));
}

// One pull.
class Pulling {
 public:
  Pulling(Hub& hub, Snapshot snapshot, fs::path folder, const PullProgress& progress)
      : hub_(hub), snapshot_(std::move(snapshot)), folder_(std::move(folder)), progress_(progress) {}

  absl::StatusOr<Pulled> Run() {
    if (snapshot_.Find(kConfig) == nullptr)
      return Missing(snapshot_, kConfig, ": it is no model that transformers would load.");
    RETURN_IF_ERROR(Get(*snapshot_.Find(kConfig)));
    // What a run that was cut off left is read together with config.json, but may name files that did not come any
    // more; then the rest comes first.
    if (!HasSmallFile()) RETURN_IF_ERROR(CheckRunnable(folder_));
    RETURN_IF_ERROR(GetSmallFiles());
    // Once more: modules.json and what it names are there now.
    RETURN_IF_ERROR(CheckRunnable(folder_));
    ASSIGN_OR_RETURN(const Snapshot from, WeightsSnapshot());
    ASSIGN_OR_RETURN(const std::vector<RemoteFile> weights, Weights(from));
    RETURN_IF_ERROR(GetWeights(weights));
    RETURN_IF_ERROR(formats::BaseFiles(folder_).status());
    return Pulled{.folder = folder_, .commit = snapshot_.commit, .weights_commit = from.commit};
  }

 private:
  absl::Status Get(const RemoteFile& file, int64_t limit = kMaxSmallBytes) {
    if (file.size > limit) {
      return TenonError(
          Reason::kBaseInvalid,
          absl::StrCat(file.path, " of ", snapshot_.repository, " has ", file.size, " bytes, which is no such file."),
          file.path);
    }
    return hub_.Download(snapshot_.repository, file, folder_ / file.path, nullptr);
  }

  bool HasSmallFile() const {
    std::error_code ignored;
    return std::any_of(std::begin(kSmallFiles), std::end(kSmallFiles),
                       [&](const char* name) { return fs::exists(folder_ / name, ignored); });
  }

  absl::Status GetSmallFiles() {
    bool tokenizer = false;
    for (const char* name : kTokenizerFiles) {
      const RemoteFile* file = snapshot_.Find(name);
      if (file == nullptr) continue;
      tokenizer = tokenizer || !absl::EndsWith(name, "_config.json");
      RETURN_IF_ERROR(Get(*file));
    }
    if (!tokenizer) return Missing(snapshot_, "tokenizer.json", ", nor another tokenizer's file.");
    for (const char* name : kSmallFiles) {
      if (const RemoteFile* file = snapshot_.Find(name)) RETURN_IF_ERROR(Get(*file));
    }
    // sentence-transformers' modules have a folder each, `1_Pooling/config.json`.
    for (const RemoteFile& file : snapshot_.files) {
      const size_t slash = file.path.find('/');
      if (slash != std::string::npos && file.path.substr(slash) == "/config.json" && snapshot_.Find("modules.json"))
        RETURN_IF_ERROR(Get(file));
    }
    return absl::OkStatus();
  }

  // The repository itself, or the Hub's conversion of its pickled weights.
  absl::StatusOr<Snapshot> WeightsSnapshot() {
    const auto has = [](const Snapshot& at) { return at.Find(kWeights) != nullptr || at.Find(kIndex) != nullptr; };
    if (has(snapshot_)) return snapshot_;
    const absl::Status none = NoSafetensors(snapshot_);
    if (snapshot_.Find("pytorch_model.bin") == nullptr && snapshot_.Find("pytorch_model.bin.index.json") == nullptr)
      return none;
    absl::StatusOr<Snapshot> conversion = hub_.FindConversion(snapshot_);
    // A mirror may have no pull requests at all.
    if (absl::IsNotFound(conversion.status()) || absl::IsDataLoss(conversion.status())) return none;
    if (conversion.ok() && !has(*conversion)) return none;
    return conversion;
  }

  absl::StatusOr<std::vector<RemoteFile>> Weights(const Snapshot& from) {
    // One file wins over shards, as in formats::BaseFiles.
    if (const RemoteFile* whole = from.Find(kWeights)) return std::vector<RemoteFile>{*whole};
    RETURN_IF_ERROR(Get(*from.Find(kIndex)));
    ASSIGN_OR_RETURN(const std::string index,
                     formats::ReadFile(folder_ / kIndex, kMaxSmallBytes, Reason::kBaseInvalid));
    ASSIGN_OR_RETURN(const std::vector<std::string> names, ParseShardNames(index));
    std::vector<RemoteFile> shards;
    for (const std::string& name : names) {
      const RemoteFile* shard = from.Find(name);
      if (shard == nullptr) return Missing(from, name, absl::StrCat(", but its ", kIndex, " names it."));
      shards.push_back(*shard);
    }
    return shards;
  }

  absl::Status GetWeights(const std::vector<RemoteFile>& files) {
    int64_t total = 0, there = 0;
    for (const RemoteFile& file : files) {
      if (file.size > INT64_MAX / 4 - total)
        return TenonError(Reason::kBaseInvalid, absl::StrCat(file.path, ": ", file.size, " bytes cannot be"),
                          file.path);
      total += file.size;
      there += BytesThere({.file = file, .target = folder_ / file.path});
    }
    RETURN_IF_ERROR(CheckRoom(total - there));
    int64_t before = 0;
    for (const RemoteFile& file : files) {
      RETURN_IF_ERROR(hub_.Download(snapshot_.repository, file, folder_ / file.path, [&](int64_t bytes) {
        if (progress_) progress_(before + bytes, total);
      }));
      before += file.size;
    }
    return absl::OkStatus();
  }

  absl::Status CheckRoom(int64_t bytes) const {
    struct statvfs disk;
    if (statvfs(folder_.c_str(), &disk) != 0) return absl::OkStatus();  // then the writes tell
    const double room = static_cast<double>(disk.f_bavail) * static_cast<double>(disk.f_frsize);
    if (room >= static_cast<double>(bytes) + kSpareBytes) return absl::OkStatus();
    return absl::ResourceExhaustedError(absl::StrCat(
        "The weights of ", snapshot_.repository, " want ", bytes >> 20, " MiB more, and ", folder_.string(),
        " has room for ", static_cast<int64_t>(room) >> 20, " MiB: --cache names a larger disk."));
  }

  Hub& hub_;
  const Snapshot snapshot_;
  const fs::path folder_;
  const PullProgress& progress_;
};

}  // namespace

absl::StatusOr<Pulled> Pull(Hub& hub, const PullOptions& options, const PullProgress& progress) {
  RETURN_IF_ERROR(CheckRepository(options.repository, "ORG/NAME"));
  RETURN_IF_ERROR(hub.CheckEndpoint());
  ASSIGN_OR_RETURN(Snapshot snapshot, hub.Resolve(options.repository, options.revision));
  const fs::path folder = options.cache / absl::StrReplaceAll(options.repository, {{"/", "--"}});
  Lock lock;
  RETURN_IF_ERROR(lock.Take(folder));
  const fs::path commit = folder / snapshot.commit;
  return Pulling(hub, std::move(snapshot), commit, progress).Run();
}

std::string IdOf(const std::string& repository) {
  std::string id;
  for (const char c : repository.substr(repository.rfind('/') + 1)) {
    const char lower = absl::ascii_tolower(static_cast<unsigned char>(c));
    if (absl::ascii_isalnum(static_cast<unsigned char>(lower))) {
      id.push_back(lower);
    } else if (!id.empty() && id.back() != '-') {
      id.push_back('-');
    }
  }
  id.resize(std::min<size_t>(id.size(), 63));
  while (!id.empty() && id.back() == '-') id.pop_back();
  return id;
}

absl::StatusOr<fs::path> DefaultCache() {
  const char* cache = std::getenv("XDG_CACHE_HOME");
  if (cache != nullptr && cache[0] == '/') return fs::path(cache) / "tenon" / "hub";
  const char* home = std::getenv("HOME");
  if (home != nullptr && home[0] == '/') return fs::path(home) / ".cache" / "tenon" / "hub";
  return TenonError(Reason::kFieldInvalid, "There is no home folder to keep the files in: name one with --cache.",
                    "--cache");
}

}  // namespace tenon::hub
