#include "server/calls/converse_stream.h"

#include <memory>
#include <optional>
#include <utility>

#include "absl/time/clock.h"
#include "kernels/status_macros.h"
#include "server/calls/end_call.h"
#include "server/wire/messages.h"
#include "server/wire/session_translation.h"

namespace retnet {
namespace {

// What a client may send ahead, and how many messages may wait for it, before it has to wait.
constexpr size_t kMaxInboxBytes = 256 << 10;
constexpr size_t kMaxInboxMessages = 1024;
constexpr size_t kMaxOutboxMessages = 64;
// Encoding more would keep other conversations waiting.
constexpr size_t kLongTextBytes = 32 << 10;
// When a session that should have been deleted goes at last, the server having been stopped.
constexpr absl::Duration kForgottenSession = absl::Hours(24);

}  // namespace

ConverseStream::ConverseStream(CallContext context, grpc::CallbackServerContext* grpc_context,
                               Caller caller, absl::Time deadline)
    : EngineCall(&context.admission->in_flight_calls()),
      context_(context),
      grpc_context_(grpc_context),
      deadline_(deadline),
      typed_(context_.model->tokenizer, context_.model->text),
      chunks_(context_.model->tokenizer),
      unread_(&context_.admission->unread_output()) {
  session_.owner = std::move(caller.owner);
  tenant_ = std::move(caller.tenant);
  ChargeTo(std::move(caller.principal));
}

void ConverseStream::Start(const absl::Status& admitted) {
  const MutexLock lock(&mu_);
  if (!admitted.ok()) return Fail(admitted);
  Read();
  Rest();
}

void ConverseStream::Read() {
  const bool full = inbox_bytes_ >= kMaxInboxBytes || inbox_.size() >= kMaxInboxMessages;
  if (reading_ || closed_ || ended_ || full) return;
  reading_ = true;
  StartRead(&incoming_);
}

void ConverseStream::OnReadDone(bool ok) {
  const MutexLock lock(&mu_);
  reading_ = false;
  if (!ok) {
    closed_ = true;
    return Wake();
  }
  grpc::ByteBuffer bytes;  // gives its memory back before the next message comes
  bytes.Swap(&incoming_);
  absl::StatusOr<TextBudget::Hold> hold =
      context_.text_budget->Take(static_cast<int64_t>(bytes.Length()));
  if (!hold.ok()) return Fail(hold.status());
  v1::ConverseRequest message;
  if (absl::Status status = context_.admission->Read(bytes, &message); !status.ok()) {
    return Fail(status);
  }
  hold_.Add(*std::move(hold));
  inbox_bytes_ += bytes.Length();
  inbox_.push_back(std::move(message));
  StopIfAsked();
  Read();
  Wake();
}

void ConverseStream::OnCancel() {
  {
    const MutexLock lock(&mu_);
    gone_ = true;
    Fail(absl::CancelledError("the client has gone"));
  }
  Cancel();
}

void ConverseStream::OnDone() {
  {
    const MutexLock lock(&mu_);
    unread_.Close();
  }
  Close();
}

void ConverseStream::EndUnread(const absl::Status& status) {
  const MutexLock lock(&mu_);
  if (!open()) return;
  gone_ = true;
  Fail(status);
  // The write in flight fails, and OnCancel cancels the answer.
  EndCall(grpc_context_, status);
}

void ConverseStream::OnWriteDone(bool ok) {
  {
    const MutexLock lock(&mu_);
    writing_ = false;
    outgoing_.Clear();
    if (!ok) {
      gone_ = true;
      Fail(absl::CancelledError("the client has gone"));
    }
    Pump();
    if (stalled_ && outbox_.size() < kMaxOutboxMessages) Wake();
    if (!working_) Rest();
  }
  if (!ok) Cancel();
}

void ConverseStream::StopIfAsked() {
  if (!answering_) return;
  for (const v1::ConverseRequest& message : inbox_) {
    if (message.has_go()) return;  // the next stop is for that one
    if (message.has_stop()) return StopSamples();
  }
}

void ConverseStream::Wake() {
  if (working_ || ended_) return;
  Proceed();
}

void ConverseStream::Proceed() {
  hold_.Keep(static_cast<int64_t>(inbox_bytes_ + typed_.held_bytes()));
  working_ = true;
  stalled_ = false;
  SetIdle(false);
  context_.worker->Post(
      [self = std::static_pointer_cast<ConverseStream>(shared_from_this())] { self->Continue(); });
}

void ConverseStream::Rest() {
  hold_.Keep(static_cast<int64_t>(inbox_bytes_ + typed_.held_bytes()));
  working_ = false;
  // A drain waits for what has been said to be written, not for what may be typed yet.
  SetIdle(!ended_ && !writing_ && outbox_.empty());
}

void ConverseStream::Fail(const absl::Status& status) {
  if (failure_.ok()) failure_ = status;
  Wake();
}

void ConverseStream::End(const absl::Status& status) {
  ended_ = true;
  status_ = status;
  if (!keep_ && !session_.id.empty()) {
    context_.access->engine->DeleteSession(session_, [](const auto&) {});
  }
  Pump();
}

void ConverseStream::Push(v1::ConverseResponse event) {
  const auto bytes = static_cast<int64_t>(event.SpaceUsedLong());
  outbox_.emplace_back(std::move(event), bytes);
  outbox_bytes_ += bytes;
}

void ConverseStream::Say(v1::ConverseResponse event) {
  Push(std::move(event));
  Pump();
}

void ConverseStream::Pump() {
  WriteNext();
  unread_.Set(this, outbox_bytes_ + chunks_.bytes() +
                        (writing_ ? static_cast<int64_t>(outgoing_.Length()) : 0));
}

void ConverseStream::WriteNext() {
  if (writing_ || finished_) return;
  v1::ConverseResponse event;
  bool more = false;
  if (!outbox_.empty()) {
    event = std::move(outbox_.front().first);
    outbox_bytes_ -= outbox_.front().second;
    outbox_.pop_front();
    more = true;
  } else {
    more = chunks_.Take(event.mutable_chunk());
  }
  if (more && !gone_) {
    outgoing_ = SerializeMessage(event);
    writing_ = true;
    StartWrite(&outgoing_);
  } else if (ended_) {
    finished_ = true;
    Finish(ToGrpcStatus(status_));
  }
}

size_t ConverseStream::TakeMessages(Messages* messages) {
  size_t bytes = 0;
  while (!inbox_.empty() && (messages->empty() || !messages->back().has_go())) {
    bytes += inbox_.front().text().size();
    messages->push_back(std::move(inbox_.front()));
    inbox_.pop_front();
  }
  if (inbox_.empty()) inbox_bytes_ = 0;
  Read();
  return bytes;
}

void ConverseStream::Continue() {
  const auto task = std::make_shared<Task>();
  std::optional<v1::ConverseRequest::Begin> begin;
  {
    const MutexLock lock(&mu_);
    if (!failure_.ok()) return End(failure_);
    if (outbox_.size() >= kMaxOutboxMessages) {
      stalled_ = true;
      return Rest();
    }
    if (inbox_.empty() && !closed_) return Rest();
    if (begun_) {
      task->is_long = TakeMessages(&task->messages) > kLongTextBytes;
      task->closed = closed_ && inbox_.empty();
    } else {
      if (inbox_.empty()) return End(absl::OkStatus());
      begin.emplace();
      if (inbox_.front().has_begin()) {
        *begin = std::move(*inbox_.front().mutable_begin());
        inbox_.pop_front();
      }
    }
  }
  if (begin.has_value()) return Begin(*begin);
  if (!task->is_long) return Obey(task);
  context_.worker_for_long_texts->Post(
      [self = std::static_pointer_cast<ConverseStream>(shared_from_this()), task] {
        self->Obey(task);
      });
}

void ConverseStream::Begin(const v1::ConverseRequest::Begin& begin) {
  begun_ = true;
  const bool named = !begin.session_id().empty();
  keep_ = begin.has_keep() ? begin.keep() : named;
  wait_ = begin.when_busy() == v1::WHEN_BUSY_WAIT;
  priority_ = begin.priority();
  const auto known = [self = std::static_pointer_cast<ConverseStream>(shared_from_this()),
                      seen = begin.session_tokens()](absl::StatusOr<SessionInfo> session) {
    if (session.ok()) {
      const absl::Status older = CheckNotOlder(session->key, session->tokens, seen);
      if (!older.ok()) session = older;
    }
    const MutexLock lock(&self->mu_);
    if (session.ok()) {
      self->session_ = session->key;
      v1::ConverseResponse event;
      event.mutable_begun()->set_session_id(session->key.id);
      event.mutable_begun()->set_session_tokens(session->tokens);
      self->Say(std::move(event));
    } else if (self->failure_.ok()) {
      self->failure_ = session.status();
    }
    self->Proceed();
  };
  SessionKey key = {session_.owner, begin.session_id()};
  absl::Status status = named ? CheckSessionId("session_id", key.id) : absl::OkStatus();
  if (begin.has_session_tokens()) {
    status.Update(SeenSessionTokens(key.id, begin.session_tokens()).status());
  }
  if (status.ok() && context_.model->tokenizer != nullptr) {
    const auto bos = BosBefore(begin.has_add_bos() ? std::optional(begin.add_bos()) : std::nullopt,
                               *context_.model);
    status = bos.status();
    if (begin.parse_special_tokens()) typed_.ParseSpecialTokens();
    if (bos.ok()) typed_.set_bos({.token = *bos, .only_if_first = !begin.has_add_bos()});
  }
  if (!status.ok()) {
    known(status);
  } else if (named) {
    context_.access->engine->GetSession(std::move(key), known);
  } else {
    SessionSpec spec;
    spec.key = std::move(key);
    if (!keep_) spec.ttl = kForgottenSession;
    context_.access->engine->CreateSession(std::move(spec), known);
  }
}

void ConverseStream::Answered(int /*sample*/, std::span<const SampleResult> answers) {
  if (gone_ || !answering_) return;
  chunks_.Accept(0, answers);
  Pump();
}

void ConverseStream::Ended(int /*sample*/, const Completion& completion) {
  v1::ConverseResponse event;
  if (answering_) {
    answering_ = false;
    chunks_.End(0, completion);
    while (chunks_.Take(event.mutable_chunk())) Push(std::exchange(event, {}));
    *event.mutable_final() = chunks_.TakeFinal();
  } else {
    event.mutable_typed()->set_session_tokens(completion.session_tokens);
  }
  if (completion.status.ok()) Say(std::move(event));
}

void ConverseStream::AllEnded(const absl::Status& status) {
  if (!status.ok() && failure_.ok()) failure_ = status;
  Proceed();
}

}  // namespace retnet
