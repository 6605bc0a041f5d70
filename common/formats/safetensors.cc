#include "common/formats/safetensors.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/formats/files.h"
#include "common/formats/json.h"
#include "common/formats/safetensors_header.h"
#include "common/formats/status.h"

namespace tenon::formats {
namespace {

constexpr int64_t kLengthBytes = 8;
constexpr int64_t kMaxIndexBytes = 64 << 20;
constexpr size_t kMaxShards = 1000;

absl::Status Invalid(const std::string& message, const std::string& field = "") {
  return TenonError(Reason::kSafetensorsInvalid, message, field);
}

// A shard's name comes from a file: it must stay in the folder.
bool IsPlainName(const std::string& name) {
  return !name.empty() && name[0] != '.' && name.find_first_of(std::string("/\\\0", 3)) == std::string::npos;
}

// Tensor → shard of model.safetensors.index.json.
absl::StatusOr<std::map<std::string, std::string>> ReadIndex(const std::filesystem::path& file) {
  const std::string name = file.filename().string();
  ASSIGN_OR_RETURN(const std::string text, ReadFile(file, kMaxIndexBytes, Reason::kSafetensorsInvalid));
  const auto json = ParseJson(text);
  if (!json.ok()) return Invalid(absl::StrCat(name, ": ", std::string(json.status().message())), name);
  const auto map = json->find("weight_map");
  if (!json->is_object() || map == json->end() || !map->is_object()) {
    return Invalid(absl::StrCat(name, ": weight_map must be an object"), "weight_map");
  }
  std::map<std::string, std::string> shards;
  for (const auto& [tensor, shard] : map->items()) {
    if (!shard.is_string() || !IsPlainName(shard.get_ref<const std::string&>())) {
      return Invalid(absl::StrCat(name, ": tensor ", tensor, ": a shard must be a file name without folders"), tensor);
    }
    shards[tensor] = shard.get<std::string>();
  }
  if (shards.empty()) return Invalid(absl::StrCat(name, ": weight_map is empty"), "weight_map");
  return shards;
}

}  // namespace

// What keeps a file's bytes: a mapping, or a string. A mapped file must not be cut while it is open; blobs never are.
struct Safetensors::Mapping {
  void* address = nullptr;
  size_t length = 0;
  std::string bytes;

  ~Mapping() {
    if (address != nullptr) munmap(address, length);
  }
  const uint8_t* data() const {
    return address != nullptr ? static_cast<const uint8_t*>(address) : reinterpret_cast<const uint8_t*>(bytes.data());
  }
  int64_t size() const { return static_cast<int64_t>(address != nullptr ? length : bytes.size()); }

  static absl::StatusOr<std::unique_ptr<Mapping>> Map(const std::filesystem::path& file) {
    const auto error = [&] { return Invalid(std::strerror(errno)); };
    const int fd = open(file.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) return error();
    auto mapping = std::make_unique<Mapping>();
    struct stat info = {};
    absl::Status status;
    if (fstat(fd, &info) != 0) {
      status = error();
    } else if (!S_ISREG(info.st_mode)) {
      status = Invalid("is not a file");
    } else if (info.st_size > 0) {
      void* address = mmap(nullptr, static_cast<size_t>(info.st_size), PROT_READ, MAP_PRIVATE, fd, 0);
      if (address == MAP_FAILED) {
        status = error();
      } else {
        mapping->address = address;
        mapping->length = static_cast<size_t>(info.st_size);
      }
    }
    close(fd);
    RETURN_IF_ERROR(status);
    return mapping;
  }
};

int64_t ItemSize(DType dtype) {
  switch (dtype) {
    case DType::kF64:
    case DType::kI64:
      return 8;
    case DType::kF32:
    case DType::kI32:
      return 4;
    case DType::kF16:
    case DType::kBF16:
    case DType::kI16:
      return 2;
    case DType::kI8:
    case DType::kU8:
    case DType::kBool:
      return 1;
  }
  return 0;
}

const char* DTypeName(DType dtype) {
  switch (dtype) {
    case DType::kF64:
      return "F64";
    case DType::kI64:
      return "I64";
    case DType::kF32:
      return "F32";
    case DType::kI32:
      return "I32";
    case DType::kF16:
      return "F16";
    case DType::kBF16:
      return "BF16";
    case DType::kI16:
      return "I16";
    case DType::kI8:
      return "I8";
    case DType::kU8:
      return "U8";
    case DType::kBool:
      return "BOOL";
  }
  return "";
}

Safetensors::~Safetensors() = default;

void Safetensors::DropPages() const {
  for (const auto& mapping : mappings_) {
    if (mapping->address != nullptr) madvise(mapping->address, mapping->length, MADV_DONTNEED);
  }
}

const TensorView* Safetensors::Find(const std::string& name) const {
  const auto it = tensors_.find(name);
  return it == tensors_.end() ? nullptr : &it->second;
}

absl::StatusOr<std::vector<std::string>> Safetensors::Add(std::unique_ptr<Mapping> mapping, const Limits& limits) {
  const uint8_t* data = mapping->data();
  const int64_t size = mapping->size();
  if (size < kLengthBytes) return Invalid(absl::StrCat("the file has ", size, " bytes; the shortest has 8"));
  uint64_t header_bytes = 0;
  for (int i = 0; i < kLengthBytes; ++i) header_bytes |= static_cast<uint64_t>(data[i]) << (8 * i);
  if (header_bytes > static_cast<uint64_t>(limits.max_header_bytes)) {
    return Invalid(absl::StrCat("the header's length is ", header_bytes, " bytes; at most ", limits.max_header_bytes,
                                " are allowed"));
  }
  const int64_t begin = kLengthBytes + static_cast<int64_t>(header_bytes);
  if (begin > size)
    return Invalid(absl::StrCat("the header ends at byte ", begin, " of ", size, "; the file is truncated"));
  if (header_bytes == 0 || data[kLengthBytes] != '{') return Invalid("the header does not begin with {");
  ASSIGN_OR_RETURN(SafetensorsHeader header, ParseSafetensorsHeader(reinterpret_cast<const char*>(data) + kLengthBytes,
                                                                    begin - kLengthBytes, size - begin, limits));
  std::vector<std::string> names;
  for (SafetensorsEntry& entry : header.entries) {
    TensorView view{entry.dtype, std::move(entry.shape), data + begin + entry.begin, entry.end - entry.begin};
    if (!tensors_.emplace(entry.name, std::move(view)).second) {
      return Invalid(absl::StrCat("tensor ", entry.name, ": another shard has it too"), entry.name);
    }
    names.push_back(entry.name);
  }
  metadata_.merge(header.metadata);
  mappings_.push_back(std::move(mapping));
  return names;
}

absl::StatusOr<std::shared_ptr<const Safetensors>> Safetensors::Open(const std::filesystem::path& file,
                                                                     const Limits& limits) {
  const std::string prefix = absl::StrCat(file.filename().string(), ": ");
  auto mapping = Mapping::Map(file);
  if (!mapping.ok()) return Annotate(mapping.status(), prefix);
  std::shared_ptr<Safetensors> opened(new Safetensors());
  RETURN_IF_ERROR(Annotate(opened->Add(std::move(*mapping), limits).status(), prefix));
  return opened;
}

absl::StatusOr<std::shared_ptr<const Safetensors>> Safetensors::Parse(std::string bytes, const Limits& limits) {
  auto mapping = std::make_unique<Mapping>();
  mapping->bytes = std::move(bytes);
  std::shared_ptr<Safetensors> parsed(new Safetensors());
  RETURN_IF_ERROR(parsed->Add(std::move(mapping), limits).status());
  return parsed;
}

absl::StatusOr<std::shared_ptr<const Safetensors>> Safetensors::OpenModel(const std::filesystem::path& folder,
                                                                          const Limits& limits) {
  std::error_code ignored;
  const std::filesystem::path single = folder / "model.safetensors";
  if (std::filesystem::exists(single, ignored)) return Open(single, limits);
  const std::filesystem::path index = folder / "model.safetensors.index.json";
  if (!std::filesystem::exists(index, ignored)) {
    return TenonError(Reason::kBaseInvalid, "model.safetensors: no such file, and no model.safetensors.index.json",
                      "model.safetensors");
  }
  ASSIGN_OR_RETURN(const auto shard_of, ReadIndex(index));
  std::set<std::string> shards;
  for (const auto& [tensor, shard] : shard_of) shards.insert(shard);
  if (shards.size() > kMaxShards) return Invalid(absl::StrCat("the index names more than ", kMaxShards, " shards"));

  std::shared_ptr<Safetensors> model(new Safetensors());
  for (const std::string& shard : shards) {
    const std::string prefix = absl::StrCat(shard, ": ");
    auto mapping = Mapping::Map(folder / shard);
    if (!mapping.ok()) return Annotate(mapping.status(), prefix);
    auto added = model->Add(std::move(*mapping), limits);
    if (!added.ok()) return Annotate(added.status(), prefix);
    for (const std::string& tensor : *added) {
      const auto it = shard_of.find(tensor);
      if (it == shard_of.end() || it->second != shard) {
        return Invalid(absl::StrCat(prefix, "tensor ", tensor, " is not in the index for this shard"), tensor);
      }
    }
  }
  for (const auto& [tensor, shard] : shard_of) {
    if (model->Find(tensor) == nullptr)
      return Invalid(absl::StrCat(shard, ": tensor ", tensor, " of the index is missing"), tensor);
  }
  return model;
}

}  // namespace tenon::formats
