#include "client/access_options.h"

#include <iostream>
#include <set>

#include "absl/strings/str_cat.h"
#include "server/command_line.h"

namespace retnet {

void AddAccessOptions(CLI::App* app, AccessOptions* options) {
  app->add_option("--token-file", options->token_file,
                  "File with the access token to send. Without it the token is that of the "
                  "environment variable RETNET_TOKEN, if it is set. There is no option for the "
                  "token itself: all users of a machine can read command lines.")
      ->type_name("FILE")
      ->envname("RETNET_TOKEN_FILE");
  app->add_flag("--tls", options->tls,
                "Use TLS (encryption), and trust the system's CAs (certificate authorities).");
  app->add_option("--tls-ca", options->tls_ca,
                  "Use TLS, and trust the CAs of this file, in PEM, alone.")
      ->type_name("FILE")
      ->envname("RETNET_TLS_CA");
  CLI::Option* certificate =
      app->add_option("--tls-cert", options->tls_cert,
                      "Use TLS, and show this certificate, in PEM, to the server.")
          ->type_name("FILE");
  CLI::Option* key =
      app->add_option("--tls-key", options->tls_key, "Private key of --tls-cert, in PEM.")
          ->type_name("FILE")
          ->needs(certificate);
  certificate->needs(key);
}

TokenCommands::TokenCommands(CLI::App* command)
    : command_(command),
      new_(command->add_subcommand("new", "Add a token to the file and print it, once.")
               ->group("Commands")),
      list_(command->add_subcommand("list", "List the file's tokens: name, id, limits.")
                ->group("Commands")) {
  command_->require_subcommand(1);
  command_->fallthrough();
  AddNewOptions();
  for (CLI::App* one : {new_, list_}) {
    one->add_option("--file", file_, "The server's --auth-tokens.")->type_name("FILE")->required();
  }
}

void TokenCommands::AddNewOptions() {
  new_->add_option("name", name_,
                   "Name of the principal: who has the token. Tokens of one name share sessions "
                   "and limits.")
      ->required();
  const auto add = [this](const std::string& name, auto* value, double least, double most,
                          const std::string& type, const std::string& help) {
    return new_->add_option(name, *value, help)->type_name(type)->check(NumberFrom(least, most));
  };
  new_->option_defaults()->group("Limits of the principal, in place of those that it has");
  add("--weight", &limits_.weight, 0.001, 1000, "X",
      "Its share of the server, against 1 of others, while the server is busy.")
      ->option_text("default: 1");
  add("--requests", &limits_.requests, 1, 1 << 20, "N",
      "Most requests that it may have running or waiting; each sample of n counts.")
      ->option_text("default: no limit");
  add("--tokens-per-minute", &limits_.tokens_per_minute, 1, 1e15, "N",
      "Most tokens of prompts and answers together, on average over time.")
      ->option_text("default: no limit");
  new_->add_option_function<int32_t>(
          "--max-priority", [this](int32_t most) { limits_.max_priority = most; },
          "Greatest priority of its requests. Below 0 it is that of all that set none.")
      ->type_name("N")
      ->option_text("default: no limit")
      ->check(NumberFrom(-(1 << 20), 1 << 20));
}

ExitCode TokenCommands::Run() const { return new_->parsed() ? RunNew() : RunList(); }

ExitCode TokenCommands::RunNew() const {
  bool limited = false;
  for (const char* option : {"--weight", "--requests", "--tokens-per-minute", "--max-priority"}) {
    limited = limited || new_->count(option) > 0;
  }
  const absl::StatusOr<std::string> token =
      AddToken(file_, name_, limited ? std::optional(limits_) : std::nullopt);
  if (!token.ok()) {
    std::cerr << "retnet: " << token.status().message() << "\n";
    return kExitRefused;
  }
  std::cout << *token << std::endl;
  return std::cout ? kExitOk : kExitRefused;
}

ExitCode TokenCommands::RunList() const {
  const absl::StatusOr<TokenFile> file = ReadTokenFile(file_);
  if (!file.ok()) {
    std::cerr << "retnet: " << file.status().message() << "\n";
    return kExitRefused;
  }
  const auto limits_of = [&](const std::string& principal) {
    const auto limits = file->limits.find(principal);
    return limits == file->limits.end() ? "" : absl::StrCat("  ", DescribeLimits(limits->second));
  };
  std::set<std::string> with_token;
  for (const StoredToken& token : file->tokens) {
    std::cout << token.principal << "  " << token.id << limits_of(token.principal) << "\n";
    with_token.insert(token.principal);
  }
  for (const auto& [principal, limits] : file->limits) {
    if (!with_token.contains(principal)) {
      std::cout << principal << "  (no token)" << limits_of(principal) << "\n";
    }
  }
  std::cout.flush();
  return std::cout ? kExitOk : kExitRefused;
}

}  // namespace retnet
