// Every call that a server answers, for what holds for all of them.
#ifndef RETNET_TESTS_SERVER_ALL_CALLS_H_
#define RETNET_TESTS_SERVER_ALL_CALLS_H_

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "grpc/reflection/v1/reflection.grpc.pb.h"
#include "tests/server/fake_server.h"

namespace retnet {

// A call to its end, on a context that the test has prepared.
struct Call {
  std::string name;
  std::function<grpc::Status(grpc::ClientContext*)> run;
};

// The end of a stream of answers.
template <typename Response, typename Reader>
grpc::Status ReadAll(Reader reader) {
  Response response;
  while (reader->Read(&response)) {
  }
  return reader->Finish();
}

template <typename Request, typename Response, typename Stub>
Call Unary(const std::string& name, std::shared_ptr<Stub> stub,
           grpc::Status (Stub::*method)(grpc::ClientContext*, const Request&, Response*),
           Request request = {}) {
  return {name, [=](grpc::ClientContext* context) {
            Response response;
            return (*stub.*method)(context, request, &response);
          }};
}

// Every method of every service, over a channel, with requests that are answered or refused for
// another reason.
inline std::vector<Call> AllCalls(const std::shared_ptr<grpc::Channel>& channel) {
  const std::shared_ptr generation = v1::Generation::NewStub(channel);
  const std::shared_ptr sessions = v1::Sessions::NewStub(channel);
  using G = v1::Generation::Stub;
  using S = v1::Sessions::Stub;
  return {
      Unary("GetModel", generation, &G::GetModel),
      Unary("Tokenize", generation, &G::Tokenize),
      Unary("Detokenize", generation, &G::Detokenize),
      Unary("Complete", generation, &G::Complete, GreedyRequest(2)),
      {"Generate",
       [=](grpc::ClientContext* context) {
         return ReadAll<v1::GenerateResponse>(generation->Generate(context, GreedyRequest(2)));
       }},
      {"Score",
       [=](grpc::ClientContext* context) {
         return ReadAll<v1::ScoreResponse>(generation->Score(context, v1::ScoreRequest()));
       }},
      {"Converse",
       [=](grpc::ClientContext* context) {
         const auto stream = generation->Converse(context);
         stream->WritesDone();
         v1::ConverseResponse response;
         while (stream->Read(&response)) {
         }
         return stream->Finish();
       }},
      Unary("Create", sessions, &S::Create),
      Unary("Get", sessions, &S::Get),
      Unary("List", sessions, &S::List),
      Unary("Fork", sessions, &S::Fork),
      Unary("Rewind", sessions, &S::Rewind),
      Unary("Delete", sessions, &S::Delete),
      {"Export",
       [=](grpc::ClientContext* context) {
         return ReadAll<v1::ExportSessionResponse>(
             sessions->Export(context, v1::ExportSessionRequest()));
       }},
      {"Import",
       [=](grpc::ClientContext* context) {
         v1::Session session;
         const auto writer = sessions->Import(context, &session);
         writer->WritesDone();
         return writer->Finish();
       }},
      {"Health.Check",
       [channel](grpc::ClientContext* context) {
         grpc::health::v1::HealthCheckResponse response;
         return grpc::health::v1::Health::NewStub(channel)->Check(context, {}, &response);
       }},
      {"ServerReflectionInfo",
       [channel](grpc::ClientContext* context) {
         const auto stub = grpc::reflection::v1::ServerReflection::NewStub(channel);
         const auto stream = stub->ServerReflectionInfo(context);
         stream->WritesDone();
         grpc::reflection::v1::ServerReflectionResponse response;
         while (stream->Read(&response)) {
         }
         return stream->Finish();
       }},
  };
}

}  // namespace retnet

#endif  // RETNET_TESTS_SERVER_ALL_CALLS_H_
