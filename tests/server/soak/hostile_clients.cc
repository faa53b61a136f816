#include "tests/server/soak/hostile_clients.h"

#include <arpa/inet.h>
#include <grpcpp/create_channel.h>
#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/security/credentials.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <chrono>
#include <random>

#include "absl/status/status.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "retnet/v1/generation.grpc.pb.h"
#include "retnet/v1/sessions.grpc.pb.h"

namespace retnet {
namespace {

using std::chrono::milliseconds;
using std::chrono::system_clock;

std::shared_ptr<grpc::Channel> Connect(const HostileTargets& targets) {
  grpc::ChannelArguments arguments;
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  arguments.SetMaxReceiveMessageSize(-1);
  arguments.SetMaxSendMessageSize(-1);
  return grpc::CreateCustomChannel(targets.grpc, grpc::InsecureChannelCredentials(), arguments);
}

// The token and a deadline.
void Prepare(grpc::ClientContext* context, const HostileTargets& targets, int milliseconds_left) {
  context->AddMetadata("authorization", "Bearer " + targets.token);
  context->set_deadline(system_clock::now() + milliseconds(milliseconds_left));
}

v1::GenerateRequest Request(int32_t prompt_tokens, int32_t max_tokens) {
  thread_local std::mt19937 random(std::random_device{}());
  v1::GenerateRequest request;
  for (int32_t i = 0; i < prompt_tokens; ++i) {
    request.mutable_token_ids()->add_ids(5 + static_cast<int32_t>(random() % 400));
  }
  request.set_max_tokens(max_tokens);
  request.set_ignore_eos(true);
  return request;
}

// Streams that nobody reads, all at once on one connection, until their deadline.
void Unread(const std::string& name, const HostileTargets& targets, Outcomes* outcomes, int streams,
            const v1::GenerateRequest& request) {
  const auto stub = v1::Generation::NewStub(Connect(targets));
  std::vector<std::unique_ptr<grpc::ClientContext>> contexts;
  std::vector<std::unique_ptr<grpc::ClientReader<v1::GenerateResponse>>> readers;
  for (int i = 0; i < streams; ++i) {
    Prepare(contexts.emplace_back(std::make_unique<grpc::ClientContext>()).get(), targets, 3000);
    readers.push_back(stub->Generate(contexts.back().get(), request));
  }
  absl::SleepFor(absl::Seconds(3));
  for (const auto& reader : readers) {
    v1::GenerateResponse response;
    while (reader->Read(&response)) {
    }
    outcomes->Count(name, reader->Finish());
  }
}

void FloodOfDecodes(const HostileTargets& targets, Outcomes* outcomes) {
  Unread("flood of long answers", targets, outcomes, 200, Request(8, 2000));
}

void FloodOfPrompts(const HostileTargets& targets, Outcomes* outcomes) {
  Unread("flood of long prompts", targets, outcomes, 50, Request(4000, 1));
}

void Resets(const HostileTargets& targets, Outcomes* outcomes) {
  const auto stub = v1::Generation::NewStub(Connect(targets));
  for (int i = 0; i < 500; ++i) {
    grpc::ClientContext context;
    Prepare(&context, targets, 3000);
    const auto reader = stub->Generate(&context, Request(300, 100));
    context.TryCancel();
    outcomes->Count("streams reset at once", reader->Finish());
  }
}

grpc::Status Complete(const HostileTargets& targets, const v1::GenerateRequest& request,
                      grpc_compression_algorithm compression) {
  grpc::ClientContext context;
  Prepare(&context, targets, 5000);
  context.set_compression_algorithm(compression);
  v1::CompleteResponse response;
  return v1::Generation::NewStub(Connect(targets))->Complete(&context, request, &response);
}

void GzipBomb(const HostileTargets& targets, Outcomes* outcomes) {
  v1::GenerateRequest request;
  request.set_text(std::string(100 << 20, 'a'));
  outcomes->Count("bomb of 100 MiB in gzip", Complete(targets, request, GRPC_COMPRESS_GZIP));
}

void LongTexts(const HostileTargets& targets, Outcomes* outcomes) {
  for (const char filler : {'a', ' '}) {
    v1::GenerateRequest request;
    request.set_text(std::string(20 << 20, filler));
    outcomes->Count("text of 20 MiB", Complete(targets, request, GRPC_COMPRESS_NONE));
    request.set_text(std::string(4 << 20, filler));
    outcomes->Count("text of 4 MiB", Complete(targets, request, GRPC_COMPRESS_NONE));
  }
}

void Metadata(const HostileTargets& targets, Outcomes* outcomes) {
  grpc::ClientContext context;
  Prepare(&context, targets, 5000);
  context.AddMetadata("x-much", std::string(200 << 10, 'm'));
  v1::GetModelResponse response;
  outcomes->Count("metadata of 200 KiB",
                  v1::Generation::NewStub(Connect(targets))->GetModel(&context, {}, &response));
}

void WrongTokens(const HostileTargets& targets, Outcomes* outcomes) {
  const auto stub = v1::Generation::NewStub(Connect(targets));
  std::string token = targets.token;
  token.back() = token.back() == '0' ? '1' : '0';
  for (int i = 0; i < 300; ++i) {
    grpc::ClientContext context;
    context.set_deadline(system_clock::now() + milliseconds(5000));
    if (i % 2 == 0) context.AddMetadata("authorization", "Bearer " + token);
    v1::CompleteResponse response;
    outcomes->Count("wrong tokens, or none", stub->Complete(&context, Request(8, 2000), &response));
  }
}

void UnknownMethods(const HostileTargets& targets, Outcomes* outcomes) {
  const auto channel = Connect(targets);
  grpc::TemplatedGenericStub<v1::GetModelRequest, v1::GetModelResponse> stub(channel);
  for (int i = 0; i < 50; ++i) {
    grpc::ClientContext context;
    Prepare(&context, targets, 5000);
    const v1::GetModelRequest request;
    v1::GetModelResponse response;
    Mutex mutex;
    CondVar ended;
    bool done = false;
    grpc::Status status;
    stub.UnaryCall(&context, absl::StrCat("/none.Such/", std::random_device{}()), {}, &request,
                   &response, [&](grpc::Status result) {
                     const MutexLock lock(&mutex);
                     status = std::move(result);
                     done = true;
                     ended.NotifyOne();
                   });
    const MutexLock lock(&mutex);
    while (!done) ended.Wait(&mutex);
    outcomes->Count("unknown methods", status);
  }
}

grpc::Status Import(const HostileTargets& targets, v1::Sessions::Stub* stub,
                    const std::string& snapshot) {
  grpc::ClientContext context;
  Prepare(&context, targets, 5000);
  v1::Session session;
  const auto writer = stub->Import(&context, &session);
  v1::ImportSessionRequest request;
  request.mutable_session();
  request.set_chunk(snapshot);
  writer->Write(request);
  writer->WritesDone();
  grpc::Status status = writer->Finish();
  if (!status.ok()) return status;
  grpc::ClientContext deletion;
  Prepare(&deletion, targets, 5000);
  v1::DeleteSessionRequest deleted;
  deleted.set_id(session.id());
  stub->Delete(&deletion, deleted, &session).ok();
  return status;
}

// An honest snapshot of a session of its own, then the same with bytes changed.
void ForgedSnapshots(const HostileTargets& targets, Outcomes* outcomes) {
  const auto channel = Connect(targets);
  const auto sessions = v1::Sessions::NewStub(channel);
  const std::string id = absl::StrCat("forger-", std::random_device{}());
  v1::GenerateRequest request = Request(70, 5);
  request.set_session_id(id);
  grpc::ClientContext context;
  Prepare(&context, targets, 5000);
  v1::CompleteResponse response;
  v1::CreateSessionRequest create;
  create.set_id(id);
  v1::Session session;
  grpc::ClientContext creation;
  Prepare(&creation, targets, 5000);
  if (const grpc::Status status = sessions->Create(&creation, create, &session); !status.ok()) {
    return outcomes->Count("forged snapshots: no session", status);
  }
  v1::Generation::NewStub(channel)->Complete(&context, request, &response).ok();
  grpc::ClientContext exporting;
  Prepare(&exporting, targets, 5000);
  v1::ExportSessionRequest wanted;
  wanted.set_id(id);
  const auto reader = sessions->Export(&exporting, wanted);
  std::string snapshot;
  v1::ExportSessionResponse piece;
  while (reader->Read(&piece)) snapshot += piece.chunk();
  reader->Finish().ok();
  std::mt19937 random(std::random_device{}());
  for (int i = 0; i < 20 && !snapshot.empty(); ++i) {
    std::string forged = snapshot;
    for (int byte = 0; byte < 4; ++byte) {
      forged[random() % forged.size()] = static_cast<char>(random());
    }
    outcomes->Count("forged snapshots", Import(targets, sessions.get(), forged));
  }
  grpc::ClientContext deletion;
  Prepare(&deletion, targets, 5000);
  v1::DeleteSessionRequest deleted;
  deleted.set_id(id);
  sessions->Delete(&deletion, deleted, &session).ok();
}

void HeldImports(const HostileTargets& targets, Outcomes* outcomes) {
  const auto stub = v1::Sessions::NewStub(Connect(targets));
  std::vector<std::unique_ptr<grpc::ClientContext>> contexts;
  std::vector<std::unique_ptr<grpc::ClientWriter<v1::ImportSessionRequest>>> writers;
  v1::Session session;
  v1::ImportSessionRequest request;
  request.set_chunk(std::string(1 << 20, 'x'));
  for (int i = 0; i < 50; ++i) {
    Prepare(contexts.emplace_back(std::make_unique<grpc::ClientContext>()).get(), targets, 3000);
    writers.push_back(stub->Import(contexts.back().get(), &session));
    writers.back()->Write(request);
  }
  for (const auto& writer : writers) outcomes->Count("imports held open", writer->Finish());
}

int OpenSocket(const std::string& address) {
  const size_t colon = address.rfind(':');
  int port = 0;
  if (colon == std::string::npos || !absl::SimpleAtoi(address.substr(colon + 1), &port)) return -1;
  const int connection = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in to = {};
  to.sin_family = AF_INET;
  to.sin_port = htons(static_cast<uint16_t>(port));
  inet_pton(AF_INET, "127.0.0.1", &to.sin_addr);
  if (connect(connection, reinterpret_cast<const sockaddr*>(&to), sizeof to) == 0) {
    return connection;
  }
  close(connection);
  return -1;
}

// Connections that say nothing, or only half of a request, for three seconds.
void SilentConnections(const HostileTargets& targets, Outcomes* outcomes) {
  std::vector<int> connections;
  const auto open = [&](const std::string& address, int count, const std::string& words) {
    for (int i = 0; i < count; ++i) {
      const int connection = OpenSocket(address);
      outcomes->Count("silent connections", connection < 0 ? "refused" : "open");
      if (connection < 0) continue;
      connections.push_back(connection);
      if (!words.empty()) send(connection, words.data(), words.size(), MSG_NOSIGNAL);
    }
  };
  open(targets.grpc, 300, "");
  open(targets.grpc, 20, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
  open(targets.metrics, 20, "GET /metrics HTTP/1.1\r\nHost: ");
  absl::SleepFor(absl::Seconds(3));
  for (const int connection : connections) close(connection);
}

}  // namespace

void Outcomes::Count(const std::string& attack, const std::string& outcome) {
  const MutexLock lock(&mutex_);
  ++counts_[attack][outcome];
}

void Outcomes::Count(const std::string& attack, const grpc::Status& status) {
  Count(attack, absl::StatusCodeToString(static_cast<absl::StatusCode>(status.error_code())));
}

std::map<std::string, std::map<std::string, int64_t>> Outcomes::counts() const {
  const MutexLock lock(&mutex_);
  return counts_;
}

const std::vector<Attack>& AllAttacks() {
  static const auto& attacks = *new std::vector<Attack>{
      {"decodes", FloodOfDecodes}, {"prompts", FloodOfPrompts},  {"resets", Resets},
      {"bombs", GzipBomb},         {"texts", LongTexts},         {"metadata", Metadata},
      {"tokens", WrongTokens},     {"methods", UnknownMethods},  {"forged", ForgedSnapshots},
      {"imports", HeldImports},    {"silent", SilentConnections}};
  return attacks;
}

HostileClients::HostileClients(const std::vector<Attack>& attacks, HostileTargets targets,
                               absl::Duration pause, Outcomes* outcomes) {
  for (const Attack& attack : attacks) {
    threads_.emplace_back([this, targets, pause, run = attack.run, outcomes] {
      while (!stopping_) {
        run(targets, outcomes);
        for (absl::Duration slept; slept < pause && !stopping_; slept += absl::Milliseconds(50)) {
          absl::SleepFor(absl::Milliseconds(50));
        }
      }
    });
  }
}

HostileClients::~HostileClients() {
  stopping_ = true;
  for (std::thread& thread : threads_) thread.join();
}

}  // namespace retnet
