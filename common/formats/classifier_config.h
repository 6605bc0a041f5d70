// config.json of a classifier made of an encoder.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

#include "common/formats/adapter_config.h"

namespace tenon::formats {

// `config`, which describes the encoder, as that of transformers' `model_class` with the head's labels, whose weights
// are of `dtype` (`float32`, `bfloat16`, ...).
std::string ClassifierConfig(nlohmann::json config, const std::string& model_class, const TenonConfig& head,
                             const std::string& dtype);

}  // namespace tenon::formats
