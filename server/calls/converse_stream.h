// One Converse call: a conversation over one session, whose text is computed as it is typed.
#ifndef RETNET_SERVER_CALLS_CONVERSE_STREAM_H_
#define RETNET_SERVER_CALLS_CONVERSE_STREAM_H_

#include <grpcpp/support/byte_buffer.h>
#include <grpcpp/support/server_callback.h>

#include <deque>
#include <span>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "kernels/serial_executor.h"
#include "retnet/v1/generation.pb.h"
#include "server/calls/admission.h"
#include "server/calls/chunk_queue.h"
#include "server/calls/engine_call.h"
#include "server/text/typed_text.h"
#include "server/wire/request_translation.h"

namespace retnet {

// At most one thing happens at a time: the session is looked up, messages become the next request
// (on a worker), or that request runs. Messages that come meanwhile wait in the inbox, which is
// bounded, as is what waits for a slow reader.
class ConverseStream : public grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer>,
                       public EngineCall {
 public:
  // What calls share; all of it outlives them.
  struct CallContext {
    const ServedModel* model = nullptr;
    const EngineAccess* access = nullptr;
    Admission* admission = nullptr;
    SerialExecutor* worker = nullptr;
    SerialExecutor* worker_for_long_texts = nullptr;
  };

  ConverseStream(CallContext context, std::string owner, absl::Time deadline);

  // After Open.
  void Start();

  void OnReadDone(bool ok) final;
  void OnWriteDone(bool ok) final;
  void OnCancel() final;
  void OnDone() final { Close(); }

 protected:
  void Answered(int sample, std::span<const SampleResult> answers)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) final;
  void Ended(int sample, const Completion& completion) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) final;
  void AllEnded(const absl::Status& status) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) final;

 private:
  using Messages = std::vector<v1::ConverseRequest>;

  void Read() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // Something came that may be gone on with; no effect while something happens.
  void Wake() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // What happened is over: on to the next.
  void Proceed() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // Nothing happens any more.
  void Rest() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void Fail(const absl::Status& status) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void End(const absl::Status& status) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void Say(v1::ConverseResponse event) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void Pump() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // Ends the answer if its stop has come.
  void StopIfAsked() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // Moves messages from the inbox, up to the next go. Returns their bytes.
  size_t TakeMessages(Messages* messages) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  // On a worker. The next thing that is to happen.
  void Continue();
  // What the messages ask for; `closed`: the client sends nothing more.
  void Obey(const Messages& messages, bool closed);
  void Begin(const v1::ConverseRequest::Begin& begin);
  // Tokens that have become certain; all of them when the turn is at its end.
  absl::StatusOr<std::vector<TokenId>> Type(const Messages& messages, bool turn_ends);
  absl::Status Answer(const v1::GenerateRequest& go, std::vector<TokenId> prompt);
  void Prefill(std::vector<TokenId> prompt);
  // The request on the session.
  Request Prepared(Request request, std::vector<TokenId> prompt) const;

  const CallContext context_;
  const absl::Time deadline_;

  // Of whoever is at work: written by one thread after the other, mu_ in between.
  bool begun_ = false;
  SessionKey session_;  // no id: not known yet
  bool keep_ = false;
  bool wait_ = false;
  int32_t priority_ = 0;
  TokenId bos_ = kNoToken;          // comes before the first text; kNoToken: nothing does
  TokenId first_token_ = kNoToken;  // comes before it if it begins the history
  TypedText typed_;

  std::deque<v1::ConverseRequest> inbox_ ABSL_GUARDED_BY(mu_);
  size_t inbox_bytes_ ABSL_GUARDED_BY(mu_) = 0;
  grpc::ByteBuffer incoming_ ABSL_GUARDED_BY(mu_);
  bool reading_ ABSL_GUARDED_BY(mu_) = false;
  bool closed_ ABSL_GUARDED_BY(mu_) = false;   // the client sends nothing more
  bool working_ ABSL_GUARDED_BY(mu_) = false;  // something happens
  bool stalled_ ABSL_GUARDED_BY(mu_) = false;  // the next waits for the reader
  bool answering_ ABSL_GUARDED_BY(mu_) = false;
  ChunkQueue chunks_ ABSL_GUARDED_BY(mu_);                        // of the answer that runs
  std::deque<v1::ConverseResponse> outbox_ ABSL_GUARDED_BY(mu_);  // goes before chunks_
  grpc::ByteBuffer outgoing_ ABSL_GUARDED_BY(mu_);
  bool writing_ ABSL_GUARDED_BY(mu_) = false;
  bool gone_ ABSL_GUARDED_BY(mu_) = false;     // nobody reads any more
  absl::Status failure_ ABSL_GUARDED_BY(mu_);  // what the call is to end with
  bool ended_ ABSL_GUARDED_BY(mu_) = false;
  bool finished_ ABSL_GUARDED_BY(mu_) = false;
  absl::Status status_ ABSL_GUARDED_BY(mu_);
};

}  // namespace retnet

#endif  // RETNET_SERVER_CALLS_CONVERSE_STREAM_H_
