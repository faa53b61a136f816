#include "server/generation_service.h"

#include <memory>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "kernels/status_macros.h"
#include "server/calls/complete_call.h"
#include "server/calls/converse_stream.h"
#include "server/calls/score_stream.h"
#include "server/calls/token_stream.h"
#include "server/calls/unary_call.h"
#include "server/identity/caller.h"
#include "server/wire/messages.h"

namespace retnet {
namespace {

// Tokenizing took 1 to 4 MB/s in parts: a few milliseconds at the first bound, a quarter of a
// second at the second.
constexpr size_t kInlineRequestBytes = 4 << 10;
constexpr size_t kMediumRequestBytes = 256 << 10;

absl::Time Deadline(const grpc::CallbackServerContext& context) {
  const auto deadline = context.deadline();
  if (deadline == std::chrono::system_clock::time_point::max()) return absl::InfiniteFuture();
  return absl::FromChrono(deadline);
}

void DescribeDefaults(const GenerationConfig& defaults, v1::SamplingDefaults* wire) {
  if (defaults.temperature) wire->set_temperature(*defaults.temperature);
  if (defaults.top_k) wire->set_top_k(*defaults.top_k);
  if (defaults.top_p) wire->set_top_p(*defaults.top_p);
  if (defaults.min_p) wire->set_min_p(*defaults.min_p);
  if (defaults.repetition_penalty) wire->set_repetition_penalty(*defaults.repetition_penalty);
  if (defaults.max_new_tokens) wire->set_max_tokens(*defaults.max_new_tokens);
}

void DescribeModel(const ServedModel& model, const EngineOptions& options,
                   v1::GetModelResponse* wire) {
  const ModelInfo& info = model.info;
  wire->set_name(info.name);
  wire->set_backend(info.backend);
  wire->set_vocab_size(info.vocab_size);
  wire->set_parameters(info.parameters);
  wire->set_weight_bytes(info.weight_bytes);
  wire->set_max_context_length(options.max_context_length);
  wire->set_max_sequences(info.slots);
  // For clients of release 0.1.
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"
  wire->set_max_sessions(info.slots);
#pragma GCC diagnostic pop
  wire->set_max_queue(options.max_queue);
  wire->set_max_text_bytes(model.text.max_text_bytes);
  wire->set_state_bytes(info.base_bytes);
  wire->set_tail_token_bytes(info.tail_token_bytes);
  if (info.bos != kNoToken) wire->set_bos_token_id(info.bos);
  wire->mutable_eos_token_ids()->Add(info.eos.begin(), info.eos.end());
  wire->set_has_tokenizer(model.tokenizer != nullptr);
  wire->set_adds_bos(model.tokenizer != nullptr && model.tokenizer->adds_bos());
  DescribeDefaults(model.defaults, wire->mutable_sampling_defaults());
  wire->set_server_version(RETNET_VERSION);
}

}  // namespace

GenerationService::GenerationService(ServedModel model, EngineAccess access, Admission* admission)
    : model_(std::move(model)),
      access_(std::move(access)),
      engine_(access_.engine),
      admission_(admission),
      text_budget_(model_.text.texts_in_progress_bytes) {}

SerialExecutor* GenerationService::WorkerFor(size_t request_bytes) {
  if (request_bytes <= kInlineRequestBytes) return nullptr;
  return request_bytes <= kMediumRequestBytes ? &medium_requests_ : &large_requests_;
}

template <typename Wire, typename Plan>
struct GenerationService::Arrival {
  // Makes a plan of the message; `planned` gets it once its prompt is complete, with what the
  // message and the prompt's tokens take of the budget, or `refuse` why not.
  absl::StatusOr<Plan> (*plan)(const Wire& request, const ServedModel& model);
  std::function<void(Plan& plan, TextBudget::Hold hold)> planned;
  std::function<void(const absl::Status&)> refuse;
  std::function<bool()> cancelled;
  absl::Time deadline = absl::InfiniteFuture();

  TextBudget::Hold hold;
  size_t held_tokens = 0;  // of the prompt; `hold` has their memory
  SerialExecutor* worker = nullptr;
  Wire message;  // the plan has references to its text
  absl::StatusOr<Plan> made = absl::UnknownError("not read yet");
};

// The request's bytes live until the call ends, which it cannot before it is refused or planned.
template <typename Wire, typename Plan>
void GenerationService::Receive(const grpc::ByteBuffer* bytes,
                                std::shared_ptr<Arrival<Wire, Plan>> arrival) {
  absl::StatusOr<TextBudget::Hold> hold = text_budget_.Take(static_cast<int64_t>(bytes->Length()));
  if (!hold.ok()) return arrival->refuse(hold.status());
  arrival->hold = *std::move(hold);
  SerialExecutor* const worker = WorkerFor(bytes->Length());
  arrival->worker = worker;
  if (worker == nullptr) return Read(bytes, std::move(arrival));
  worker->Post(
      [this, bytes, arrival = std::move(arrival)]() mutable { Read(bytes, std::move(arrival)); });
}

template <typename Wire, typename Plan>
void GenerationService::Read(const grpc::ByteBuffer* bytes,
                             std::shared_ptr<Arrival<Wire, Plan>> arrival) {
  absl::Status status = admission_->Read(*bytes, &arrival->message);
  // Else gRPC keeps them until the call ends. They are its own, handed out as constant, and it does
  // not look at them again.
  const_cast<grpc::ByteBuffer*>(bytes)->Clear();
  if (status.ok()) {
    arrival->made = arrival->plan(arrival->message, model_);
    status = arrival->made.status();
  }
  if (!status.ok()) return arrival->refuse(status);
  Tokenize(std::move(arrival));
}

template <typename Wire, typename Plan>
void GenerationService::Tokenize(std::shared_ptr<Arrival<Wire, Plan>> arrival) {
  absl::StatusOr<bool> complete = false;
  do {
    if (arrival->cancelled()) return arrival->refuse(absl::CancelledError("the client has gone"));
    if (absl::Now() >= arrival->deadline) {
      return arrival->refuse(
          absl::DeadlineExceededError("the deadline passed while the text was tokenized"));
    }
    complete = ContinuePrompt(&*arrival->made, model_);
    absl::Status status = complete.status();
    if (status.ok()) status = HoldTokens(arrival.get());
    if (!status.ok()) return arrival->refuse(status);
  } while (!*complete && arrival->worker == nullptr);
  if (*complete) return arrival->planned(*arrival->made, std::move(arrival->hold));
  SerialExecutor* const worker = arrival->worker;
  worker->Post([this, arrival = std::move(arrival)]() mutable { Tokenize(std::move(arrival)); });
}

template <typename Wire, typename Plan>
absl::Status GenerationService::HoldTokens(Arrival<Wire, Plan>* arrival) {
  const Plan& plan = *arrival->made;
  const size_t tokens = plan.text != nullptr ? plan.text->tokens() : plan.request.prompt.size();
  if (tokens <= arrival->held_tokens) return absl::OkStatus();
  const size_t bytes = (tokens - arrival->held_tokens) * sizeof(TokenId);
  ASSIGN_OR_RETURN(TextBudget::Hold hold, text_budget_.Take(static_cast<int64_t>(bytes)));
  arrival->hold.Add(std::move(hold));
  arrival->held_tokens = tokens;
  return absl::OkStatus();
}

void GenerationService::PrepareSession(const SessionNeeds& needs, const SessionKey& session,
                                       std::shared_ptr<EngineCall> call,
                                       std::function<void(const SessionInfo&)> submit) {
  if (!needs.make && !needs.look) return submit(SessionInfo());
  Reply<SessionInfo> reply = [call, submit, made = needs.make](absl::StatusOr<SessionInfo> info) {
    if (!info.ok()) return call->Refuse(info.status());
    if (made) call->DeleteOnFailure(info->key);
    submit(*info);
  };
  if (needs.make) {
    SessionSpec spec;
    spec.key = session;
    engine_->CreateSession(std::move(spec), std::move(reply));
  } else {
    engine_->GetSession(session, std::move(reply));
  }
}

template <typename Call, typename Wire, typename Plan>
void GenerationService::Begin(grpc::CallbackServerContext* context, const grpc::ByteBuffer* bytes,
                              std::shared_ptr<Call> call, Translation<Wire, Plan> translate,
                              Submission<Plan> submit) {
  call->Open();
  absl::StatusOr<Caller> caller = admission_->Admit(*context);
  absl::Status status = caller.status();
  if (status.ok() && caller->principal != nullptr) status = caller->principal->Check();
  if (!status.ok()) return call->Refuse(status);
  call->ChargeTo(caller->principal);
  auto arrival = std::make_shared<Arrival<Wire, Plan>>();
  arrival->plan = translate;
  arrival->deadline = Deadline(*context);
  arrival->cancelled = [call] { return call->cancelled(); };
  arrival->refuse = [call](const absl::Status& status) { call->Refuse(status); };
  arrival->planned = [this, call, submit = std::move(submit), caller = *std::move(caller),
                      deadline = arrival->deadline](Plan& made, TextBudget::Hold hold) {
    call->Keep(std::move(hold));
    const auto plan = std::make_shared<Plan>(std::move(made));
    plan->request.session.owner = caller.owner;
    plan->request.tenant = caller.tenant;
    plan->request.deadline = deadline;
    PrepareSession(plan->needs, plan->request.session, call,
                   [plan, submit](const SessionInfo& session) { submit(*plan, session); });
  };
  Receive(bytes, std::move(arrival));
}

template <typename Call>
void GenerationService::BeginGeneration(grpc::CallbackServerContext* context,
                                        const grpc::ByteBuffer* bytes, std::shared_ptr<Call> call) {
  Begin<Call, v1::GenerateRequest, GenerationPlan>(
      context, bytes, call, PlanGenerate,
      [this, call](GenerationPlan& plan, const SessionInfo& session) {
        if (plan.needs.make) plan.request.session = session.key;
        if constexpr (std::is_same_v<Call, CompleteCall>) {
          const absl::Status status = Call::CheckLeastAnswer(plan, model_.max_context_length);
          if (!status.ok()) return call->Refuse(status);
        }
        call->Plan(plan);
        call->Submit(&access_, SampleRequests(plan, model_.tokenizer));
      });
}

grpc::ServerWriteReactor<grpc::ByteBuffer>* GenerationService::Generate(
    grpc::CallbackServerContext* context, const grpc::ByteBuffer* bytes) {
  auto call = std::make_shared<TokenStream>(admission_, context, model_.tokenizer);
  BeginGeneration(context, bytes, call);
  return call.get();
}

grpc::ServerUnaryReactor* GenerationService::Complete(grpc::CallbackServerContext* context,
                                                      const grpc::ByteBuffer* bytes,
                                                      grpc::ByteBuffer* answer) {
  auto call = std::make_shared<CompleteCall>(admission_, context, model_.tokenizer, answer);
  BeginGeneration(context, bytes, call);
  return call.get();
}

grpc::ServerWriteReactor<grpc::ByteBuffer>* GenerationService::Score(
    grpc::CallbackServerContext* context, const grpc::ByteBuffer* bytes) {
  auto call = std::make_shared<ScoreStream>(admission_, context, model_.tokenizer);
  Begin<ScoreStream, v1::ScoreRequest, ScorePlan>(
      context, bytes, call, PlanScore, [this, call](ScorePlan& plan, const SessionInfo& session) {
        plan.follows_history = session.tokens > 0;
        call->Plan(plan);
        call->Submit(&access_, {std::move(plan.request)});
      });
  return call.get();
}

grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer>* GenerationService::Converse(
    grpc::CallbackServerContext* context) {
  const absl::StatusOr<Caller> caller = admission_->Admit(*context);
  auto call = std::make_shared<ConverseStream>(
      ConverseStream::CallContext{&model_, &access_, admission_, &conversations_, &large_requests_,
                                  &text_budget_},
      context, caller.ok() ? *caller : Caller(), Deadline(*context));
  call->Open();
  call->Start(caller.status());
  return call.get();
}

template <typename Wire, typename Response>
grpc::ServerUnaryReactor* GenerationService::Answer(
    grpc::CallbackServerContext* context, const grpc::ByteBuffer* bytes, grpc::ByteBuffer* answer,
    absl::string_view advice, std::function<absl::Status(const Wire&, Response*)> make_result) {
  auto call = std::make_shared<UnaryCall>(admission_, context, answer);
  call->Open();
  absl::Status status = admission_->Admit(*context).status();
  TextBudget::Hold hold;
  if (status.ok()) {
    auto taken = text_budget_.Take(static_cast<int64_t>(bytes->Length()));
    status = taken.status();
    if (taken.ok()) hold = *std::move(taken);
  }
  if (!status.ok()) {
    call->Refuse(status);
    return call.get();
  }
  auto task = [this, bytes, call, advice, make_result, hold = std::move(hold)] {
    Wire request;
    Response response;
    absl::Status status = admission_->Read(*bytes, &request);
    if (status.ok()) status = make_result(request, &response);
    status.ok() ? call->Answer(response, advice) : call->Refuse(status);
  };
  SerialExecutor* const worker = WorkerFor(bytes->Length());
  worker == nullptr ? task() : worker->Post(std::move(task));
  return call.get();
}

grpc::ServerUnaryReactor* GenerationService::Tokenize(grpc::CallbackServerContext* context,
                                                      const grpc::ByteBuffer* bytes,
                                                      grpc::ByteBuffer* answer) {
  auto call = std::make_shared<UnaryCall>(admission_, context, answer);
  call->Open();
  if (absl::Status admitted = admission_->Admit(*context).status(); !admitted.ok()) {
    call->Refuse(admitted);
    return call.get();
  }
  auto arrival = std::make_shared<Arrival<v1::TokenizeRequest, PromptPlan>>();
  arrival->plan = PlanTokenize;
  arrival->deadline = Deadline(*context);
  // The context lives until the call ends.
  arrival->cancelled = [context] { return context->IsCancelled(); };
  arrival->refuse = [call](const absl::Status& status) { call->Refuse(status); };
  arrival->planned = [call](PromptPlan& plan, const TextBudget::Hold&) {
    v1::TokenizeResponse response;
    const absl::Status status = FillTokens(plan.request.prompt, &response);
    status.ok() ? call->Answer(response, "split the text") : call->Refuse(status);
  };
  Receive(bytes, std::move(arrival));
  return call.get();
}

grpc::ServerUnaryReactor* GenerationService::Detokenize(grpc::CallbackServerContext* context,
                                                        const grpc::ByteBuffer* bytes,
                                                        grpc::ByteBuffer* answer) {
  return Answer<v1::DetokenizeRequest, v1::DetokenizeResponse>(
      context, bytes, answer, "send fewer token_ids a call",
      [this](const v1::DetokenizeRequest& request,
             v1::DetokenizeResponse* response) -> absl::Status {
        ASSIGN_OR_RETURN(*response->mutable_text(), TranslateDetokenize(request, model_));
        return absl::OkStatus();
      });
}

grpc::ServerUnaryReactor* GenerationService::GetModel(grpc::CallbackServerContext* context,
                                                      const grpc::ByteBuffer* bytes,
                                                      grpc::ByteBuffer* answer) {
  return Answer<v1::GetModelRequest, v1::GetModelResponse>(
      context, bytes, answer, "shorten the name of the model's folder",
      [this](const v1::GetModelRequest&, v1::GetModelResponse* response) -> absl::Status {
        DescribeModel(model_, engine_->options(), response);
        return absl::OkStatus();
      });
}

}  // namespace retnet
