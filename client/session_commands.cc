#include "client/session_commands.h"

#include <utility>

#include "client/request_options.h"

namespace retnet {
namespace {

// A request that names a session and says nothing else.
template <typename Request>
Request Named(const std::string& id) {
  Request request;
  request.set_id(id);
  return request;
}

}  // namespace

CLI::App* SessionCommands::Add(const std::string& name, const std::string& description,
                               std::function<ExitCode(Client*)> run) {
  CLI::App* command = command_->add_subcommand(name, description);
  commands_.emplace_back(command, std::move(run));
  return command;
}

void SessionCommands::AddCreateOptions(CLI::App* command) {
  command->add_option_function<std::string>(
      "id", [this](const std::string& id) { create_.set_id(id); },
      "The new session's id; without one it is made");
  AddField(command, "--ttl", &create_, &v1::CreateSessionRequest::set_ttl_seconds,
           "Seconds without use after which it is forgotten");
  command->add_option_function<std::vector<std::string>>(
      "--label",
      [this](const std::vector<std::string>& labels) {
        for (const std::string& label : labels) {
          const size_t equals = label.find('=');
          if (equals == std::string::npos) {
            throw CLI::ValidationError("--label", label + " is not KEY=VALUE");
          }
          (*create_.mutable_labels())[label.substr(0, equals)] = label.substr(equals + 1);
        }
      },
      "For your own use, as KEY=VALUE");
}

SessionCommands::SessionCommands(CLI::App* app)
    : command_(app->add_subcommand("sessions", "Histories that outlive a call")) {
  command_->require_subcommand(1);
  command_->fallthrough();
  AddCreateOptions(Add("create", "An empty session",
                       [this](Client* client) { return RunCreateSession(create_, client); }));
  Add("list", "All there are", [](Client* client) { return RunListSessions(client); });

  CLI::App* get = Add("get", "What it is like", [this](Client* client) {
    return RunGetSession(Named<v1::GetSessionRequest>(id_), client);
  });
  CLI::App* remove = Add("delete", "Forget it", [this](Client* client) {
    return RunDeleteSession(Named<v1::DeleteSessionRequest>(id_), client);
  });
  CLI::App* fork = Add("fork", "Sessions with the same history", [this](Client* client) {
    v1::ForkSessionRequest request = fork_;
    request.set_id(id_);
    return RunForkSession(request, client);
  });
  CLI::App* rewind = Add("rewind", "Forget its newest tokens", [this](Client* client) {
    v1::RewindSessionRequest request = rewind_;
    request.set_id(id_);
    return RunRewindSession(request, client);
  });
  CLI::App* save = Add("export", "Write it to a file", [this](Client* client) {
    return RunExportSession(Named<v1::ExportSessionRequest>(id_), file_, client);
  });
  for (CLI::App* command : {get, remove, fork, rewind, save}) {
    command->add_option("id", id_, "The session's id")->required();
  }
  CLI::Option* new_ids = fork->add_option_function<std::vector<std::string>>(
      "new-ids",
      [this](const std::vector<std::string>& ids) {
        for (const std::string& id : ids) fork_.add_new_ids(id);
      },
      "Ids of the new sessions");
  fork->add_option_function<int32_t>(
          "--count", [this](int32_t count) { fork_.set_count(count); },
          "How many to make with ids of the server; 1 if nothing is said")
      ->excludes(new_ids);
  using Rewind = v1::RewindSessionRequest;
  CLI::Option_group* how_far = rewind->add_option_group("how far");
  AddField(how_far, "--to", &rewind_, &Rewind::set_to_tokens, "So many tokens are left");
  AddField(how_far, "--drop", &rewind_, &Rewind::set_drop_tokens, "So many tokens go");
  how_far->require_option(1);
  save->add_option("--file", file_, "- is standard output")->capture_default_str();

  CLI::App* load = Add("import", "A session from a file",
                       [this](Client* client) { return RunImportSession(create_, file_, client); });
  AddCreateOptions(load);
  load->add_option("--file", file_, "- is standard input")->capture_default_str();
}

ExitCode SessionCommands::Run(Client* client) const {
  for (const auto& [command, run] : commands_) {
    if (command->parsed()) return run(client);
  }
  return kExitUsage;
}

}  // namespace retnet
