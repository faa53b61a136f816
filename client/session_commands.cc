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
  CLI::App* command = command_->add_subcommand(name, description)->group("Commands");
  commands_.emplace_back(command, std::move(run));
  return command;
}

void SessionCommands::AddCreateOptions(CLI::App* command) {
  command->add_option_function<std::string>(
      "id", [this](const std::string& id) { create_.set_id(id); },
      "Id for the new session. Default: the server makes one.");
  AddField(command, "--ttl", &create_, &v1::CreateSessionRequest::set_ttl_seconds, "SECONDS",
           "Delete the session when it has not been used for this time. Default: never.");
  command
      ->add_option_function<std::vector<std::string>>(
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
          "Note for your own use, stored with the session. May be given several times.")
      ->type_name("KEY=VALUE")
      ->allow_extra_args(false);
}

SessionCommands::SessionCommands(CLI::App* command) : command_(command) {
  command_->require_subcommand(1);
  command_->fallthrough();
  AddCreateOptions(Add("create", "Make an empty session.",
                       [this](Client* client) { return RunCreateSession(create_, client); }));
  Add("list", "List all sessions: id, tokens, where the state is, labels.",
      [](Client* client) { return RunListSessions(client); });

  CLI::App* get = Add("get", "Show one session.", [this](Client* client) {
    return RunGetSession(Named<v1::GetSessionRequest>(id_), client);
  });
  CLI::App* remove = Add("delete", "Delete a session.", [this](Client* client) {
    return RunDeleteSession(Named<v1::DeleteSessionRequest>(id_), client);
  });
  CLI::App* fork = Add("fork", "Copy a session; costs next to nothing.", [this](Client* client) {
    v1::ForkSessionRequest request = fork_;
    request.set_id(id_);
    return RunForkSession(request, client);
  });
  CLI::App* rewind = Add("rewind", "Remove a session's newest tokens.", [this](Client* client) {
    v1::RewindSessionRequest request = rewind_;
    request.set_id(id_);
    return RunRewindSession(request, client);
  });
  CLI::App* save = Add("export", "Write a session to a file.", [this](Client* client) {
    return RunExportSession(Named<v1::ExportSessionRequest>(id_), file_, client);
  });
  for (CLI::App* one : {get, remove, fork, rewind, save}) {
    one->add_option("id", id_, "Id of the session.")->required();
  }
  AddForkOptions(fork);
  using Rewind = v1::RewindSessionRequest;
  CLI::Option* to =
      AddField(rewind, "--to", &rewind_, &Rewind::set_to_tokens, "N", "Keep the first N tokens.");
  AddField(rewind, "--drop", &rewind_, &Rewind::set_drop_tokens, "N", "Remove the last N tokens.")
      ->excludes(to);
  rewind->final_callback([rewind] {
    if (rewind->count("--to") + rewind->count("--drop") == 0) {
      throw CLI::RequiredError("--to or --drop");
    }
  });
  save->add_option("--file", file_, "File to write; - is standard output.")
      ->type_name("FILE")
      ->capture_default_str();

  CLI::App* load = Add("import", "Make a session from an exported file.",
                       [this](Client* client) { return RunImportSession(create_, file_, client); });
  AddCreateOptions(load);
  load->add_option("--file", file_, "File to read; - is standard input.")
      ->type_name("FILE")
      ->capture_default_str();
}

void SessionCommands::AddForkOptions(CLI::App* command) {
  CLI::Option* new_ids = command->add_option_function<std::vector<std::string>>(
      "new-ids",
      [this](const std::vector<std::string>& ids) {
        for (const std::string& id : ids) fork_.add_new_ids(id);
      },
      "Ids for the copies.");
  command
      ->add_option_function<int32_t>(
          "--count", [this](int32_t count) { fork_.set_count(count); },
          "Copies to make, with ids that the server makes.")
      ->type_name("N")
      ->option_text("default: 1")
      ->check(WholeNumber<int32_t>())
      ->excludes(new_ids);
}

ExitCode SessionCommands::Run(Client* client) const {
  for (const auto& [command, run] : commands_) {
    if (command->parsed()) return run(client);
  }
  return kExitUsage;
}

}  // namespace retnet
