#include "server/session_service.h"

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "engine/snapshots/snapshot.h"
#include "kernels/status_macros.h"
#include "server/calls/snapshot_streams.h"
#include "server/identity/caller.h"
#include "server/wire/session_translation.h"

namespace retnet {
namespace {

constexpr int32_t kDefaultPage = 100;
constexpr int32_t kMaxPage = 1000;

grpc::ByteBuffer SessionBytes(const SessionInfo& info) {
  v1::Session wire;
  DescribeSession(info, &wire);
  return SerializeMessage(wire);
}

absl::StatusOr<SessionKey> KeyOf(const std::string& id, const std::string& owner) {
  RETURN_IF_ERROR(CheckSessionId("id", id));
  return SessionKey{owner, id};
}

// Larger than any snapshot of the model can be: state and tail, up to 16 bytes for each token of a
// history, and what surrounds them.
int64_t MaxSnapshotBytes(const Engine& engine) {
  const ModelInfo& info = engine.model_info();
  return info.base_bytes + info.chunk * info.tail_token_bytes +
         int64_t{16} * engine.options().max_context_length + (1 << 20);
}

// A call that a reply of the engine ends.
class SessionCall : public grpc::ServerUnaryReactor, public OpenCall {
 public:
  explicit SessionCall(InFlightCalls* in_flight_calls) : OpenCall(in_flight_calls) {}
  void End(const absl::Status& status) {
    const MutexLock lock(&mu_);
    Finish(ToGrpcStatus(status));
  }
  void OnDone() override { Close(); }
};

}  // namespace

template <typename Wire, typename Result>
grpc::ServerUnaryReactor* SessionService::Call(
    grpc::CallbackServerContext* context, const grpc::ByteBuffer* bytes, grpc::ByteBuffer* answer,
    std::function<absl::Status(const Wire&, const std::string& owner, Reply<Result>)> begin,
    std::function<grpc::ByteBuffer(const Result&)> describe) {
  auto call = std::make_shared<SessionCall>(&admission_->in_flight_calls());
  call->Open();
  Wire request;
  const absl::StatusOr<Caller> caller = admission_->Admit(*context);
  absl::Status status = caller.status();
  if (status.ok()) status = admission_->Read(*bytes, &request);
  if (status.ok()) {
    status = begin(request, caller->owner, [call, answer, describe](absl::StatusOr<Result> result) {
      if (result.ok()) *answer = describe(*result);
      call->End(result.status());
    });
  }
  if (!status.ok()) call->End(status);
  return call.get();
}

grpc::ServerUnaryReactor* SessionService::Create(grpc::CallbackServerContext* context,
                                                 const grpc::ByteBuffer* bytes,
                                                 grpc::ByteBuffer* answer) {
  return Call<v1::CreateSessionRequest, SessionInfo>(
      context, bytes, answer,
      [this](const v1::CreateSessionRequest& request, const std::string& owner,
             Reply<SessionInfo> reply) -> absl::Status {
        ASSIGN_OR_RETURN(SessionSpec spec, TranslateCreate(request, owner));
        engine_->CreateSession(std::move(spec), std::move(reply));
        return absl::OkStatus();
      },
      SessionBytes);
}

template <typename Wire, auto kMethod>
grpc::ServerUnaryReactor* SessionService::CallOnSession(grpc::CallbackServerContext* context,
                                                        const grpc::ByteBuffer* bytes,
                                                        grpc::ByteBuffer* answer) {
  return Call<Wire, SessionInfo>(
      context, bytes, answer,
      [this](const Wire& request, const std::string& owner,
             Reply<SessionInfo> reply) -> absl::Status {
        ASSIGN_OR_RETURN(SessionKey key, KeyOf(request.id(), owner));
        (engine_->*kMethod)(std::move(key), std::move(reply));
        return absl::OkStatus();
      },
      SessionBytes);
}

grpc::ServerUnaryReactor* SessionService::Get(grpc::CallbackServerContext* context,
                                              const grpc::ByteBuffer* bytes,
                                              grpc::ByteBuffer* answer) {
  return CallOnSession<v1::GetSessionRequest, &Engine::GetSession>(context, bytes, answer);
}

grpc::ServerUnaryReactor* SessionService::Delete(grpc::CallbackServerContext* context,
                                                 const grpc::ByteBuffer* bytes,
                                                 grpc::ByteBuffer* answer) {
  return CallOnSession<v1::DeleteSessionRequest, &Engine::DeleteSession>(context, bytes, answer);
}

grpc::ServerUnaryReactor* SessionService::List(grpc::CallbackServerContext* context,
                                               const grpc::ByteBuffer* bytes,
                                               grpc::ByteBuffer* answer) {
  const auto page_size = std::make_shared<int32_t>(kDefaultPage);
  return Call<v1::ListSessionsRequest, std::vector<SessionInfo>>(
      context, bytes, answer,
      [this, page_size](const v1::ListSessionsRequest& request, const std::string& owner,
                        Reply<std::vector<SessionInfo>> reply) -> absl::Status {
        if (request.page_size() != 0) *page_size = request.page_size();
        if (*page_size < 1 || *page_size > kMaxPage) {
          return absl::InvalidArgumentError(
              absl::StrCat("page_size is ", *page_size, "; it must be from 1 to ", kMaxPage));
        }
        // One more than the page tells whether another one follows.
        engine_->ListSessions(owner, request.page_token(), *page_size + 1, std::move(reply));
        return absl::OkStatus();
      },
      [page_size](const std::vector<SessionInfo>& sessions) {
        v1::ListSessionsResponse response;
        for (const SessionInfo& info : sessions) {
          if (response.sessions_size() == *page_size) {
            response.set_next_page_token(response.sessions(*page_size - 1).id());
            break;
          }
          DescribeSession(info, response.add_sessions());
        }
        return SerializeMessage(response);
      });
}

grpc::ServerUnaryReactor* SessionService::Fork(grpc::CallbackServerContext* context,
                                               const grpc::ByteBuffer* bytes,
                                               grpc::ByteBuffer* answer) {
  return Call<v1::ForkSessionRequest, std::vector<SessionInfo>>(
      context, bytes, answer,
      [this](const v1::ForkSessionRequest& request, const std::string& owner,
             Reply<std::vector<SessionInfo>> reply) -> absl::Status {
        ASSIGN_OR_RETURN(SessionKey key, KeyOf(request.id(), owner));
        ASSIGN_OR_RETURN(std::vector<std::string> ids, TranslateFork(request));
        engine_->ForkSession(std::move(key), std::move(ids), std::move(reply));
        return absl::OkStatus();
      },
      [](const std::vector<SessionInfo>& sessions) {
        v1::ForkSessionResponse response;
        for (const SessionInfo& info : sessions) DescribeSession(info, response.add_sessions());
        return SerializeMessage(response);
      });
}

grpc::ServerUnaryReactor* SessionService::Rewind(grpc::CallbackServerContext* context,
                                                 const grpc::ByteBuffer* bytes,
                                                 grpc::ByteBuffer* answer) {
  return Call<v1::RewindSessionRequest, SessionInfo>(
      context, bytes, answer,
      [this](const v1::RewindSessionRequest& request, const std::string& owner,
             Reply<SessionInfo> reply) -> absl::Status {
        ASSIGN_OR_RETURN(const SessionKey key, KeyOf(request.id(), owner));
        if (request.by_case() == v1::RewindSessionRequest::BY_NOT_SET) {
          return absl::InvalidArgumentError(
              "the request says not how far; set to_tokens or drop_tokens");
        }
        const bool drops = request.has_drop_tokens();
        const int32_t tokens = drops ? request.drop_tokens() : request.to_tokens();
        if (tokens < 0) {
          return absl::InvalidArgumentError(absl::StrCat(
              drops ? "drop_tokens" : "to_tokens", " is ", tokens, "; it must be at least 0"));
        }
        const auto counts =
            drops ? retnet::Rewind::Counts::kDropped : retnet::Rewind::Counts::kKept;
        engine_->RewindSession(key, {counts, tokens}, std::move(reply));
        return absl::OkStatus();
      },
      SessionBytes);
}

grpc::ServerWriteReactor<grpc::ByteBuffer>* SessionService::Export(
    grpc::CallbackServerContext* context, const grpc::ByteBuffer* bytes) {
  auto call = std::make_shared<SnapshotExport>(admission_);
  call->Open();
  const auto begin = [&]() -> absl::Status {
    ASSIGN_OR_RETURN(const Caller caller, admission_->Admit(*context));
    v1::ExportSessionRequest request;
    RETURN_IF_ERROR(admission_->Read(*bytes, &request));
    ASSIGN_OR_RETURN(SessionKey key, KeyOf(request.id(), caller.owner));
    engine_->ExportSession(std::move(key), [this, call](absl::StatusOr<Snapshot> snapshot) {
      if (!snapshot.ok()) return call->Send(snapshot.status());
      snapshots_.Post([this, call, snapshot = *std::move(snapshot)] {
        call->Send(EncodeSnapshot(snapshot, engine_->snapshot_format()));
      });
    });
    return absl::OkStatus();
  };
  if (absl::Status status = begin(); !status.ok()) call->Send(status);
  return call.get();
}

grpc::ServerReadReactor<grpc::ByteBuffer>* SessionService::Import(
    grpc::CallbackServerContext* context, grpc::ByteBuffer* answer) {
  const absl::StatusOr<Caller> caller = admission_->Admit(*context);
  auto call = std::make_shared<SnapshotImport>(
      admission_, MaxSnapshotBytes(*engine_),
      [this, answer, owner = caller.ok() ? caller->owner : ""](
          const v1::CreateSessionRequest& session, std::string snapshot,
          std::function<void(const absl::Status&)> end) {
        const absl::StatusOr<SessionSpec> spec = TranslateCreate(session, owner);
        if (!spec.ok()) return end(spec.status());
        snapshots_.Post([this, answer, end, spec = *spec, bytes = std::move(snapshot)] {
          absl::StatusOr<Snapshot> decoded = DecodeSnapshot(bytes, engine_->snapshot_format());
          if (!decoded.ok()) return end(decoded.status());
          engine_->ImportSession(spec, *std::move(decoded),
                                 [answer, end](absl::StatusOr<SessionInfo> info) {
                                   if (info.ok()) *answer = SessionBytes(*info);
                                   end(info.status());
                                 });
        });
      });
  call->Open();
  call->Start(caller.status());
  return call.get();
}

}  // namespace retnet
