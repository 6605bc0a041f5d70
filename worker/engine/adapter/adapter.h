// Adapters in their tiers: host memory, then device memory. Free of torch.
#pragma once

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "common/formats/adapter_config.h"
#include "worker/engine/base.h"
#include "worker/engine/spans/crf.h"

namespace tenon::engine {

struct AdapterTensors;  // worker/engine/adapter/tensors.h, torch inside

// An adapter's files, read and checked against a base: LoRA factors, a soft prompt or bottlenecks, and the
// classification head where it has one. Host memory. Immutable, safe from any thread.
class HostAdapter {
 public:
  // Reads adapter_config.json + adapter_model.safetensors (PEFT) or tenon.json + head.safetensors (method `head`).
  // Names and shapes must fit the base, every tensor must be finite, none may be missing or left over: ADAPTER_INVALID
  // names the key. BASE_MISMATCH when tenon.json is bound to another digest.
  static absl::StatusOr<std::shared_ptr<const HostAdapter>> Load(const std::filesystem::path& folder, const Base& base);
  ~HostAdapter();

  const formats::TenonConfig& config() const;
  int64_t bytes() const;
  int64_t num_labels() const;             // 0 without a head
  int64_t virtual_tokens() const;         // that it puts in front of every row
  std::optional<Crf> crf() const;         // of one whose tags are chosen together
  const AdapterTensors& tensors() const;  // engine-internal

  explicit HostAdapter(std::unique_ptr<AdapterTensors> tensors);

 private:
  std::unique_ptr<AdapterTensors> tensors_;
};

// An adapter in device memory: holding the pointer is the counted handle; it frees its memory when the last one goes.
class DeviceAdapter {
 public:
  static absl::StatusOr<std::shared_ptr<const DeviceAdapter>> Place(std::shared_ptr<const HostAdapter> host,
                                                                    const Base& base);
  ~DeviceAdapter();
  const HostAdapter& host() const { return *host_; }
  int64_t bytes() const;
  const AdapterTensors& tensors() const;  // engine-internal

 private:
  DeviceAdapter() = default;
  std::shared_ptr<const HostAdapter> host_;
  std::unique_ptr<AdapterTensors> tensors_;
};

// Tokens that a text is cut to: `asked`, else the adapter's own limit, else the base's, and never so many that the
// adapter's virtual tokens, and a decoder's first new one, have no position left in a base whose positions are a table.
// `adapter` may be nullptr; `asked` of 0 is none.
inline int64_t MaxInputTokens(const Base& base, const HostAdapter* adapter, int64_t asked = 0) {
  if (asked == 0 && adapter != nullptr) asked = adapter->config().max_input_tokens;
  if (asked == 0) asked = base.default_max_tokens();
  if (base.decoder_only()) {
    const int64_t others = 1 + (adapter == nullptr ? 0 : adapter->virtual_tokens());
    return std::min(asked, base.max_tokens() - others);
  }
  const int64_t virtual_tokens = adapter == nullptr ? 0 : adapter->virtual_tokens();
  // What an encoder is asked for beyond its positions is refused row by row; a source is cut, and the reply says so.
  if (base.max_tokens() == 0 || (virtual_tokens == 0 && !base.generates())) return asked;
  return std::min(asked, base.max_tokens() - virtual_tokens);
}

}  // namespace tenon::engine
