#include "server/calls/message_stream.h"

#include "server/wire/messages.h"

namespace retnet {

void MessageStream::OnWriteDone(bool ok) {
  {
    const MutexLock lock(&mu_);
    writing_ = false;
    broken_ = broken_ || !ok;
    Pump();
  }
  if (!ok) Cancel();
}

void MessageStream::AllEnded(const absl::Status& status) {
  ended_ = true;
  status_ = status;
  Pump();
}

void MessageStream::Pump() {
  if (writing_ || finished_) return;
  if (!broken_ && TakeChunk(&message_)) {
    writing_ = true;
    StartWrite(&message_);
    return;
  }
  if (!ended_) return;
  finished_ = true;
  if (broken_ || !status_.ok()) {
    Finish(ToGrpcStatus(status_));
    return;
  }
  message_ = Final();
  StartWriteAndFinish(&message_, grpc::WriteOptions(), grpc::Status::OK);
}

}  // namespace retnet
