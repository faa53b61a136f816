#include "server/calls/message_stream.h"

#include "server/calls/end_call.h"
#include "server/wire/messages.h"

namespace retnet {

void MessageStream::OnWriteDone(bool ok) {
  {
    const MutexLock lock(&mu_);
    writing_ = false;
    message_.Clear();
    broken_ = broken_ || !ok;
    Pump();
  }
  if (!ok) Cancel();
}

void MessageStream::OnDone() {
  {
    const MutexLock lock(&mu_);
    unread_.Close();
  }
  Close();
}

void MessageStream::EndUnread(const absl::Status& status) {
  const MutexLock lock(&mu_);
  if (!open()) return;
  broken_ = true;
  unread_status_ = status;
  // The write in flight fails, and OnCancel cancels the samples.
  EndCall(context_, status);
}

void MessageStream::AllEnded(const absl::Status& status) {
  ended_ = true;
  status_ = status;
  Pump();
}

void MessageStream::Pump() {
  WriteNext();
  const bool in_flight = writing_ || finished_;
  unread_.Set(this, WaitingBytes() + (in_flight ? static_cast<int64_t>(message_.Length()) : 0));
}

void MessageStream::WriteNext() {
  if (writing_ || finished_) return;
  if (!broken_ && TakeChunk(&message_)) {
    writing_ = true;
    StartWrite(&message_);
    return;
  }
  if (!ended_) return;
  finished_ = true;
  if (!unread_status_.ok()) status_ = unread_status_;
  if (broken_ || !status_.ok()) {
    Finish(ToGrpcStatus(status_));
    return;
  }
  message_ = Final();
  StartWriteAndFinish(&message_, grpc::WriteOptions(), grpc::Status::OK);
}

}  // namespace retnet
