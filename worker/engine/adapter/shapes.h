// Where an adapter's parts stand in a network. Pure; free of torch.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "common/formats/bottleneck_config.h"
#include "common/formats/encoder_family.h"
#include "common/formats/t5_config.h"

namespace tenon::engine {

// Modules behind which the config has blocks, each of formats::BottleneckWidth, in every layer: of an encoder,
// `encoder.layer.0.output.dense`, ...
std::vector<std::string> BottleneckModules(const formats::BottleneckConfig& config, const formats::EncoderConfig& base);
// Of both stacks of a T5: `encoder.block.0.layer.1.DenseReluDense.wo`, ...
std::vector<std::string> BottleneckModules(const formats::BottleneckConfig& config, const formats::T5Config& base);

// Names of a block's tensors without task prefix: `encoder.layer.0.output.adapters.NAME` for the block behind
// `encoder.layer.0.output.dense`, and in a T5, whose family is nullptr, `encoder.block.0.layer.1.adapters.NAME` for
// that behind `encoder.block.0.layer.1.DenseReluDense.wo`.
std::string BottleneckPrefix(const formats::EncoderFamily* family, const std::string& module, const std::string& name);

}  // namespace tenon::engine
