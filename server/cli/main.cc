// retnet: the client of retnetd.
#include <CLI/CLI.hpp>
#include <fstream>
#include <iostream>
#include <iterator>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "server/cli/bench/bench.h"
#include "server/cli/client.h"
#include "server/cli/commands.h"
#include "server/cli/request_options.h"

namespace retnet {
namespace {

// Where a command's prompt comes from: exactly one of the three.
struct PromptOptions {
  std::string text;
  std::string file;
  std::vector<int32_t> token_ids;
  std::optional<bool> add_bos;
};

void AddPromptOptions(CLI::App* command, bool takes_ids, PromptOptions* prompt) {
  CLI::Option* text = command->add_option("text", prompt->text, "The text");
  CLI::Option* file =
      command->add_option("--file", prompt->file, "A file with the text; - is standard input")
          ->excludes(text);
  if (takes_ids) {
    command->add_option("--token-ids", prompt->token_ids, "Token ids instead of text, as 5,6,7")
        ->delimiter(',')
        ->excludes(text)
        ->excludes(file);
  }
  // An option group would do, but for positionals after "--".
  command->final_callback([command] {
    for (const char* option : {"text", "--file", "--token-ids"}) {
      if (command->get_option_no_throw(option) != nullptr && command->count(option) > 0) return;
    }
    throw CLI::RequiredError("A prompt: text or --file");
  });
  CLI::Option* add_bos = command->add_flag_callback(
      "--add-bos", [prompt] { prompt->add_bos = true; }, "BOS comes before a text");
  command
      ->add_flag_callback(
          "--no-add-bos", [prompt] { prompt->add_bos = false; },
          "No BOS comes before a text (default of both: the checkpoint says)")
      ->excludes(add_bos);
}

// Throws CLI::ValidationError for a file that cannot be read.
std::string ReadText(const PromptOptions& prompt) {
  if (prompt.file.empty()) return prompt.text;
  std::ifstream file;
  if (prompt.file != "-") {
    file.open(prompt.file, std::ios::binary);
    if (!file) throw CLI::ValidationError("--file", prompt.file + " cannot be read");
  }
  std::istream& stream = prompt.file == "-" ? std::cin : file;
  return std::string(std::istreambuf_iterator<char>(stream), {});
}

template <typename Request>
void SetPrompt(const PromptOptions& prompt, Request* request) {
  if (!prompt.token_ids.empty()) {
    request->mutable_token_ids()->mutable_ids()->Add(prompt.token_ids.begin(),
                                                     prompt.token_ids.end());
  } else {
    request->set_text(ReadText(prompt));
  }
  if (prompt.add_bos) request->set_add_bos(*prompt.add_bos);
}

void AddGenerateOptions(CLI::App* command, v1::GenerateRequest* request) {
  using Request = v1::GenerateRequest;
  AddField(command, "--max-tokens", request, &Request::set_max_tokens, "Most tokens to generate");
  AddField(command, "--min-tokens", request, &Request::set_min_tokens,
           "Do not stop before so many tokens");
  AddField(command, "--temperature", request, &Request::set_temperature, "0: greedy");
  AddField(command, "--top-k", request, &Request::set_top_k, "0: all");
  AddField(command, "--top-p", request, &Request::set_top_p, "0 to 1");
  AddField(command, "--min-p", request, &Request::set_min_p, "0 to 1");
  AddField(command, "--repetition-penalty", request, &Request::set_repetition_penalty,
           "1: none; over prompt and output");
  AddField(command, "--frequency-penalty", request, &Request::set_frequency_penalty, "-2 to 2");
  AddField(command, "--presence-penalty", request, &Request::set_presence_penalty, "-2 to 2");
  AddField(command, "--seed", request, &Request::set_seed, "The same seed gives the same text");
  AddField(command, "-n", request, &Request::set_n, "Samples, 1 to 128");
  AddField(command, "--logprobs", request, &Request::set_logprobs,
           "Report log-probabilities, and so many candidates for each token");
  AddField(command, "--priority", request, &Request::set_priority, "The greater runs first");
  command->add_option_function<std::vector<std::string>>(
      "--stop",
      [request](const std::vector<std::string>& stops) {
        for (const std::string& stop : stops) request->add_stop(stop);
      },
      "Strings that end the text");
  command
      ->add_option_function<std::vector<int32_t>>(
          "--stop-token-ids",
          [request](const std::vector<int32_t>& ids) {
            request->mutable_stop_token_ids()->Add(ids.begin(), ids.end());
          },
          "Token ids that end the text, as 5,6,7")
      ->delimiter(',');
  command->add_option_function<std::vector<std::string>>(
      "--logit-bias",
      [request](const std::vector<std::string>& biases) {
        for (const std::string& bias : biases) {
          int32_t token = 0;
          float value = 0;
          const size_t equals = bias.find('=');
          if (equals == std::string::npos ||
              !CLI::detail::lexical_cast(bias.substr(0, equals), token) ||
              !CLI::detail::lexical_cast(bias.substr(equals + 1), value)) {
            throw CLI::ValidationError("--logit-bias", bias + " is not ID=BIAS");
          }
          (*request->mutable_logit_bias())[token] = value;
        }
      },
      "Added to tokens' logits, as 5=-2.5");
  command->add_flag_callback(
      "--ignore-eos", [request] { request->set_ignore_eos(true); }, "Go on after EOS");
  command->add_flag_callback(
      "--include-stop", [request] { request->set_include_stop_str_in_output(true); },
      "Keep the stop string in the text");
}

std::string Joined(int argc, char** argv) {
  std::string joined = "retnet";
  for (int i = 1; i < argc; ++i) joined += std::string(" ") + argv[i];
  return joined;
}

int Run(int argc, char** argv) {
  CLI::App app("retnet: the client of retnetd");
  app.require_subcommand(1);
  app.fallthrough();
  ClientOptions options;
  app.add_option("--target", options.target, "The server, HOST:PORT")->capture_default_str();
  app.add_option("--timeout", options.timeout_seconds, "Seconds a call may take; 0: any")
      ->check(CLI::NonNegativeNumber);
  app.add_flag("--json", options.json, "Print one JSON object");

  PromptOptions prompt;
  v1::GenerateRequest generate_request;
  CLI::App* generate = app.add_subcommand("generate", "Continue a prompt, as it comes");
  AddPromptOptions(generate, /*takes_ids=*/true, &prompt);
  AddGenerateOptions(generate, &generate_request);
  CLI::App* score = app.add_subcommand("score", "Log-probability of every token of a text");
  AddPromptOptions(score, /*takes_ids=*/true, &prompt);
  CLI::App* tokenize = app.add_subcommand("tokenize", "The token ids of a text");
  AddPromptOptions(tokenize, /*takes_ids=*/false, &prompt);
  CLI::App* detokenize = app.add_subcommand("detokenize", "The text of token ids");
  detokenize->add_option("ids,--token-ids", prompt.token_ids, "As 5,6,7")
      ->delimiter(',')
      ->required();
  CLI::App* model = app.add_subcommand("model", "What is served");
  CLI::App* health = app.add_subcommand("health", "Whether it is served");
  std::string service;
  health->add_option("--service", service, "A service's name; the whole server without one");
  BenchOptions bench_options;
  CLI::App* bench = app.add_subcommand("bench", "Measure it under load");
  AddBenchOptions(bench, &bench_options);

  try {
    app.parse(argc, argv);
    v1::ScoreRequest score_request;
    v1::TokenizeRequest tokenize_request;
    if (*generate) SetPrompt(prompt, &generate_request);
    if (*score) SetPrompt(prompt, &score_request);
    if (*tokenize) {
      tokenize_request.set_text(ReadText(prompt));
      if (prompt.add_bos) tokenize_request.set_add_bos(*prompt.add_bos);
    }
    Client client(options);
    if (!client.Connect()) return kExitUnreachable;
    if (*generate) return RunGenerate(generate_request, &client);
    if (*score) return RunScore(score_request, &client);
    if (*tokenize) return RunTokenize(tokenize_request, &client);
    if (*detokenize) {
      v1::DetokenizeRequest request;
      request.mutable_token_ids()->Add(prompt.token_ids.begin(), prompt.token_ids.end());
      return RunDetokenize(request, &client);
    }
    if (*model) return RunModel(&client);
    if (*bench) return RunBench(bench_options, Joined(argc, argv), &client);
    return RunHealth(service, &client);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? kExitOk : kExitUsage;
  }
}

}  // namespace
}  // namespace retnet

int main(int argc, char** argv) { return retnet::Run(argc, argv); }
