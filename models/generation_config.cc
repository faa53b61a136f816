#include "models/generation_config.h"

#include <limits>
#include <nlohmann/json.hpp>

#include "kernels/status_macros.h"
#include "models/json_reader.h"

namespace retnet {
namespace {

std::optional<float> ReadNumber(const char* key, double minimum, double maximum,
                                JsonReader& reader) {
  if (!reader.Has(key)) return std::nullopt;
  return static_cast<float>(reader.Number(key, minimum, minimum, maximum));
}

std::optional<int32_t> ReadInteger(const char* key, int64_t minimum, JsonReader& reader) {
  if (!reader.Has(key)) return std::nullopt;
  return reader.Integer(key, minimum, minimum, std::numeric_limits<int32_t>::max());
}

}  // namespace

absl::StatusOr<GenerationConfig> ReadGenerationConfig(const std::string& directory) {
  const std::string path = directory + "/generation_config.json";
  const absl::StatusOr<nlohmann::json> object = ReadJsonObject(path);
  GenerationConfig config;
  if (absl::IsNotFound(object.status())) return config;
  RETURN_IF_ERROR(object.status());
  JsonReader reader(*object, path);
  config.temperature = ReadNumber("temperature", 0.0, 100.0, reader);
  if (!reader.Bool("do_sample", true)) config.temperature = 0.0f;
  config.top_k = ReadInteger("top_k", 0, reader);
  config.top_p = ReadNumber("top_p", 0.0, 1.0, reader);
  config.min_p = ReadNumber("min_p", 0.0, 1.0, reader);
  config.repetition_penalty = ReadNumber("repetition_penalty", 1e-3, 1e3, reader);
  config.max_new_tokens = ReadInteger("max_new_tokens", 1, reader);
  config.bos = ReadInteger("bos_token_id", 0, reader);
  const auto eos = reader.Integers("eos_token_id", 0, std::numeric_limits<TokenId>::max());
  if (eos.has_value()) config.eos.emplace(eos->begin(), eos->end());
  RETURN_IF_ERROR(reader.status());
  return config;
}

}  // namespace retnet
