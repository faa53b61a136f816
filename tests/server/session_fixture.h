// Sessions over the wire, as a client has them.
#ifndef RETNET_TESTS_SERVER_SESSION_FIXTURE_H_
#define RETNET_TESTS_SERVER_SESSION_FIXTURE_H_

#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "tests/server/fake_server.h"

namespace retnet {

// A server and its sessions as a client sees them; every call must give the code asked for.
class SessionsTest : public ::testing::Test {
 protected:
  static FakeServerOptions Options() {
    FakeServerOptions options;
    options.model.slots = 6;
    return options;
  }

  v1::Session Create(const std::string& id, grpc::StatusCode code = grpc::StatusCode::OK) {
    v1::CreateSessionRequest request;
    request.set_id(id);
    return Create(request, code);
  }
  v1::Session Create(const v1::CreateSessionRequest& request,
                     grpc::StatusCode code = grpc::StatusCode::OK) {
    grpc::ClientContext context;
    v1::Session session;
    status_ = server_.sessions().Create(&context, request, &session);
    EXPECT_EQ(status_.error_code(), code) << status_.error_message();
    return session;
  }
  v1::Session Get(const std::string& id, grpc::StatusCode code = grpc::StatusCode::OK) {
    grpc::ClientContext context;
    v1::GetSessionRequest request;
    request.set_id(id);
    v1::Session session;
    status_ = server_.sessions().Get(&context, request, &session);
    EXPECT_EQ(status_.error_code(), code) << status_.error_message();
    return session;
  }
  v1::Session Delete(const std::string& id, grpc::StatusCode code = grpc::StatusCode::OK) {
    grpc::ClientContext context;
    v1::DeleteSessionRequest request;
    request.set_id(id);
    v1::Session session;
    status_ = server_.sessions().Delete(&context, request, &session);
    EXPECT_EQ(status_.error_code(), code) << status_.error_message();
    return session;
  }
  v1::ForkSessionResponse Fork(const v1::ForkSessionRequest& request,
                               grpc::StatusCode code = grpc::StatusCode::OK) {
    grpc::ClientContext context;
    v1::ForkSessionResponse response;
    status_ = server_.sessions().Fork(&context, request, &response);
    EXPECT_EQ(status_.error_code(), code) << status_.error_message();
    return response;
  }
  v1::Session Rewind(const v1::RewindSessionRequest& request,
                     grpc::StatusCode code = grpc::StatusCode::OK) {
    grpc::ClientContext context;
    v1::Session session;
    status_ = server_.sessions().Rewind(&context, request, &session);
    EXPECT_EQ(status_.error_code(), code) << status_.error_message();
    return session;
  }
  v1::ListSessionsResponse List(int32_t page_size = 0, const std::string& token = "") {
    grpc::ClientContext context;
    v1::ListSessionsRequest request;
    request.set_page_size(page_size);
    request.set_page_token(token);
    v1::ListSessionsResponse response;
    status_ = server_.sessions().List(&context, request, &response);
    return response;
  }
  std::vector<std::string> Ids() {
    std::vector<std::string> ids;
    const v1::ListSessionsResponse response = List();
    for (const v1::Session& session : response.sessions()) ids.push_back(session.id());
    return ids;
  }
  std::string Export(const std::string& id) {
    grpc::ClientContext context;
    v1::ExportSessionRequest request;
    request.set_id(id);
    const auto reader = server_.sessions().Export(&context, request);
    std::string bytes;
    v1::ExportSessionResponse response;
    while (reader->Read(&response)) bytes += response.chunk();
    status_ = reader->Finish();
    return bytes;
  }
  v1::Session Import(const std::string& id, const std::string& bytes, grpc::StatusCode code) {
    grpc::ClientContext context;
    v1::Session session;
    const auto writer = server_.sessions().Import(&context, &session);
    v1::ImportSessionRequest request;
    request.mutable_session()->set_id(id);
    for (size_t i = 0; i < bytes.size(); i += 100) {
      request.set_chunk(bytes.substr(i, 100));
      if (!writer->Write(request)) break;
      request.clear_session();
    }
    writer->WritesDone();
    status_ = writer->Finish();
    EXPECT_EQ(status_.error_code(), code) << status_.error_message();
    return session;
  }

  static v1::GenerateRequest On(const std::string& session, const std::vector<TokenId>& prompt,
                                int32_t max_tokens = 6) {
    v1::GenerateRequest request;
    request.mutable_token_ids()->mutable_ids()->Add(prompt.begin(), prompt.end());
    request.set_max_tokens(max_tokens);
    request.set_temperature(0);
    request.set_ignore_eos(true);
    request.set_session_id(session);
    return request;
  }
  // The answer's ids; the call must succeed.
  std::vector<TokenId> Answer(const v1::GenerateRequest& request) {
    const Streamed streamed = server_.Generate(request);
    EXPECT_TRUE(streamed.status.ok()) << streamed.status.error_message();
    if (streamed.finals.size() == 1) final_ = streamed.finals[0];
    return streamed.ids();
  }

  FakeServer server_{Options()};
  grpc::Status status_;                // of the last call
  v1::GenerateResponse::Final final_;  // of the last answer
};

inline std::vector<TokenId> Joined(std::vector<std::vector<TokenId>> parts) {
  std::vector<TokenId> all;
  for (const std::vector<TokenId>& part : parts) all.insert(all.end(), part.begin(), part.end());
  return all;
}

inline const std::vector<TokenId> kFirst = {5, 9, 14, 3, 77, 20, 31};
inline const std::vector<TokenId> kSecond = {8, 8, 60};

}  // namespace retnet

#endif  // RETNET_TESTS_SERVER_SESSION_FIXTURE_H_
