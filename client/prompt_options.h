// The command-line options that say what a prompt is.
#ifndef RETNET_CLIENT_PROMPT_OPTIONS_H_
#define RETNET_CLIENT_PROMPT_OPTIONS_H_

#include <CLI/CLI.hpp>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace retnet {

// Where a command's prompt comes from: exactly one of the three.
struct PromptOptions {
  std::string text;
  std::string file;
  std::vector<int32_t> token_ids;
  std::optional<bool> add_bos;
  bool parse_special_tokens = false;
};

void AddPromptOptions(CLI::App* command, bool takes_ids, PromptOptions* prompt);

// The text, from wherever it comes. Throws CLI::ValidationError for a file that cannot be read.
std::string ReadText(const PromptOptions& prompt);

}  // namespace retnet

#endif  // RETNET_CLIENT_PROMPT_OPTIONS_H_
