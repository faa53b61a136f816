#include "models/json_reader.h"

#include <algorithm>
#include <cstring>
#include <nlohmann/json.hpp>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "kernels/regular_file.h"
#include "kernels/status_macros.h"

namespace retnet {
namespace {

using nlohmann::json;

constexpr std::string_view kNotFinite[] = {"NaN", "Infinity", "-Infinity"};

std::string Bounds(const char* kind, double minimum, double maximum) {
  return absl::StrCat(kind, " from ", minimum, " to ", maximum);
}

bool IsIntegerWithin(const json& value, int64_t minimum, int64_t maximum) {
  if (value.is_number_unsigned()) {
    const uint64_t number = value.get<uint64_t>();
    return maximum >= 0 && number <= static_cast<uint64_t>(maximum) &&
           (minimum <= 0 || number >= static_cast<uint64_t>(minimum));
  }
  if (!value.is_number_integer()) return false;
  const int64_t number = value.get<int64_t>();
  return number >= minimum && number <= maximum;
}

bool IsNumberWithin(const json& value, double minimum, double maximum) {
  if (!value.is_number()) return false;
  const double number = value.get<double>();
  return number >= minimum && number <= maximum;
}

// The text with quotes around what Python writes for numbers that are not finite.
std::string QuoteNotFinite(std::string_view text) {
  std::string quoted;
  quoted.reserve(text.size());
  bool in_string = false;
  for (size_t i = 0; i < text.size(); ++i) {
    const std::string_view rest = text.substr(i);
    if (in_string) {
      if (rest[0] == '\\' && rest.size() > 1) quoted += text[i++];
      in_string = rest[0] != '"';
    } else if (rest[0] == '"') {
      in_string = true;
    } else {
      const auto word =
          std::ranges::find_if(kNotFinite, [&](auto each) { return rest.starts_with(each); });
      if (word != std::end(kNotFinite)) {
        quoted.append("\"").append(*word).append("\"");
        i += word->size() - 1;
        continue;
      }
    }
    quoted += text[i];
  }
  return quoted;
}

}  // namespace

absl::StatusOr<std::string> ReadFile(const std::string& path) { return ReadRegularFile(path); }

absl::StatusOr<json> ParseJsonObject(std::string_view text, const std::string& file) {
  std::vector<std::set<std::string>> open_objects;  // the keys seen in each open object
  std::string repeated;
  const auto on_event = [&](int /*depth*/, json::parse_event_t event, json& parsed) {
    if (event == json::parse_event_t::object_start) {
      open_objects.emplace_back();
    } else if (event == json::parse_event_t::object_end) {
      open_objects.pop_back();
    } else if (event == json::parse_event_t::key) {
      const auto& key = parsed.get_ref<const std::string&>();
      if (!open_objects.back().insert(key).second && repeated.empty()) repeated = Describe(parsed);
    }
    return true;
  };
  try {
    json value = json::parse(QuoteNotFinite(text), on_event);
    if (!repeated.empty()) {
      return absl::InvalidArgumentError(absl::StrCat(file, ": key ", repeated, " appears twice"));
    }
    if (!value.is_object()) {
      return absl::InvalidArgumentError(
          absl::StrCat(file, ": expected a JSON object, found ", Describe(value)));
    }
    return value;
  } catch (const json::exception& error) {
    return absl::InvalidArgumentError(absl::StrCat(file, ": not valid JSON: ", error.what()));
  }
}

absl::StatusOr<json> ReadJsonObject(const std::string& path) {
  ASSIGN_OR_RETURN(const std::string text, ReadFile(path));
  return ParseJsonObject(text, path);
}

std::string Describe(const json& value) {
  constexpr size_t kLongest = 80;
  // Lists and objects may be too large to show.
  if (value.is_structured()) return value.is_array() ? "a list" : "an object";
  std::string text = value.dump(/*indent=*/-1, /*indent_char=*/' ', /*ensure_ascii=*/true);
  if (text.size() > kLongest) text = text.substr(0, kLongest) + "…";
  return text;
}

const json* JsonReader::Find(const char* key) const {
  const auto found = object_.find(key);
  return found == object_.end() || found->is_null() ? nullptr : &*found;
}

bool JsonReader::Contains(const char* key) const { return object_.contains(key); }

bool JsonReader::Has(const char* key) const { return Find(key) != nullptr; }

void JsonReader::Refuse(const char* key, const std::string& supported) {
  const json* value = Find(key);
  status_.Update(absl::InvalidArgumentError(
      absl::StrCat(file_, ": ", key, " is ", value == nullptr ? "not set" : Describe(*value),
                   "; supported: ", supported)));
}

int64_t JsonReader::Integer(const char* key, int64_t fallback, int64_t minimum, int64_t maximum) {
  const json* value = Find(key);
  if (value == nullptr) return fallback;
  if (IsIntegerWithin(*value, minimum, maximum)) return value->get<int64_t>();
  Refuse(key, absl::StrCat("an integer from ", minimum, " to ", maximum));
  return fallback;
}

double JsonReader::Number(const char* key, double fallback, double minimum, double maximum) {
  const json* value = Find(key);
  if (value == nullptr) return fallback;
  if (IsNumberWithin(*value, minimum, maximum)) return value->get<double>();
  Refuse(key, Bounds("a number", minimum, maximum));
  return fallback;
}

bool JsonReader::Bool(const char* key, bool fallback) {
  const json* value = Find(key);
  if (value == nullptr) return fallback;
  if (value->is_boolean()) return value->get<bool>();
  Refuse(key, "true or false");
  return fallback;
}

std::string JsonReader::String(const char* key, const std::string& fallback) {
  const json* value = Find(key);
  if (value == nullptr) return fallback;
  if (value->is_string()) return value->get<std::string>();
  Refuse(key, "a string");
  return fallback;
}

std::optional<std::vector<int64_t>> JsonReader::Integers(const char* key, int64_t minimum,
                                                         int64_t maximum) {
  const json* value = Find(key);
  if (value == nullptr) return std::nullopt;
  std::vector<int64_t> numbers;
  const auto take = [&](const json& element) {
    if (!IsIntegerWithin(element, minimum, maximum)) return false;
    numbers.push_back(element.get<int64_t>());
    return true;
  };
  const bool all =
      value->is_array() ? std::all_of(value->begin(), value->end(), take) : take(*value);
  if (all) return numbers;
  Refuse(key, absl::StrCat("an integer from ", minimum, " to ", maximum, ", or a list of such"));
  return std::nullopt;
}

std::optional<std::vector<double>> JsonReader::Numbers(const char* key, double minimum,
                                                       double maximum) {
  const json* value = Find(key);
  if (value == nullptr) return std::nullopt;
  std::vector<double> numbers;
  const auto take = [&](const json& element) {
    if (!IsNumberWithin(element, minimum, maximum)) return false;
    numbers.push_back(element.get<double>());
    return true;
  };
  if (value->is_array() && std::all_of(value->begin(), value->end(), take)) return numbers;
  Refuse(key, Bounds("a list of numbers", minimum, maximum));
  return std::nullopt;
}

}  // namespace retnet
