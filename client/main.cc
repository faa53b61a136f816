// retnet: the client of retnetd.
#include <CLI/CLI.hpp>
#include <fstream>
#include <iostream>
#include <iterator>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "client/bench/bench.h"
#include "client/client.h"
#include "client/commands.h"
#include "client/request_options.h"
#include "client/session_commands.h"

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
    for (const char* option : {"text", "--file", "--token-ids", "--session"}) {
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
  } else if (const std::string text = ReadText(prompt);
             !text.empty() || request->session_id().empty()) {
    request->set_text(text);
  }
  if (prompt.add_bos) request->set_add_bos(*prompt.add_bos);
}

v1::TokenizeRequest TokenizeRequestOf(const PromptOptions& prompt) {
  v1::TokenizeRequest request;
  request.set_text(ReadText(prompt));
  if (prompt.add_bos) request.set_add_bos(*prompt.add_bos);
  return request;
}

v1::DetokenizeRequest DetokenizeRequestOf(const PromptOptions& prompt) {
  v1::DetokenizeRequest request;
  request.mutable_token_ids()->Add(prompt.token_ids.begin(), prompt.token_ids.end());
  return request;
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
  AddField(command, "--max-draft-tokens", request, &Request::set_max_draft_tokens,
           "Most tokens guessed ahead; 0: none");
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

// Of requests that go on from a session.
template <typename Request>
void AddSessionOptions(CLI::App* command, Request* request) {
  command->add_option_function<std::string>(
      "--session", [request](const std::string& id) { request->set_session_id(id); },
      "The session that is gone on with");
  command->add_flag_callback(
      "--wait", [request] { request->set_when_busy(v1::WHEN_BUSY_WAIT); },
      "Wait while another request runs on the session");
}

void AddKeepOptions(CLI::App* command, v1::GenerateRequest* request) {
  CLI::Option* keep = command->add_flag_callback(
      "--keep", [request] { request->set_keep(true); },
      "The session is there afterwards; without --session one is made");
  command
      ->add_flag_callback(
          "--no-keep", [request] { request->set_keep(false); }, "The session is deleted afterwards")
      ->excludes(keep);
  command
      ->add_option_function<std::vector<int32_t>>(
          "--cache-boundaries",
          [request](const std::vector<int32_t>& marks) {
            request->mutable_cache_boundaries()->Add(marks.begin(), marks.end());
          },
          "Bytes of the text (or token ids) after which other prompts differ, as 900,1200")
      ->delimiter(',');
}

// With its \\n and \\t read as C does; other backslashes stay.
std::string Unescaped(const std::string& text) {
  std::string result;
  for (size_t i = 0; i < text.size(); ++i) {
    const char next = text[i] == '\\' && i + 1 < text.size() ? text[i + 1] : '\0';
    if (next == 'n' || next == 't') {
      result += next == 'n' ? '\n' : '\t';
      ++i;
    } else {
      result += text[i];
    }
  }
  return result;
}

void AddChatOptions(CLI::App* command, ChatOptions* options) {
  command->add_option("--session", options->session_id,
                      "The session to go on with; without one it is made, and deleted at the end");
  command->add_flag("--keep", options->keep, "Do not delete a session that was made");
  command->add_option_function<std::string>(
      "--template", [options](const std::string& turn) { options->turn = Unescaped(turn); },
      "How a turn is framed: {} is what was typed, \\n a new line. Default: as it was typed");
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
  AddSessionOptions(generate, &generate_request);
  AddKeepOptions(generate, &generate_request);
  v1::ScoreRequest score_request;
  CLI::App* score = app.add_subcommand("score", "Log-probability of every token of a text");
  AddPromptOptions(score, /*takes_ids=*/true, &prompt);
  AddSessionOptions(score, &score_request);
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
  ChatOptions chat_options;
  CLI::App* chat = app.add_subcommand("chat", "Talk to the model, over a session");
  AddGenerateOptions(chat, &chat_options.request);
  AddChatOptions(chat, &chat_options);
  SessionCommands session_commands(&app);
  BenchOptions bench_options;
  CLI::App* bench = app.add_subcommand("bench", "Measure it under load");
  AddBenchOptions(bench, &bench_options);

  try {
    app.parse(argc, argv);
    if (*generate) SetPrompt(prompt, &generate_request);
    if (*score) SetPrompt(prompt, &score_request);
    const v1::TokenizeRequest tokenize_request =
        *tokenize ? TokenizeRequestOf(prompt) : v1::TokenizeRequest();
    Client client(options);
    if (!client.Connect()) return kExitUnreachable;
    if (*generate) return RunGenerate(generate_request, &client);
    if (*score) return RunScore(score_request, &client);
    if (*tokenize) return RunTokenize(tokenize_request, &client);
    if (*detokenize) return RunDetokenize(DetokenizeRequestOf(prompt), &client);
    if (*model) return RunModel(&client);
    if (*chat) return RunChat(chat_options, &client);
    if (session_commands.given()) return session_commands.Run(&client);
    if (*bench) return RunBench(bench_options, Joined(argc, argv), &client);
    return RunHealth(service, &client);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? kExitOk : kExitUsage;
  }
}

}  // namespace
}  // namespace retnet

int main(int argc, char** argv) { return retnet::Run(argc, argv); }
