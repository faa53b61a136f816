// The client's options and commands about tokens and certificates.
#ifndef RETNET_CLIENT_ACCESS_OPTIONS_H_
#define RETNET_CLIENT_ACCESS_OPTIONS_H_

#include <CLI/CLI.hpp>
#include <string>

#include "client/access.h"
#include "client/client.h"
#include "server/identity/token_file.h"

namespace retnet {

// What every command takes that calls a server. Parsing writes to `options`, which must outlive
// `app`.
void AddAccessOptions(CLI::App* app, AccessOptions* options);

// `retnet token`: makes and lists the tokens of a server's file. It calls no server.
class TokenCommands {
 public:
  // Adds the commands to `command`.
  explicit TokenCommands(CLI::App* command);
  bool given() const { return command_->parsed(); }
  ExitCode Run() const;

 private:
  void AddNewOptions();
  ExitCode RunNew() const;
  ExitCode RunList() const;

  CLI::App* const command_;
  CLI::App* const new_;
  CLI::App* const list_;
  std::string name_;
  std::string file_;
  PrincipalLimits limits_;
};

}  // namespace retnet

#endif  // RETNET_CLIENT_ACCESS_OPTIONS_H_
