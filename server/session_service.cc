#include "server/session_service.h"

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "engine/snapshots/snapshot.h"
#include "kernels/status_macros.h"
#include "server/calls/snapshot_streams.h"
#include "server/calls/unary_call.h"
#include "server/identity/caller.h"
#include "server/text/text_limits.h"
#include "server/wire/messages.h"
#include "server/wire/session_translation.h"

namespace retnet {
namespace {

constexpr int32_t kDefaultPage = 100;
constexpr int32_t kMaxPage = 1000;

// What an answer of sessions keeps free for its other fields: a page token, and lengths.
constexpr size_t kAnswerMargin = 1 << 10;
// What a session takes in an answer beside its own bytes: its tag and its length.
constexpr size_t kSessionHead = 5;
// More forks than this may have an answer that a client does not receive by default. A session has
// labels of at most 64 KiB.
constexpr size_t kFewForks = 48;

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

// Describes a page, which ends early where a client would not receive more.
void DescribePage(const std::vector<SessionInfo>& sessions, int32_t page_size,
                  v1::ListSessionsResponse* response) {
  size_t bytes = kAnswerMargin;
  for (const SessionInfo& info : sessions) {
    v1::Session session;
    DescribeSession(info, &session);
    bytes += session.ByteSizeLong() + kSessionHead;
    if (const int32_t taken = response->sessions_size();
        taken == page_size || (taken > 0 && bytes > kMaxAnswerBytes)) {
      response->set_next_page_token(response->sessions(taken - 1).id());
      return;
    }
    *response->add_sessions() = std::move(session);
  }
}

// RESOURCE_EXHAUSTED if a client would not receive the answer with so many forks of a session.
absl::Status CheckForks(const SessionInfo& parent, const std::vector<std::string>& ids) {
  constexpr size_t kIdBytes = 256;  // at most
  v1::Session session;
  DescribeSession(parent, &session);
  const size_t each = session.ByteSizeLong() + kIdBytes + kSessionHead;
  if (each * ids.size() + kAnswerMargin <= kMaxAnswerBytes) return absl::OkStatus();
  return absl::ResourceExhaustedError(absl::StrCat(
      ids.size(), " forks of a session with these labels have ", each * ids.size(),
      " bytes in the answer; a client receives ", kMaxAnswerBytes, " by default: ask for at most ",
      (kMaxAnswerBytes - kAnswerMargin) / each, " (new_ids or count) a call"));
}

constexpr char kLargeSession[] = "give the session fewer labels";

}  // namespace

template <typename Wire, typename Result, typename Response>
grpc::ServerUnaryReactor* SessionService::Call(
    grpc::CallbackServerContext* context, const grpc::ByteBuffer* bytes, grpc::ByteBuffer* answer,
    std::function<absl::Status(const Wire&, const std::string& owner, Reply<Result>)> begin,
    std::function<void(const Result&, Response*)> describe) {
  auto call = std::make_shared<UnaryCall>(admission_, context, answer);
  call->Open();
  Wire request;
  const absl::StatusOr<Caller> caller = admission_->Admit(*context);
  absl::Status status = caller.status();
  if (status.ok()) status = admission_->Read(*bytes, &request);
  if (status.ok()) {
    status = begin(request, caller->owner, [call, describe](absl::StatusOr<Result> result) {
      if (!result.ok()) return call->Refuse(result.status());
      Response response;
      describe(*result, &response);
      call->Answer(response, kLargeSession);
    });
  }
  if (!status.ok()) call->Refuse(status);
  return call.get();
}

grpc::ServerUnaryReactor* SessionService::Create(grpc::CallbackServerContext* context,
                                                 const grpc::ByteBuffer* bytes,
                                                 grpc::ByteBuffer* answer) {
  return Call<v1::CreateSessionRequest, SessionInfo, v1::Session>(
      context, bytes, answer,
      [this](const v1::CreateSessionRequest& request, const std::string& owner,
             Reply<SessionInfo> reply) -> absl::Status {
        ASSIGN_OR_RETURN(SessionSpec spec, TranslateCreate(request, owner));
        engine_->CreateSession(std::move(spec), std::move(reply));
        return absl::OkStatus();
      },
      DescribeSession);
}

template <typename Wire, auto kMethod>
grpc::ServerUnaryReactor* SessionService::CallOnSession(grpc::CallbackServerContext* context,
                                                        const grpc::ByteBuffer* bytes,
                                                        grpc::ByteBuffer* answer) {
  return Call<Wire, SessionInfo, v1::Session>(
      context, bytes, answer,
      [this](const Wire& request, const std::string& owner,
             Reply<SessionInfo> reply) -> absl::Status {
        ASSIGN_OR_RETURN(SessionKey key, KeyOf(request.id(), owner));
        (engine_->*kMethod)(std::move(key), std::move(reply));
        return absl::OkStatus();
      },
      DescribeSession);
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
  return Call<v1::ListSessionsRequest, std::vector<SessionInfo>, v1::ListSessionsResponse>(
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
      [page_size](const std::vector<SessionInfo>& sessions, v1::ListSessionsResponse* response) {
        DescribePage(sessions, *page_size, response);
      });
}

grpc::ServerUnaryReactor* SessionService::Fork(grpc::CallbackServerContext* context,
                                               const grpc::ByteBuffer* bytes,
                                               grpc::ByteBuffer* answer) {
  return Call<v1::ForkSessionRequest, std::vector<SessionInfo>, v1::ForkSessionResponse>(
      context, bytes, answer,
      [this](const v1::ForkSessionRequest& request, const std::string& owner,
             Reply<std::vector<SessionInfo>> reply) -> absl::Status {
        ASSIGN_OR_RETURN(SessionKey key, KeyOf(request.id(), owner));
        ASSIGN_OR_RETURN(std::vector<std::string> ids, TranslateFork(request));
        if (ids.size() <= kFewForks) {
          engine_->ForkSession(std::move(key), std::move(ids), std::move(reply));
          return absl::OkStatus();
        }
        engine_->GetSession(key, [this, ids, reply](absl::StatusOr<SessionInfo> parent) {
          if (!parent.ok()) return reply(parent.status());
          if (absl::Status fits = CheckForks(*parent, ids); !fits.ok()) return reply(fits);
          engine_->ForkSession(parent->key, ids, reply);
        });
        return absl::OkStatus();
      },
      [](const std::vector<SessionInfo>& sessions, v1::ForkSessionResponse* response) {
        for (const SessionInfo& info : sessions) DescribeSession(info, response->add_sessions());
      });
}

grpc::ServerUnaryReactor* SessionService::Rewind(grpc::CallbackServerContext* context,
                                                 const grpc::ByteBuffer* bytes,
                                                 grpc::ByteBuffer* answer) {
  return Call<v1::RewindSessionRequest, SessionInfo, v1::Session>(
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
      DescribeSession);
}

grpc::ServerWriteReactor<grpc::ByteBuffer>* SessionService::Export(
    grpc::CallbackServerContext* context, const grpc::ByteBuffer* bytes) {
  const absl::StatusOr<Caller> caller = admission_->Admit(*context);
  auto call = std::make_shared<SnapshotExport>(admission_, context,
                                               caller.ok() ? caller->tenant : Tenant());
  call->Open();
  const auto begin = [&]() -> absl::Status {
    RETURN_IF_ERROR(caller.status());
    v1::ExportSessionRequest request;
    RETURN_IF_ERROR(admission_->Read(*bytes, &request));
    ASSIGN_OR_RETURN(const SessionKey key, KeyOf(request.id(), caller->owner));
    call->Start(MaxSnapshotBytes(*engine_), [this, key, call] {
      engine_->ExportSession(key, [this, call](absl::StatusOr<Snapshot> snapshot) {
        if (!snapshot.ok()) return call->Send(snapshot.status());
        snapshots_.Post([this, call, snapshot = *std::move(snapshot)]() mutable {
          absl::StatusOr<std::string> encoded =
              EncodeSnapshot(snapshot, engine_->snapshot_format());
          snapshot = {};  // before the share shrinks to the encoding
          call->Send(std::move(encoded));
        });
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
      admission_, context, caller.ok() ? caller->tenant : Tenant(), MaxSnapshotBytes(*engine_),
      [this, answer, owner = caller.ok() ? caller->owner : ""](
          const v1::CreateSessionRequest& session, std::string snapshot,
          std::function<void(const absl::Status&)> end) {
        const absl::StatusOr<SessionSpec> spec = TranslateCreate(session, owner);
        if (!spec.ok()) return end(spec.status());
        snapshots_.Post([this, answer, end, spec = *spec, bytes = std::move(snapshot)]() mutable {
          absl::StatusOr<Snapshot> decoded = DecodeSnapshot(bytes, engine_->snapshot_format());
          std::string().swap(bytes);
          if (!decoded.ok()) return end(decoded.status());
          engine_->ImportSession(spec, *std::move(decoded),
                                 [answer, end](absl::StatusOr<SessionInfo> info) {
                                   v1::Session wire;
                                   if (info.ok()) DescribeSession(*info, &wire);
                                   if (info.ok()) *answer = SerializeMessage(wire);
                                   end(info.status());
                                 });
        });
      });
  call->Open();
  call->Start(caller.status());
  return call.get();
}

}  // namespace retnet
