// A server that asks for tokens, and those who have some.
#ifndef RETNET_TESTS_SERVER_IDENTITY_AUTHENTICATION_FIXTURE_H_
#define RETNET_TESTS_SERVER_IDENTITY_AUTHENTICATION_FIXTURE_H_

#include <memory>
#include <string>
#include <vector>

#include "client/access.h"
#include "gtest/gtest.h"
#include "tests/server/all_calls.h"
#include "tests/server/fake_server.h"
#include "tests/server/identity/certificates.h"

namespace retnet {

inline Access WithToken(const std::string& token) {
  Access access;
  access.token = token;
  return access;
}

// A file of tokens that two have.
class Authentication : public ::testing::Test {
 protected:
  FakeServerOptions Options() const {
    FakeServerOptions options;
    options.model.slots = 6;
    options.server.identity.auth_tokens = file_;
    return options;
  }
  std::string NewToken(const std::string& name, const PrincipalLimits& limits = {}) const {
    return *AddToken(file_, name, limits);
  }
  static std::shared_ptr<grpc::Channel> ChannelOf(const std::string& token,
                                                  const FakeServer& server) {
    grpc::ChannelArguments arguments;
    arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
    return NewChannel(server.server().address(), WithToken(token), arguments);
  }
  static grpc::Status GetModel(const std::shared_ptr<grpc::Channel>& channel,
                               const std::vector<std::string>& authorizations = {}) {
    grpc::ClientContext context;
    for (const std::string& value : authorizations) context.AddMetadata("authorization", value);
    v1::GetModelResponse response;
    return v1::Generation::NewStub(channel)->GetModel(&context, {}, &response);
  }

  const std::string file_ = NewFolder() + "/tokens";
  const std::string alice_ = NewToken("alice");
  const std::string bob_ = NewToken("bob");
};

inline bool IsUnauthenticated(const grpc::Status& status) {
  return status.error_code() == grpc::StatusCode::UNAUTHENTICATED;
}

// A call of somebody, to its end.
struct Client {
  explicit Client(const std::shared_ptr<grpc::Channel>& channel)
      : generation(v1::Generation::NewStub(channel)), sessions(v1::Sessions::NewStub(channel)) {}

  template <typename Request, typename Response>
  grpc::Status Do(grpc::Status (v1::Sessions::Stub::*method)(grpc::ClientContext*, const Request&,
                                                             Response*),
                  const Request& request, Response* response) {
    grpc::ClientContext context;
    return (*sessions.*method)(&context, request, response);
  }
  grpc::Status Complete(const v1::GenerateRequest& request) {
    grpc::ClientContext context;
    return generation->Complete(&context, request, &completed);
  }
  std::vector<std::string> List() {
    v1::ListSessionsResponse list;
    EXPECT_TRUE(Do(&v1::Sessions::Stub::List, v1::ListSessionsRequest(), &list).ok());
    std::vector<std::string> ids;
    for (const v1::Session& session : list.sessions()) ids.push_back(session.id());
    return ids;
  }

  std::unique_ptr<v1::Generation::Stub> generation;
  std::unique_ptr<v1::Sessions::Stub> sessions;
  v1::CompleteResponse completed;
};

inline v1::GenerateRequest OnSession(const std::string& id) {
  v1::GenerateRequest request = GreedyRequest(3);
  request.set_session_id(id);
  request.set_keep(true);
  return request;
}

}  // namespace retnet

#endif  // RETNET_TESTS_SERVER_IDENTITY_AUTHENTICATION_FIXTURE_H_
