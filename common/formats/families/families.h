// The families of encoders that there are.
#pragma once

#include <string>
#include <vector>

#include "common/formats/encoder_family.h"

namespace tenon::formats {

// One of each, for as long as the program runs.
const std::vector<EncoderFamily>& EncoderFamilies();
// By config.json's model_type; nullptr when there is none.
const EncoderFamily* FindFamily(const std::string& model_type);

// `bert, dpr and t5`: all types of model that can be a base, for messages.
std::string SupportedTypes();

}  // namespace tenon::formats
