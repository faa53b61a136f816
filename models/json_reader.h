// JSON files of a checkpoint: parsing without exceptions, and reading keys with errors that name
// file, key and value.
#ifndef RETNET_MODELS_JSON_READER_H_
#define RETNET_MODELS_JSON_READER_H_

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace retnet {

// The whole file as bytes. NOT_FOUND where there is none.
absl::StatusOr<std::string> ReadFile(const std::string& path);

// INVALID_ARGUMENT, naming `file`, for text that is not one JSON object or in which an object
// repeats a key.
absl::StatusOr<nlohmann::json> ParseJsonObject(std::string_view text, const std::string& file);
absl::StatusOr<nlohmann::json> ReadJsonObject(const std::string& path);

// How an error shows a value: scalars as JSON, cut when long, and the kind of anything else.
std::string Describe(const nlohmann::json& value);

// Reads the keys of one object. A key that is absent or null has its fallback. The first value of a
// wrong type or out of bounds is kept as `status`; reading goes on with the fallback.
class JsonReader {
 public:
  // Both must outlive the reader.
  JsonReader(const nlohmann::json& object, const std::string& file)
      : object_(object), file_(file) {}

  const absl::Status& status() const { return status_; }
  // Whether the key is there at all; Has: and not null.
  bool Contains(const char* key) const;
  bool Has(const char* key) const;

  int64_t Integer(const char* key, int64_t fallback, int64_t minimum, int64_t maximum);
  double Number(const char* key, double fallback, double minimum, double maximum);
  bool Bool(const char* key, bool fallback);
  std::string String(const char* key, const std::string& fallback);
  // One integer or a list of them.
  std::optional<std::vector<int64_t>> Integers(const char* key, int64_t minimum, int64_t maximum);
  std::optional<std::vector<double>> Numbers(const char* key, double minimum, double maximum);

  // Keeps an error that says what the key holds and what would be supported.
  void Refuse(const char* key, const std::string& supported);

 private:
  const nlohmann::json* Find(const char* key) const;

  const nlohmann::json& object_;
  const std::string& file_;
  absl::Status status_;
};

}  // namespace retnet

#endif  // RETNET_MODELS_JSON_READER_H_
