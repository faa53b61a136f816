#include "server/calls/snapshot_streams.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "kernels/status_macros.h"
#include "server/calls/end_call.h"
#include "server/wire/messages.h"

namespace retnet {
namespace {

// Far below the 4 MiB that clients receive by default.
constexpr size_t kChunkBytes = 1 << 20;

}  // namespace

void SnapshotTransfer::AwaitTurn(int64_t bytes) {
  const auto begin = [self = std::static_pointer_cast<SnapshotTransfer>(shared_from_this())](
                         TransferTurns::Share share) {
    {
      const MutexLock lock(&self->mu_);
      if (!self->waiting()) return;  // withdrawn; the share goes back
      self->ticket_ = 0;
      self->share_ = std::move(share);
    }
    self->OnTurn();
  };
  ticket_ = admission_->transfer_turns().Wait(client_, bytes, begin);
}

void SnapshotTransfer::Withdraw() {
  admission_->transfer_turns().Withdraw(client_, std::exchange(ticket_, 0));
}

void SnapshotTransfer::AwaitClient(absl::string_view what) {
  awaits_client_ = true;
  awaits_since_ = absl::Now();
  awaited_ = what;
  if (alarm_ == nullptr) SetAlarm(awaits_since_ + admission_->transfer_idle());
}

void SnapshotTransfer::SetAlarm(absl::Time when) {
  alarm_ = std::make_unique<grpc::Alarm>();
  alarm_->Set(absl::ToChronoTime(when), [call = weak_from_this()](bool expired) {
    const auto self = std::static_pointer_cast<SnapshotTransfer>(call.lock());
    if (expired && self != nullptr) self->OnAlarm();
  });
}

void SnapshotTransfer::OnAlarm() {
  const MutexLock lock(&mu_);
  if (!open()) return;
  const absl::Duration patience = admission_->transfer_idle();
  const absl::Time now = absl::Now();
  const absl::Time end = (awaits_client_ ? awaits_since_ : now) + patience;
  if (now < end) return SetAlarm(end);
  idle_status_ = absl::DeadlineExceededError(
      absl::StrCat("the client ", awaited_, " for ", absl::FormatDuration(patience),
                   ", and others wait for the memory that this call holds"));
  EndCall(context_, idle_status_);
}

void SnapshotTransfer::End() {
  std::unique_ptr<grpc::Alarm> alarm;
  {
    const MutexLock lock(&mu_);
    alarm = std::move(alarm_);
    share_ = {};
  }
  Close();
}

void SnapshotExport::Start(int64_t bytes, std::function<void()> read) {
  const MutexLock lock(&mu_);
  read_ = std::move(read);
  AwaitTurn(bytes + static_cast<int64_t>(kChunkBytes));
}

// The engine may answer at once, on this thread: mu_ is not held.
void SnapshotExport::OnTurn() {
  std::function<void()> read;
  {
    const MutexLock lock(&mu_);
    read.swap(read_);
  }
  read();
}

void SnapshotExport::Send(absl::StatusOr<std::string> snapshot) {
  const MutexLock lock(&mu_);
  if (!snapshot.ok()) {
    Finish(ToGrpcStatus(snapshot.status()));
    return;
  }
  snapshot_ = *std::move(snapshot);
  Shrink(static_cast<int64_t>(snapshot_.capacity() + kChunkBytes));
  WriteNext();
}

void SnapshotExport::WriteNext() {
  v1::ExportSessionResponse response;
  response.set_chunk(snapshot_.substr(sent_, kChunkBytes));
  sent_ += response.chunk().size();
  message_ = SerializeMessage(response);
  AwaitClient("has taken nothing");
  if (sent_ == snapshot_.size()) {
    std::string().swap(snapshot_);
    Shrink(static_cast<int64_t>(message_.Length()));
    StartWriteAndFinish(&message_, grpc::WriteOptions(), grpc::Status::OK);
  } else {
    StartWrite(&message_);
  }
}

void SnapshotExport::OnWriteDone(bool ok) {
  const MutexLock lock(&mu_);
  if (ok) {
    WriteNext();
  } else {
    Finish(ToGrpcStatus(idle_status().ok() ? absl::CancelledError("the client has gone")
                                           : idle_status()));
  }
}

void SnapshotExport::OnCancel() {
  const MutexLock lock(&mu_);
  if (!waiting()) return;  // else the operation in flight fails
  Withdraw();
  Finish(ToGrpcStatus(absl::CancelledError("the client has gone")));
}

void SnapshotExport::OnDone() {
  {
    const MutexLock lock(&mu_);
    std::string().swap(snapshot_);
    message_.Clear();
    read_ = nullptr;
  }
  End();
}

void SnapshotImport::Start(const absl::Status& admitted) {
  const MutexLock lock(&mu_);
  if (admitted.ok()) {
    AwaitTurn(max_bytes_);
  } else {
    Finish(ToGrpcStatus(admitted));
  }
}

void SnapshotImport::OnTurn() {
  const MutexLock lock(&mu_);
  ReadNext();
}

void SnapshotImport::ReadNext() {
  AwaitClient("has sent nothing");
  StartRead(&message_);
}

absl::Status SnapshotImport::Take() {
  v1::ImportSessionRequest request;
  const absl::Status read = admission().Read(message_, &request);
  message_.Clear();
  RETURN_IF_ERROR(read);
  if (begun_ && request.has_session()) {
    return absl::InvalidArgumentError("session is set in a later message than the first");
  }
  if (!begun_) session_ = std::move(*request.mutable_session());
  begun_ = true;
  if (static_cast<int64_t>(snapshot_.size() + request.chunk().size()) > max_bytes_) {
    return absl::InvalidArgumentError(absl::StrCat("the snapshot has more than ", max_bytes_,
                                                   " bytes, which no session of this model has"));
  }
  // So that a string that grows does not take twice as much as the share.
  if (snapshot_.empty()) snapshot_.reserve(max_bytes_);
  snapshot_ += request.chunk();
  return absl::OkStatus();
}

void SnapshotImport::OnReadDone(bool ok) {
  v1::CreateSessionRequest session;
  std::string snapshot;
  {
    const MutexLock lock(&mu_);
    ClientActed();
    if (ok) {
      const absl::Status status = Take();
      if (status.ok()) {
        ReadNext();
      } else {
        Finish(ToGrpcStatus(status));
      }
      return;
    }
    if (!idle_status().ok() || context().IsCancelled()) {
      Finish(ToGrpcStatus(idle_status().ok() ? absl::CancelledError("the client has gone")
                                             : idle_status()));
      return;
    }
    session = std::move(session_);
    snapshot = std::move(snapshot_);
  }
  // The client has said all, or is about to be found gone: then the snapshot's own checksum tells
  // that it is torn.
  received_(session, std::move(snapshot),
            [self = shared_from_this(), this](const absl::Status& status) {
              const MutexLock lock(&mu_);
              Finish(ToGrpcStatus(status));
            });
}

void SnapshotImport::OnCancel() {
  const MutexLock lock(&mu_);
  if (!waiting()) return;  // else the read fails
  Withdraw();
  Finish(ToGrpcStatus(absl::CancelledError("the client has gone")));
}

void SnapshotImport::OnDone() { End(); }

}  // namespace retnet
