// The options of `retnet sessions ...`.
#ifndef RETNET_CLIENT_SESSION_COMMANDS_H_
#define RETNET_CLIENT_SESSION_COMMANDS_H_

#include <CLI/CLI.hpp>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "client/commands.h"

namespace retnet {

// Adds the subcommands of `retnet sessions`. Not copyable or movable: options write into it.
class SessionCommands {
 public:
  explicit SessionCommands(CLI::App* command);
  SessionCommands(const SessionCommands&) = delete;

  // Valid after parsing.
  bool given() const { return command_->parsed(); }
  ExitCode Run(Client* client) const;

 private:
  // Adds a subcommand that calls `run`.
  CLI::App* Add(const std::string& name, const std::string& description,
                std::function<ExitCode(Client*)> run);
  void AddCreateOptions(CLI::App* command);
  void AddForkOptions(CLI::App* command);

  CLI::App* const command_;
  std::vector<std::pair<CLI::App*, std::function<ExitCode(Client*)>>> commands_;
  std::string id_;
  std::string file_ = "-";
  v1::CreateSessionRequest create_;  // of create and import
  v1::ForkSessionRequest fork_;
  v1::RewindSessionRequest rewind_;
};

}  // namespace retnet

#endif  // RETNET_CLIENT_SESSION_COMMANDS_H_
