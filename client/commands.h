// The client's commands: each makes one call and prints its answer.
#ifndef RETNET_CLIENT_COMMANDS_H_
#define RETNET_CLIENT_COMMANDS_H_

#include <string>

#include "client/client.h"
#include "retnet/v1/generation.pb.h"
#include "retnet/v1/sessions.pb.h"

namespace retnet {

// These print text as it arrives, or with --json one object at the end. For a model without a
// tokenizer they print token ids.
ExitCode RunGenerate(const v1::GenerateRequest& request, Client* client);
ExitCode RunScore(const v1::ScoreRequest& request, Client* client);
ExitCode RunTokenize(const v1::TokenizeRequest& request, Client* client);
ExitCode RunDetokenize(const v1::DetokenizeRequest& request, Client* client);
ExitCode RunModel(Client* client);

ExitCode RunCreateSession(const v1::CreateSessionRequest& request, Client* client);
ExitCode RunGetSession(const v1::GetSessionRequest& request, Client* client);
// Lists the sessions of all pages.
ExitCode RunListSessions(Client* client);
ExitCode RunForkSession(const v1::ForkSessionRequest& request, Client* client);
ExitCode RunRewindSession(const v1::RewindSessionRequest& request, Client* client);
ExitCode RunDeleteSession(const v1::DeleteSessionRequest& request, Client* client);
// These write to or read from a file. "-" is standard output or input.
ExitCode RunExportSession(const v1::ExportSessionRequest& request, const std::string& file,
                          Client* client);
ExitCode RunImportSession(const v1::CreateSessionRequest& session, const std::string& file,
                          Client* client);

struct ChatOptions {
  v1::GenerateRequest request;  // the sampling options of every turn; without a prompt
  std::string session_id;       // empty: make a session and delete it at the end
  std::string turn = "{}";      // the template of a turn; {} stands for the typed text
  bool keep = false;            // do not delete the session that was made
};
// Reads turns and commands from standard input, line by line, until its end or /quit.
ExitCode RunChat(const ChatOptions& options, Client* client);

// kExitRefused unless the service is SERVING. The empty name means the whole server.
ExitCode RunHealth(const std::string& service, Client* client);

}  // namespace retnet

#endif  // RETNET_CLIENT_COMMANDS_H_
