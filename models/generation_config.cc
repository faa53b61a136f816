#include "models/generation_config.h"

#include <limits>
#include <nlohmann/json.hpp>

#include "kernels/status_macros.h"
#include "models/json_reader.h"

namespace retnet {
namespace {

// Reads values of one file. One that is out of bounds or of another type is as if it were not
// there, and its error is kept among `ignored`.
class Values {
 public:
  Values(const nlohmann::json& object, const std::string& path, std::vector<std::string>* ignored)
      : reader_(object, path), ignored_(ignored) {}

  std::optional<float> Number(const char* key, double minimum, double maximum) {
    if (!reader_.Has(key)) return std::nullopt;
    const double value = reader_.Number(key, minimum, minimum, maximum);
    return IsTaken() ? std::optional(static_cast<float>(value)) : std::nullopt;
  }
  std::optional<int32_t> Integer(const char* key, int64_t minimum) {
    if (!reader_.Has(key)) return std::nullopt;
    const int64_t value =
        reader_.Integer(key, minimum, minimum, std::numeric_limits<int32_t>::max());
    return IsTaken() ? std::optional(static_cast<int32_t>(value)) : std::nullopt;
  }
  bool Bool(const char* key, bool fallback) {
    const bool value = reader_.Bool(key, fallback);
    return IsTaken() ? value : fallback;
  }
  std::optional<std::vector<TokenId>> Tokens(const char* key) {
    const auto ids = reader_.Integers(key, 0, std::numeric_limits<TokenId>::max());
    if (!IsTaken() || !ids.has_value()) return std::nullopt;
    return std::vector<TokenId>(ids->begin(), ids->end());
  }

 private:
  bool IsTaken() {
    const absl::Status status = reader_.TakeStatus();
    if (!status.ok()) ignored_->emplace_back(status.message());
    return status.ok();
  }

  JsonReader reader_;
  std::vector<std::string>* const ignored_;
};

}  // namespace

absl::StatusOr<GenerationConfig> ReadGenerationConfig(const std::string& directory) {
  const std::string path = directory + "/generation_config.json";
  const absl::StatusOr<nlohmann::json> object = ReadJsonObject(path);
  GenerationConfig config;
  if (absl::IsNotFound(object.status())) return config;
  RETURN_IF_ERROR(object.status());
  Values values(*object, path, &config.ignored);
  config.temperature = values.Number("temperature", 0.0, 100.0);
  if (!values.Bool("do_sample", true)) config.temperature = 0.0f;
  config.top_k = values.Integer("top_k", 0);
  config.top_p = values.Number("top_p", 0.0, 1.0);
  config.min_p = values.Number("min_p", 0.0, 1.0);
  config.repetition_penalty = values.Number("repetition_penalty", 1e-3, 1e3);
  config.max_new_tokens = values.Integer("max_new_tokens", 1);
  config.bos = values.Integer("bos_token_id", 0);
  config.eos = values.Tokens("eos_token_id");
  return config;
}

}  // namespace retnet
