#include "client/prompt_options.h"

#include <cstdio>
#include <fstream>
#include <iostream>

#include "client/request_options.h"

namespace retnet {

void AddPromptOptions(CLI::App* command, bool takes_ids, PromptOptions* prompt) {
  command->option_defaults()->group("Prompt");
  CLI::Option* text = command->add_option("text", prompt->text, "The text.");
  CLI::Option* file = command
                          ->add_option("-f,--file", prompt->file,
                                       "Read the text from this file; - is standard input.")
                          ->type_name("FILE")
                          ->excludes(text);
  if (takes_ids) {
    command->add_option("--token-ids", prompt->token_ids, "Token ids instead of text, as in 5,6,7.")
        ->type_name("IDS")
        ->delimiter(',')
        ->allow_extra_args(false)
        ->check(WholeNumber<int32_t>())
        ->excludes(text)
        ->excludes(file);
  }
  // An option group would do, but for positionals after "--".
  command->final_callback([command] {
    for (const char* option : {"text", "--file", "--token-ids", "--session"}) {
      if (command->get_option_no_throw(option) != nullptr && command->count(option) > 0) return;
    }
    throw CLI::RequiredError("A prompt: text or --file");
  });
  CLI::Option* add_bos = command->add_flag_callback(
      "--add-bos", [prompt] { prompt->add_bos = true; },
      "Put the token for the beginning of a text (BOS) before the text. Default: as the "
      "checkpoint's tokenizer_config.json says.");
  command
      ->add_flag_callback(
          "--no-add-bos", [prompt] { prompt->add_bos = false; }, "Put no BOS before the text.")
      ->excludes(add_bos);
  command->add_flag("--parse-special-tokens", prompt->parse_special_tokens,
                    "Take the names of special tokens in the text, such as <s>, for the tokens. "
                    "Default: they are text.");
}

std::string ReadText(const PromptOptions& prompt) {
  if (prompt.file.empty()) return prompt.text;
  std::ifstream file;
  if (prompt.file != "-") file.open(prompt.file, std::ios::binary);
  std::istream& stream = prompt.file == "-" ? std::cin : file;
  std::string text;
  std::string piece(1 << 16, '\0');
  while (stream) {
    stream.read(piece.data(), static_cast<std::streamsize>(piece.size()));
    text.append(piece, 0, stream.gcount());
  }
  // A folder can be opened, and fails when it is read. std::cin calls that its end.
  const bool broken = !stream.eof() || (prompt.file == "-" && std::ferror(stdin) != 0);
  if (broken) throw CLI::ValidationError("--file", prompt.file + " cannot be read");
  return text;
}

}  // namespace retnet
