// Families of encoders as parameters of tests.
#pragma once

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "common/formats/families/families.h"

namespace tenon::testing {

inline std::vector<const formats::EncoderFamily*> Families(bool classifiers_alone) {
  std::vector<const formats::EncoderFamily*> some;
  for (const formats::EncoderFamily& family : formats::EncoderFamilies()) {
    if (!classifiers_alone || !formats::HeadModules(family).empty()) some.push_back(&family);
  }
  return some;
}

inline std::string FamilyName(const ::testing::TestParamInfo<const formats::EncoderFamily*>& info) {
  return info.param->model_type;
}

}  // namespace tenon::testing
