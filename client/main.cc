// retnet: the client of retnetd.
#include <CLI/CLI.hpp>
#include <iostream>
#include <limits>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "client/access_options.h"
#include "client/bench/bench.h"
#include "client/client.h"
#include "client/commands.h"
#include "client/prompt_options.h"
#include "client/request_options.h"
#include "client/session_commands.h"
#include "server/command_line.h"
#include "server/standard_streams.h"

namespace retnet {
namespace {

void AddDetokenizeOptions(CLI::App* command, PromptOptions* prompt) {
  command->add_option("ids,--token-ids", prompt->token_ids, "The token ids, as in 5,6,7.")
      ->type_name("IDS")
      ->delimiter(',')
      ->check(WholeNumber<int32_t>())
      ->required();
}

void AddHealthOptions(CLI::App* command, std::string* service) {
  command
      ->add_option("--service", *service,
                   "Ask for one gRPC service by its full name. Default: the whole server.")
      ->type_name("NAME");
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
  if (prompt.parse_special_tokens) request->set_parse_special_tokens(true);
}

v1::TokenizeRequest TokenizeRequestOf(const PromptOptions& prompt) {
  v1::TokenizeRequest request;
  request.set_text(ReadText(prompt));
  if (prompt.add_bos) request.set_add_bos(*prompt.add_bos);
  if (prompt.parse_special_tokens) request.set_parse_special_tokens(true);
  return request;
}

v1::DetokenizeRequest DetokenizeRequestOf(const PromptOptions& prompt) {
  v1::DetokenizeRequest request;
  request.mutable_token_ids()->Add(prompt.token_ids.begin(), prompt.token_ids.end());
  return request;
}

// ID=BIAS into the request. Throws CLI::ValidationError for anything else.
void SetLogitBias(const std::string& bias, v1::GenerateRequest* request) {
  int32_t token = 0;
  float value = 0;
  const size_t equals = bias.find('=');
  if (equals == std::string::npos || !CLI::detail::lexical_cast(bias.substr(0, equals), token) ||
      !CLI::detail::lexical_cast(bias.substr(equals + 1), value)) {
    throw CLI::ValidationError("--logit-bias", bias + " is not ID=BIAS");
  }
  (*request->mutable_logit_bias())[token] = value;
}

// A default that is not set here is the checkpoint's, from generation_config.json; the help names
// what holds without one.
void AddSamplingOptions(CLI::App* command, v1::GenerateRequest* request) {
  using Request = v1::GenerateRequest;
  command->option_defaults()->group(
      "Sampling (the checkpoint's generation_config.json may set other defaults)");
  AddField(command, "--temperature,--temp", request, &Request::set_temperature, "X",
           "Lower is more predictable; 0 always takes the most probable token.")
      ->option_text("0, or 0.0001 to 100; default: 1");
  AddField(command, "--top-k", request, &Request::set_top_k, "N",
           "Sample from the N most probable tokens only; 0: from all.")
      ->option_text("default: 0");
  AddField(command, "--top-p", request, &Request::set_top_p, "X",
           "Sample from the fewest tokens whose probabilities add up to X.")
      ->option_text("0 to 1; default: 1");
  AddField(command, "--min-p", request, &Request::set_min_p, "X",
           "Drop tokens less probable than X times the most probable one.")
      ->option_text("0 to 1; default: 0");
  AddField(command, "--repetition-penalty,--repeat-penalty", request,
           &Request::set_repetition_penalty, "X",
           "Above 1: make tokens that the prompt or the answer has already less probable.")
      ->option_text("0.01 to 100; default: 1");
  AddField(command, "--frequency-penalty", request, &Request::set_frequency_penalty, "X",
           "Lower a token's logit by X for each time that it is in the answer.")
      ->option_text("-2 to 2; default: 0");
  AddField(command, "--presence-penalty", request, &Request::set_presence_penalty, "X",
           "Lower a token's logit by X once if it is in the answer.")
      ->option_text("-2 to 2; default: 0");
  command
      ->add_option_function<std::vector<std::string>>(
          "--logit-bias",
          [request](const std::vector<std::string>& biases) {
            for (const std::string& bias : biases) SetLogitBias(bias, request);
          },
          "Add BIAS to the logit of token ID, as in 5=-2.5. May be given several times.")
      ->type_name("ID=BIAS")
      ->allow_extra_args(false)
      ->option_text("-100 to 100");
  AddField(command, "-s,--seed", request, &Request::set_seed, "N",
           "The same seed gives the same text. Default: a random one, which --json reports.");
}

void AddAnswerOptions(CLI::App* command, v1::GenerateRequest* request) {
  using Request = v1::GenerateRequest;
  command->option_defaults()->group("Answer");
  AddField(command, "--max-tokens", request, &Request::set_max_tokens, "N",
           "Most tokens of the answer. Default: generation_config.json's max_new_tokens, else as "
           "many as the context length leaves.");
  AddField(command, "--min-tokens", request, &Request::set_min_tokens, "N",
           "Do not stop before N tokens.")
      ->option_text("default: 0");
  command
      ->add_option_function<std::vector<std::string>>(
          "--stop",
          [request](const std::vector<std::string>& stops) {
            for (const std::string& stop : stops) request->add_stop(stop);
          },
          "End the answer before this string. May be given several times.")
      ->type_name("TEXT")
      ->allow_extra_args(false);
  command
      ->add_option_function<std::vector<int32_t>>(
          "--stop-token-ids",
          [request](const std::vector<int32_t>& ids) {
            request->mutable_stop_token_ids()->Add(ids.begin(), ids.end());
          },
          "End the answer at one of these tokens, as in 5,6,7.")
      ->type_name("IDS")
      ->delimiter(',')
      ->allow_extra_args(false)
      ->check(WholeNumber<int32_t>());
  command->add_flag_callback(
      "--ignore-eos", [request] { request->set_ignore_eos(true); },
      "Do not stop at the token for the end of a text (EOS).");
  command->add_flag_callback(
      "--include-stop", [request] { request->set_include_stop_str_in_output(true); },
      "Keep the stop string in the answer.");
  AddField(command, "--priority", request, &Request::set_priority, "N",
           "Waiting requests with a greater number run first.")
      ->option_text("default: 0");
  AddField(command, "--max-draft-tokens", request, &Request::set_max_draft_tokens, "N",
           "Most tokens that the server guesses ahead and checks in one step. It never changes "
           "the answer. 0: none. Default: as the server's --speculate says.")
      ->option_text("0 to 31");
}

void AddGenerateOptions(CLI::App* command, v1::GenerateRequest* request) {
  using Request = v1::GenerateRequest;
  AddSamplingOptions(command, request);
  AddAnswerOptions(command, request);
  AddField(command, "-n,--n", request, &Request::set_n, "N", "Independent answers to the prompt.")
      ->option_text("1 to 128; default: 1");
  AddField(command, "--logprobs", request, &Request::set_logprobs, "N",
           "With --json: report each token's log-probability, and the N most probable tokens in "
           "its place.")
      ->option_text("0 to 20");
}

// Of requests that continue a session.
template <typename Request>
void AddSessionOptions(CLI::App* command, Request* request) {
  command->option_defaults()->group("Session");
  command
      ->add_option_function<std::string>(
          "--session", [request](const std::string& id) { request->set_session_id(id); },
          "Continue this session: the prompt follows its history.")
      ->type_name("ID");
  command->add_flag_callback(
      "--wait", [request] { request->set_when_busy(v1::WHEN_BUSY_WAIT); },
      "Wait while another request runs on the session. Default: fail with ABORTED.");
  AddField(command, "--session-tokens", request, &Request::set_session_tokens, "N",
           "Fail with ABORTED if the session has fewer than N tokens. Give what the last answer "
           "reported, so that a session that a restart made older is noticed.");
}

void AddKeepOptions(CLI::App* command, v1::GenerateRequest* request) {
  CLI::Option* keep = command->add_flag_callback(
      "--keep", [request] { request->set_keep(true); },
      "Keep the session, with prompt and answer as its history. Without --session a new one is "
      "made and its id printed; it stays until it is deleted.");
  command
      ->add_flag_callback(
          "--no-keep", [request] { request->set_keep(false); },
          "Delete the session of --session afterwards.")
      ->excludes(keep);
  command
      ->add_option_function<std::vector<int32_t>>(
          "--cache-boundaries",
          [request](const std::vector<int32_t>& marks) {
            request->mutable_cache_boundaries()->Add(marks.begin(), marks.end());
          },
          "Where beginnings that other prompts share end, as in 900,1200: bytes of the text, or "
          "tokens with --token-ids. The server keeps the states there.")
      ->type_name("PLACES")
      ->delimiter(',')
      ->allow_extra_args(false)
      ->check(WholeNumber<int32_t>());
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
  command->option_defaults()->group("Session");
  command
      ->add_option("--session", options->session_id,
                   "Continue this session. Without it a new one is made, and deleted at the end.")
      ->type_name("ID");
  command->add_flag("--keep", options->keep, "Do not delete a session that was made.");
  command
      ->add_option_function<std::string>(
          "--template", [options](const std::string& turn) { options->turn = Unescaped(turn); },
          "Text to send for each line typed: {} stands for the line, \\n for a new line. "
          "Default: {}")
      ->type_name("TEXT");
}

std::string Joined(int argc, char** argv) {
  std::string joined = "retnet";
  for (int i = 1; i < argc; ++i) joined += std::string(" ") + argv[i];
  return joined;
}

// What every command takes, before or after its name.
void AddCommonOptions(CLI::App* app, ClientOptions* options) {
  app->formatter(std::make_shared<HelpFormatter>());
  app->set_help_flag("-h,--help", "Print this help and exit.");
  app->set_version_flag("--version", "retnet " RETNET_VERSION, "Print the version and exit.");
  app->footer("retnet COMMAND --help lists the options of a command.");
  app->require_subcommand(1);
  app->fallthrough();
  app->option_defaults()->group("Options of every command");
  app->add_option("--target", options->target, "Address of the server.")
      ->type_name("HOST:PORT")
      ->capture_default_str();
  app->add_option("--timeout", options->timeout_seconds, "Most time for a call. 0: no limit.")
      ->type_name("SECONDS")
      ->capture_default_str()
      ->check(NumberFrom(0, std::numeric_limits<double>::infinity()));
  app->add_flag("--json", options->json, "Print the result as one JSON object.");
  AddAccessOptions(app, &options->access);
  app->option_defaults()->group("Options");
}

// A command. Its help names the common options, too.
CLI::App* AddCommand(CLI::App* app, const std::string& name, const std::string& description) {
  CLI::App* command = app->add_subcommand(name, description)->group("Commands");
  command->footer(
      "Also --target, --timeout, --json, and options for tokens and TLS: see retnet --help.");
  return command;
}

// What the command returned, unless its output has got lost.
ExitCode WithOutput(ExitCode code) {
  std::cout << std::flush;
  if (std::cout) return code;
  std::cerr << "retnet: the standard output cannot be written" << std::endl;
  return kExitOutput;
}

CLI::App* AddGenerate(CLI::App* app, PromptOptions* prompt, v1::GenerateRequest* request) {
  CLI::App* command = AddCommand(app, "generate", "Continue a text; prints it as it comes.");
  AddPromptOptions(command, /*takes_ids=*/true, prompt);
  AddGenerateOptions(command, request);
  AddSessionOptions(command, request);
  AddKeepOptions(command, request);
  return command;
}

CLI::App* AddScore(CLI::App* app, PromptOptions* prompt, v1::ScoreRequest* request) {
  CLI::App* command =
      AddCommand(app, "score", "Print how probable a text is: log-probability and perplexity.");
  AddPromptOptions(command, /*takes_ids=*/true, prompt);
  AddSessionOptions(command, request);
  return command;
}

CLI::App* AddChat(CLI::App* app, ChatOptions* options) {
  CLI::App* command = AddCommand(app, "chat", "Talk to the model at the terminal, over a session.");
  AddSamplingOptions(command, &options->request);
  AddAnswerOptions(command, &options->request);
  AddChatOptions(command, options);
  return command;
}

int Run(int argc, char** argv) {
  ReplaceClosedStreams(LostOutput::kIsAnError);
  CLI::App app("retnet calls a retnetd server.", "retnet");
  ClientOptions options;
  AddCommonOptions(&app, &options);

  PromptOptions prompt;
  v1::GenerateRequest generate_request;
  CLI::App* generate = AddGenerate(&app, &prompt, &generate_request);
  v1::ScoreRequest score_request;
  CLI::App* score = AddScore(&app, &prompt, &score_request);
  CLI::App* tokenize = AddCommand(&app, "tokenize", "Print the token ids of a text.");
  AddPromptOptions(tokenize, /*takes_ids=*/false, &prompt);
  CLI::App* detokenize = AddCommand(&app, "detokenize", "Print the text of token ids.");
  AddDetokenizeOptions(detokenize, &prompt);
  CLI::App* model = AddCommand(&app, "model", "Describe the model and the limits of the server.");
  CLI::App* health = AddCommand(
      &app, "health", "Ask whether the server serves; exit status 0 only if it answers SERVING.");
  std::string service;
  AddHealthOptions(health, &service);
  ChatOptions chat_options;
  CLI::App* chat = AddChat(&app, &chat_options);
  SessionCommands session_commands(
      AddCommand(&app, "sessions", "Manage sessions: histories that outlive a call."));
  TokenCommands token_commands(
      app.add_subcommand("token", "Make and list access tokens, in a server's file.")
          ->group("Commands"));
  BenchOptions bench_options;
  CLI::App* bench = AddCommand(&app, "bench", "Put a load on the server and measure it.");
  AddBenchOptions(bench, &bench_options);

  try {
    app.parse(argc, argv);
    if (*generate) SetPrompt(prompt, &generate_request);
    if (*score) SetPrompt(prompt, &score_request);
    const v1::TokenizeRequest tokenize_request =
        *tokenize ? TokenizeRequestOf(prompt) : v1::TokenizeRequest();
    if (token_commands.given()) return token_commands.Run();
    absl::StatusOr<Access> access = ReadAccess(options.access);
    if (!access.ok()) {
      std::cerr << "retnet: " << access.status().message() << "\n";
      return kExitUsage;
    }
    Client client(options, *std::move(access));
    if (!client.Connect()) return kExitUnreachable;
    const auto run = [&] {
      if (*generate) return RunGenerate(generate_request, &client);
      if (*score) return RunScore(score_request, &client);
      if (*tokenize) return RunTokenize(tokenize_request, &client);
      if (*detokenize) return RunDetokenize(DetokenizeRequestOf(prompt), &client);
      if (*model) return RunModel(&client);
      if (*chat) return RunChat(chat_options, &client);
      if (session_commands.given()) return session_commands.Run(&client);
      if (*bench) return RunBench(bench_options, Joined(argc, argv), &client);
      return RunHealth(service, &client);
    };
    return WithOutput(run());
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? WithOutput(kExitOk) : kExitUsage;
  }
}

}  // namespace
}  // namespace retnet

int main(int argc, char** argv) { return retnet::Run(argc, argv); }
