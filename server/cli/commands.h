// The client's commands: each makes one call and prints its answer.
#ifndef RETNET_SERVER_CLI_COMMANDS_H_
#define RETNET_SERVER_CLI_COMMANDS_H_

#include <string>

#include "retnet/v1/generation.pb.h"
#include "server/cli/client.h"

namespace retnet {

// Text as it comes, or with --json one object at the end. Ids stand for the text of a model without
// a tokenizer.
ExitCode RunGenerate(const v1::GenerateRequest& request, Client* client);
ExitCode RunScore(const v1::ScoreRequest& request, Client* client);
ExitCode RunTokenize(const v1::TokenizeRequest& request, Client* client);
ExitCode RunDetokenize(const v1::DetokenizeRequest& request, Client* client);
ExitCode RunModel(Client* client);
// kExitRefused unless the service is SERVING; the empty name means the whole server.
ExitCode RunHealth(const std::string& service, Client* client);

}  // namespace retnet

#endif  // RETNET_SERVER_CLI_COMMANDS_H_
