// Prompts and lengths from a file of JSON lines.
#ifndef RETNET_CLIENT_BENCH_DATASET_H_
#define RETNET_CLIENT_BENCH_DATASET_H_

#include <cstdint>
#include <istream>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace retnet {

// One line: {"prompt": TEXT} or {"prompt_token_ids": [ID, …]} or {"input_len": N}, each also with
// "output_len": N.
struct DatasetLine {
  std::string text;
  std::vector<int32_t> token_ids;
  std::optional<int32_t> input_length;  // of a prompt of random ids
  std::optional<int32_t> output_length;
};

// Returns at least one line. Skips empty lines. An error names the line.
absl::StatusOr<std::vector<DatasetLine>> ReadDataset(std::istream* file);

}  // namespace retnet

#endif  // RETNET_CLIENT_BENCH_DATASET_H_
