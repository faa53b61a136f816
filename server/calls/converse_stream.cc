#include "server/calls/converse_stream.h"

#include <memory>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
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
// A text without a space to cut it at cannot be computed while it is typed.
constexpr size_t kMaxHeldBytes = 4 << 20;
// When a session that should have been deleted goes at last, the server having been stopped.
constexpr absl::Duration kForgottenSession = absl::Hours(24);

}  // namespace

ConverseStream::ConverseStream(CallContext context, grpc::CallbackServerContext* grpc_context,
                               Caller caller, absl::Time deadline)
    : EngineCall(&context.admission->in_flight_calls()),
      context_(context),
      grpc_context_(grpc_context),
      deadline_(deadline),
      typed_(context_.model->tokenizer),
      chunks_(context_.model->tokenizer),
      unread_(&context_.admission->unread_output()) {
  session_.owner = std::move(caller.owner);
  tenant_ = std::move(caller.tenant);
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
  v1::ConverseRequest message;
  if (absl::Status status = context_.admission->Read(incoming_, &message); !status.ok()) {
    return Fail(status);
  }
  inbox_bytes_ += incoming_.Length();
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
  working_ = true;
  stalled_ = false;
  SetIdle(false);
  context_.worker->Post(
      [self = std::static_pointer_cast<ConverseStream>(shared_from_this())] { self->Continue(); });
}

void ConverseStream::Rest() {
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
  const auto messages = std::make_shared<Messages>();
  std::optional<v1::ConverseRequest::Begin> begin;
  bool closed = false;
  bool is_long = false;
  {
    const MutexLock lock(&mu_);
    if (!failure_.ok()) return End(failure_);
    if (outbox_.size() >= kMaxOutboxMessages) {
      stalled_ = true;
      return Rest();
    }
    if (inbox_.empty() && !closed_) return Rest();
    if (begun_) {
      is_long = TakeMessages(messages.get()) > kLongTextBytes;
      closed = closed_ && inbox_.empty();
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
  if (!is_long) return Obey(*messages, closed);
  context_.worker_for_long_texts->Post(
      [self = std::static_pointer_cast<ConverseStream>(shared_from_this()), messages, closed] {
        self->Obey(*messages, closed);
      });
}

void ConverseStream::Begin(const v1::ConverseRequest::Begin& begin) {
  begun_ = true;
  const bool named = !begin.session_id().empty();
  keep_ = begin.has_keep() ? begin.keep() : named;
  wait_ = begin.when_busy() == v1::WHEN_BUSY_WAIT;
  priority_ = begin.priority();
  const auto known = [self = std::static_pointer_cast<ConverseStream>(shared_from_this())](
                         absl::StatusOr<SessionInfo> session) {
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
  if (status.ok() && context_.model->tokenizer != nullptr) {
    const auto bos = BosBefore(begin.has_add_bos() ? std::optional(begin.add_bos()) : std::nullopt,
                               *context_.model);
    status = bos.status();
    if (bos.ok()) (begin.has_add_bos() ? bos_ : first_token_) = *bos;
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

void ConverseStream::Obey(const Messages& messages, bool closed) {
  const bool goes = !messages.empty() && messages.back().has_go();
  absl::StatusOr<std::vector<TokenId>> prompt = Type(messages, /*turn_ends=*/goes || closed);
  absl::Status status = prompt.status();
  if (status.ok() && goes) {
    status = Answer(messages.back().go(), *std::move(prompt));
  } else if (status.ok() && !prompt->empty()) {
    return Prefill(*std::move(prompt));
  } else if (status.ok()) {
    const MutexLock lock(&mu_);
    if (closed) return End(absl::OkStatus());
    Rest();
    if (!inbox_.empty() || closed_ || !failure_.ok()) Wake();
    return;
  }
  if (status.ok()) return;
  const MutexLock lock(&mu_);
  End(status);
}

absl::StatusOr<std::vector<TokenId>> ConverseStream::Type(const Messages& messages,
                                                          bool turn_ends) {
  for (const v1::ConverseRequest& message : messages) {
    switch (message.event_case()) {
      case v1::ConverseRequest::kText:
        RETURN_IF_ERROR(typed_.PushText(message.text()));
        break;
      case v1::ConverseRequest::kTokenIds:
        // Ids are taken as they are, at a history's begin too.
        if (typed_.empty()) bos_ = first_token_ = kNoToken;
        RETURN_IF_ERROR(typed_.PushTokens({message.token_ids().ids().data(),
                                           static_cast<size_t>(message.token_ids().ids_size())}));
        break;
      case v1::ConverseRequest::kGo:
      case v1::ConverseRequest::kStop:
        break;
      case v1::ConverseRequest::kBegin:
        return absl::InvalidArgumentError("begin comes in a later message than the first");
      case v1::ConverseRequest::EVENT_NOT_SET:
        return absl::InvalidArgumentError(
            "a message has none of begin, text, token_ids, go and stop");
    }
  }
  const bool goes = !messages.empty() && messages.back().has_go();
  ASSIGN_OR_RETURN(std::vector<TokenId> tokens,
                   turn_ends ? typed_.TakeAll() : typed_.TakeCertain());
  if (typed_.held_bytes() > kMaxHeldBytes) {
    return absl::InvalidArgumentError(absl::StrCat("text has more than ", kMaxHeldBytes,
                                                   " bytes and no space at which it can be cut"));
  }
  if (bos_ != kNoToken && (!tokens.empty() || goes)) {
    tokens.insert(tokens.begin(), std::exchange(bos_, kNoToken));
  }
  return tokens;
}

Request ConverseStream::Prepared(Request request, std::vector<TokenId> prompt) const {
  request.prompt = std::move(prompt);
  request.first_token = first_token_;
  request.session = session_;
  request.tenant = tenant_;
  request.keep = true;
  request.wait_for_session = wait_;
  request.priority = priority_;
  request.deadline = deadline_;
  return request;
}

absl::Status ConverseStream::Answer(const v1::GenerateRequest& go, std::vector<TokenId> prompt) {
  ASSIGN_OR_RETURN(GenerationPlan plan, TranslateAnswer(go, *context_.model));
  plan.request = Prepared(std::move(plan.request), std::move(prompt));
  {
    const MutexLock lock(&mu_);
    answering_ = true;
    chunks_.Begin(plan);
  }
  Submit(context_.access, SampleRequests(plan, context_.model->tokenizer));
  const MutexLock lock(&mu_);
  StopIfAsked();
  return absl::OkStatus();
}

void ConverseStream::Prefill(std::vector<TokenId> prompt) {
  Request request;
  request.kind = RequestKind::kPrefill;
  Submit(context_.access, {Prepared(std::move(request), std::move(prompt))});
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
