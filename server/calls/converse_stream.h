// One Converse call: a conversation on one session. Text is computed while it is being typed.
#ifndef RETNET_SERVER_CALLS_CONVERSE_STREAM_H_
#define RETNET_SERVER_CALLS_CONVERSE_STREAM_H_

#include <grpcpp/support/byte_buffer.h>
#include <grpcpp/support/server_callback.h>

#include <cstdint>
#include <deque>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "kernels/serial_executor.h"
#include "retnet/v1/generation.pb.h"
#include "server/calls/admission.h"
#include "server/calls/chunk_queue.h"
#include "server/calls/engine_call.h"
#include "server/identity/caller.h"
#include "server/text/typed_text.h"
#include "server/wire/request_translation.h"

namespace retnet {

// The stream does one of these at a time: it looks up the session, it turns messages into the next
// request (on a worker), or that request runs. Messages that arrive meanwhile wait in the inbox.
// The inbox is bounded, and so is the output that waits for a slow reader: see UnreadOutput.
class ConverseStream : public grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer>,
                       public EngineCall {
 public:
  // What all calls share. It outlives them.
  struct CallContext {
    const ServedModel* model = nullptr;
    const EngineAccess* access = nullptr;
    Admission* admission = nullptr;
    SerialExecutor* worker = nullptr;
    SerialExecutor* worker_for_long_texts = nullptr;
    TextBudget* text_budget = nullptr;
  };

  // `grpc_context` is the call's own, until OnDone.
  ConverseStream(CallContext context, grpc::CallbackServerContext* grpc_context, Caller caller,
                 absl::Time deadline);

  // Call this after Open. A call that is not admitted ends with that error.
  void Start(const absl::Status& admitted);

  void OnReadDone(bool ok) final;
  void OnWriteDone(bool ok) final;
  void OnCancel() final;
  void OnDone() final;
  void EndUnread(const absl::Status& status) final;

 protected:
  void Answered(int sample, std::span<const SampleResult> answers)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) final;
  void Ended(int sample, const Completion& completion) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) final;
  void AllEnded(const absl::Status& status) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) final;

 private:
  using Messages = std::vector<v1::ConverseRequest>;

  void Read() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // Starts the next activity if the stream is idle. Call this when a message arrives.
  void Wake() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // Ends the current activity and starts the next one.
  void Proceed() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // Ends the current activity and becomes idle.
  void Rest() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void Fail(const absl::Status& status) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void End(const absl::Status& status) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void Say(v1::ConverseResponse event) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // Appends to the outbox.
  void Push(v1::ConverseResponse event) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // Starts the next write or ends the call, unless a write is in flight.
  void Pump() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void WriteNext() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // Ends the running answer if the client has asked to stop it.
  void StopIfAsked() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // Moves messages out of the inbox, up to and including the next `go`. Returns the size of their
  // texts in bytes.
  size_t TakeMessages(Messages* messages) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  // These run on a worker. Continue starts the next activity.
  void Continue();
  // Messages that are being obeyed.
  struct Task {
    Messages messages;
    bool closed = false;   // the client sends nothing more
    bool is_long = false;  // long texts take turns
    bool goes() const { return !messages.empty() && messages.back().has_go(); }
    bool turn_ends() const { return goes() || closed; }
  };
  // In converse_texts.cc. Does what the messages ask for: Type, then Tokenize until that is done,
  // then Act.
  void Obey(std::shared_ptr<Task> task);
  void Begin(const v1::ConverseRequest::Begin& begin);
  absl::Status Type(const Messages& messages);
  // Tokenizes what no later text can change, or everything if the turn ends. Gives a long text one
  // part at a time. Not OK if the call has ended meanwhile.
  void Tokenize(std::shared_ptr<Task> task);
  absl::Status MayGoOn() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  absl::Status Act(const Task& task);
  absl::Status Answer(const v1::GenerateRequest& go, TypedTokens prompt);
  void Prefill(TypedTokens prompt);
  // Completes a request with the session and the prompt.
  void Prepare(TypedTokens prompt, PromptPlan* plan) const;

  const CallContext context_;
  grpc::CallbackServerContext* const grpc_context_;
  const absl::Time deadline_;

  // Used by the current activity only. Threads take turns, and pass the members on under mu_.
  bool begun_ = false;
  Tenant tenant_;
  SessionKey session_;  // without an id until it is known
  bool keep_ = false;
  bool wait_ = false;
  int32_t priority_ = 0;
  TypedText typed_;

  std::deque<v1::ConverseRequest> inbox_ ABSL_GUARDED_BY(mu_);
  size_t inbox_bytes_ ABSL_GUARDED_BY(mu_) = 0;
  TextBudget::Hold hold_ ABSL_GUARDED_BY(mu_);  // for the inbox and what is being tokenized
  grpc::ByteBuffer incoming_ ABSL_GUARDED_BY(mu_);
  bool reading_ ABSL_GUARDED_BY(mu_) = false;
  bool closed_ ABSL_GUARDED_BY(mu_) = false;   // the client sends nothing more
  bool working_ ABSL_GUARDED_BY(mu_) = false;  // an activity is running
  bool stalled_ ABSL_GUARDED_BY(mu_) = false;  // the next activity waits for the reader
  bool answering_ ABSL_GUARDED_BY(mu_) = false;
  ChunkQueue chunks_ ABSL_GUARDED_BY(mu_);  // of the running answer
  // Sent before chunks_. Each with its memory, about.
  std::deque<std::pair<v1::ConverseResponse, int64_t>> outbox_ ABSL_GUARDED_BY(mu_);
  int64_t outbox_bytes_ ABSL_GUARDED_BY(mu_) = 0;
  UnreadOutput::Share unread_ ABSL_GUARDED_BY(mu_);
  grpc::ByteBuffer outgoing_ ABSL_GUARDED_BY(mu_);
  bool writing_ ABSL_GUARDED_BY(mu_) = false;
  bool gone_ ABSL_GUARDED_BY(mu_) = false;     // the client no longer reads
  absl::Status failure_ ABSL_GUARDED_BY(mu_);  // the error that the call will end with
  bool ended_ ABSL_GUARDED_BY(mu_) = false;
  bool finished_ ABSL_GUARDED_BY(mu_) = false;
  absl::Status status_ ABSL_GUARDED_BY(mu_);
};

}  // namespace retnet

#endif  // RETNET_SERVER_CALLS_CONVERSE_STREAM_H_
