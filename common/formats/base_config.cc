#include "common/formats/base_config.h"

#include <string>

#include "common/formats/config_json.h"
#include "common/formats/json_fields.h"
#include "common/formats/status.h"

namespace tenon::formats {

absl::StatusOr<BaseConfig> ReadBaseConfig(const std::filesystem::path& folder) {
  ASSIGN_OR_RETURN(const nlohmann::json json, ReadConfigJson(folder));
  JsonFields fields(json, kConfigFile, Reason::kBaseInvalid);
  const std::string type = fields.String("model_type", kDefaultModelType);
  RETURN_IF_ERROR(fields.status());
  if (type == "t5") {
    ASSIGN_OR_RETURN(BaseConfig config, ReadT5Config(folder));
    return config;
  }
  if (type == "bart") {
    ASSIGN_OR_RETURN(BaseConfig config, ReadBartConfig(folder));
    return config;
  }
  if (FindCausalFamily(type) != nullptr) {
    ASSIGN_OR_RETURN(BaseConfig config, ReadCausalConfig(folder));
    return config;
  }
  ASSIGN_OR_RETURN(BaseConfig config, ReadEncoderConfig(folder));
  return config;
}

}  // namespace tenon::formats
