#include "client/bench/dataset.h"

#include <nlohmann/json.hpp>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

namespace retnet {
namespace {

using nlohmann::json;

absl::Status BadLine(int number, const std::string& complaint) {
  return absl::InvalidArgumentError(absl::StrCat("line ", number, ": ", complaint));
}

absl::StatusOr<int32_t> Length(const json& object, const char* name, int number) {
  const json& value = object[name];
  if (!value.is_number_integer() || value < 1 || value > (1 << 30)) {
    return BadLine(number, absl::StrCat(name, " is ", value.dump(), ", not a length from 1 on"));
  }
  return value.get<int32_t>();
}

absl::StatusOr<DatasetLine> ReadLine(const std::string& text, int number) {
  const json object = json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!object.is_object()) return BadLine(number, "not a JSON object");
  DatasetLine line;
  int prompts = 0;
  for (const auto& [name, value] : object.items()) {
    if (name == "prompt") {
      if (!value.is_string() || value.get_ref<const std::string&>().empty()) {
        return BadLine(number, "prompt is not a text");
      }
      line.text = value.get<std::string>();
      ++prompts;
    } else if (name == "prompt_token_ids") {
      if (!value.is_array() || value.empty()) return BadLine(number, "prompt_token_ids is no list");
      for (const json& id : value) {
        if (!id.is_number_integer() || id < 0 || id > INT32_MAX) {
          return BadLine(number, absl::StrCat(id.dump(), " in prompt_token_ids is not an id"));
        }
        line.token_ids.push_back(id.get<int32_t>());
      }
      ++prompts;
    } else if (name == "input_len" || name == "output_len") {
      const auto length = Length(object, name.c_str(), number);
      if (!length.ok()) return length.status();
      if (name == "input_len") ++prompts;
      (name == "input_len" ? line.input_length : line.output_length) = *length;
    }
  }
  if (prompts != 1) {
    return BadLine(number, "one of prompt, prompt_token_ids and input_len must be there");
  }
  return line;
}

}  // namespace

absl::StatusOr<std::vector<DatasetLine>> ReadDataset(std::istream* file) {
  std::vector<DatasetLine> lines;
  std::string text;
  for (int number = 1; std::getline(*file, text); ++number) {
    if (text.find_first_not_of(" \t\r") == std::string::npos) continue;
    auto line = ReadLine(text, number);
    if (!line.ok()) return line.status();
    lines.push_back(*std::move(line));
  }
  if (!file->eof()) return absl::InvalidArgumentError("it cannot be read");  // a folder, say
  if (lines.empty()) return absl::InvalidArgumentError("it has no lines");
  return lines;
}

}  // namespace retnet
