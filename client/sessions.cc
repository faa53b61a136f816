#include <google/protobuf/util/time_util.h>

#include <iostream>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>

#include "client/commands.h"
#include "client/snapshot_file.h"
#include "retnet/v1/sessions.grpc.pb.h"

namespace retnet {
namespace {

using google::protobuf::util::TimeUtil;
using nlohmann::json;

std::string TierName(v1::StateTier tier) {
  switch (tier) {
    case v1::STATE_TIER_DEVICE:
      return "device";
    case v1::STATE_TIER_HOST:
      return "host";
    case v1::STATE_TIER_STORE:
      return "store";
    default:
      return "none";
  }
}

json SessionJson(const v1::Session& session) {
  json object = {{"id", session.id()},
                 {"tokens", session.tokens()},
                 {"state_tokens", session.state_tokens()},
                 {"state_bytes", session.state_bytes()},
                 {"tier", TierName(session.tier())},
                 {"busy", session.busy()},
                 {"version", session.version()},
                 {"created", TimeUtil::ToString(session.created())},
                 {"last_used", TimeUtil::ToString(session.last_used())},
                 {"expires", nullptr},
                 {"labels", json::object()}};
  if (session.has_expires()) object["expires"] = TimeUtil::ToString(session.expires());
  for (const auto& [key, value] : session.labels()) object["labels"][key] = value;
  return object;
}

// One line, as scripts cut it: id, tokens, where the state is, labels.
void PrintLine(const v1::Session& session) {
  std::cout << session.id() << "\t" << session.tokens() << " tokens\t" << TierName(session.tier());
  if (session.busy()) std::cout << "\tbusy";
  const json object = SessionJson(session);
  for (const auto& [key, value] : object["labels"].items()) {
    std::cout << "\t" << key << "=" << value.get<std::string>();
  }
  std::cout << "\n";
}

ExitCode PrintSession(const grpc::Status& status, const v1::Session& session, Client* client) {
  if (!status.ok()) return client->Report(status);
  if (client->json()) {
    std::cout << SessionJson(session) << std::endl;
  } else {
    PrintLine(session);
    std::cout << std::flush;
  }
  return kExitOk;
}

template <typename Sessions>
void PrintSessions(const Sessions& sessions, const Client& client) {
  if (client.json()) {
    json object = {{"sessions", json::array()}};
    for (const v1::Session& session : sessions) {
      object["sessions"].push_back(SessionJson(session));
    }
    std::cout << object << std::endl;
    return;
  }
  for (const v1::Session& session : sessions) PrintLine(session);
  std::cout << std::flush;
}

}  // namespace

ExitCode RunCreateSession(const v1::CreateSessionRequest& request, Client* client) {
  v1::Session session;
  const grpc::Status status =
      v1::Sessions::NewStub(client->channel())->Create(client->context(), request, &session);
  return PrintSession(status, session, client);
}

ExitCode RunGetSession(const v1::GetSessionRequest& request, Client* client) {
  v1::Session session;
  const grpc::Status status =
      v1::Sessions::NewStub(client->channel())->Get(client->context(), request, &session);
  return PrintSession(status, session, client);
}

ExitCode RunListSessions(Client* client) {
  const auto stub = v1::Sessions::NewStub(client->channel());
  std::vector<v1::Session> sessions;
  v1::ListSessionsRequest request;
  v1::ListSessionsResponse response;
  do {
    grpc::ClientContext context;
    const grpc::Status status = stub->List(&context, request, &response);
    if (!status.ok()) return client->Report(status);
    sessions.insert(sessions.end(), response.sessions().begin(), response.sessions().end());
    request.set_page_token(response.next_page_token());
  } while (!response.next_page_token().empty());
  PrintSessions(sessions, *client);
  return kExitOk;
}

ExitCode RunForkSession(const v1::ForkSessionRequest& request, Client* client) {
  v1::ForkSessionResponse response;
  const grpc::Status status =
      v1::Sessions::NewStub(client->channel())->Fork(client->context(), request, &response);
  if (!status.ok()) return client->Report(status);
  PrintSessions(response.sessions(), *client);
  return kExitOk;
}

ExitCode RunRewindSession(const v1::RewindSessionRequest& request, Client* client) {
  v1::Session session;
  const grpc::Status status =
      v1::Sessions::NewStub(client->channel())->Rewind(client->context(), request, &session);
  return PrintSession(status, session, client);
}

ExitCode RunDeleteSession(const v1::DeleteSessionRequest& request, Client* client) {
  v1::Session session;
  const grpc::Status status =
      v1::Sessions::NewStub(client->channel())->Delete(client->context(), request, &session);
  return PrintSession(status, session, client);
}

ExitCode RunExportSession(const v1::ExportSessionRequest& request, const std::string& file,
                          Client* client) {
  return client->Report(SaveSession(
      request.id(), file, v1::Sessions::NewStub(client->channel()).get(), client->context()));
}

ExitCode RunImportSession(const v1::CreateSessionRequest& session, const std::string& file,
                          Client* client) {
  v1::Session loaded;
  const grpc::Status status = LoadSession(
      session, file, v1::Sessions::NewStub(client->channel()).get(), client->context(), &loaded);
  return PrintSession(status, loaded, client);
}

}  // namespace retnet
