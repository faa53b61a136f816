// Reads the JSON files of a checkpoint. Errors name the file, the key and the value. No exceptions
// escape.
#ifndef RETNET_MODELS_JSON_READER_H_
#define RETNET_MODELS_JSON_READER_H_

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace retnet {

// The whole file as bytes. NOT_FOUND if there is none; INVALID_ARGUMENT if it cannot be read.
absl::StatusOr<std::string> ReadFile(const std::string& path);

// INVALID_ARGUMENT, naming `file`, if the text is not one JSON object or if an object in it repeats
// a key. NaN, Infinity and -Infinity, which Python writes and JSON does not have, become strings of
// these words: a key that is read then has the wrong type.
absl::StatusOr<nlohmann::json> ParseJsonObject(std::string_view text, const std::string& file);
absl::StatusOr<nlohmann::json> ReadJsonObject(const std::string& path);

// The text of a value in errors: JSON for scalars, shortened if long; otherwise "a list" or "an
// object".
std::string Describe(const nlohmann::json& value);

// Reads the keys of one object. A key that is absent or null has the value `fallback`, or nullopt.
// For a value of the wrong type or out of bounds, the functions also return this, and the first
// such error is kept in status(). Bounds are inclusive. Thread-compatible.
class JsonReader {
 public:
  // Both must outlive the reader.
  JsonReader(const nlohmann::json& object, const std::string& file)
      : object_(object), file_(file) {}

  const absl::Status& status() const { return status_; }
  // The same, and forgets the error.
  absl::Status TakeStatus() { return std::exchange(status_, absl::OkStatus()); }
  // Contains: the key is present. Has: it is present and not null.
  bool Contains(const char* key) const;
  bool Has(const char* key) const;

  int64_t Integer(const char* key, int64_t fallback, int64_t minimum, int64_t maximum);
  double Number(const char* key, double fallback, double minimum, double maximum);
  bool Bool(const char* key, bool fallback);
  std::string String(const char* key, const std::string& fallback);
  // Integers: one integer or a list of integers. Numbers: a list of numbers.
  std::optional<std::vector<int64_t>> Integers(const char* key, int64_t minimum, int64_t maximum);
  std::optional<std::vector<double>> Numbers(const char* key, double minimum, double maximum);

  // Keeps an error in status() that names the value of the key and what is supported.
  void Refuse(const char* key, const std::string& supported);

 private:
  // nullptr if the key is absent or null.
  const nlohmann::json* Find(const char* key) const;

  const nlohmann::json& object_;
  const std::string& file_;
  absl::Status status_;
};

}  // namespace retnet

#endif  // RETNET_MODELS_JSON_READER_H_
