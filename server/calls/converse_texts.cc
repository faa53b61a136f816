// What a worker does for a conversation: it turns messages into the next request.
#include <memory>
#include <utility>

#include "absl/time/clock.h"
#include "kernels/status_macros.h"
#include "server/calls/converse_stream.h"

namespace retnet {

void ConverseStream::Obey(std::shared_ptr<Task> task) {
  if (absl::Status status = Type(task->messages); !status.ok()) {
    const MutexLock lock(&mu_);
    return End(status);
  }
  Tokenize(std::move(task));
}

absl::Status ConverseStream::MayGoOn() const {
  if (!failure_.ok()) return failure_;
  if (absl::Now() < deadline_) return absl::OkStatus();
  return absl::DeadlineExceededError("the deadline passed while a text was tokenized");
}

void ConverseStream::Tokenize(std::shared_ptr<Task> task) {
  absl::StatusOr<bool> done = false;
  do {
    {
      const MutexLock lock(&mu_);
      if (absl::Status status = MayGoOn(); !status.ok()) return End(status);
    }
    done = typed_.Step(task->turn_ends());
  } while (done.ok() && !*done && !task->is_long);
  if (done.ok() && !*done) {
    return context_.worker_for_long_texts->Post(
        [self = std::static_pointer_cast<ConverseStream>(shared_from_this()),
         task = std::move(task)]() mutable { self->Tokenize(std::move(task)); });
  }
  absl::Status status = done.status();
  if (status.ok()) status = Act(*task);
  if (status.ok()) return;
  const MutexLock lock(&mu_);
  End(status);
}

absl::Status ConverseStream::Act(const Task& task) {
  TypedTokens prompt = typed_.Take(task.turn_ends());
  if (task.goes()) return Answer(task.messages.back().go(), std::move(prompt));
  if (!prompt.empty()) {
    Prefill(std::move(prompt));
    return absl::OkStatus();
  }
  const MutexLock lock(&mu_);
  if (task.closed) {
    End(absl::OkStatus());
    return absl::OkStatus();
  }
  Rest();
  if (!inbox_.empty() || closed_ || !failure_.ok()) Wake();
  return absl::OkStatus();
}

absl::Status ConverseStream::Type(const Messages& messages) {
  for (const v1::ConverseRequest& message : messages) {
    switch (message.event_case()) {
      case v1::ConverseRequest::kText:
        RETURN_IF_ERROR(typed_.PushText(message.text()));
        break;
      case v1::ConverseRequest::kTokenIds:
        typed_.PushTokens({message.token_ids().ids().data(),
                           static_cast<size_t>(message.token_ids().ids_size())});
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
  return absl::OkStatus();
}

void ConverseStream::Prepare(TypedTokens prompt, PromptPlan* plan) const {
  Request& request = plan->request;
  request.head = MakeHead(context_.model->tokenizer, std::move(prompt.head), request.kind,
                          /*adds=*/!prompt.empty(), plan->begun);
  request.prompt = std::move(prompt.tokens);
  request.session = session_;
  request.tenant = tenant_;
  request.keep = true;
  request.wait_for_session = wait_;
  request.priority = priority_;
  request.deadline = deadline_;
}

absl::Status ConverseStream::Answer(const v1::GenerateRequest& go, TypedTokens prompt) {
  ASSIGN_OR_RETURN(GenerationPlan plan, TranslateAnswer(go, *context_.model));
  Prepare(std::move(prompt), &plan);
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

void ConverseStream::Prefill(TypedTokens prompt) {
  PromptPlan plan;
  plan.request.kind = RequestKind::kPrefill;
  Prepare(std::move(prompt), &plan);
  Submit(context_.access, {std::move(plan.request)});
}

}  // namespace retnet
