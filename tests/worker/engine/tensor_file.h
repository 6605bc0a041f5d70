// A safetensors file of random tensors, for tests.
#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <filesystem>
#include <list>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "common/formats/safetensors.h"

namespace tenon::testing {

// Random tensors under their names, then a file of them.
class TensorFile {
 public:
  explicit TensorFile(uint64_t seed) : random_(seed) {}

  std::vector<float>& Add(const std::string& name, const std::vector<int64_t>& shape, double mean, double spread) {
    int64_t count = 1;
    for (const int64_t size : shape) count *= size;
    std::vector<float>& values = values_.emplace_back(static_cast<size_t>(count));
    std::normal_distribution<float> normal(static_cast<float>(mean), static_cast<float>(spread));
    for (float& value : values) value = normal(random_);
    shapes_.emplace_back(name, shape);
    return values;
  }
  void AddLinear(const std::string& name, int64_t in, int64_t out, double spread) {
    Add(name + ".weight", {out, in}, 0, spread);
    Add(name + ".bias", {out}, 0, spread);
  }
  void AddNorm(const std::string& name, int64_t size) {
    Add(name + ".weight", {size}, 1, 0.1);
    Add(name + ".bias", {size}, 0, 0.1);
  }
  void Write(const std::filesystem::path& file) const {
    std::vector<formats::TensorToWrite> tensors;
    auto values = values_.begin();
    for (const auto& [name, shape] : shapes_) {
      formats::TensorToWrite tensor;
      tensor.name = name;
      tensor.view.shape = shape;
      tensor.view.data = reinterpret_cast<const uint8_t*>(values->data());
      tensor.view.size_bytes = static_cast<int64_t>(values->size() * sizeof(float));
      tensors.push_back(std::move(tensor));
      ++values;
    }
    const absl::Status written = formats::WriteSafetensors(file, std::move(tensors), {{"format", "pt"}});
    ASSERT_TRUE(written.ok()) << written;
  }

 private:
  std::mt19937_64 random_;
  std::list<std::vector<float>> values_;
  std::vector<std::pair<std::string, std::vector<int64_t>>> shapes_;
};

}  // namespace tenon::testing
