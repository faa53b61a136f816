#include "server/calls/snapshot_streams.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "kernels/status_macros.h"
#include "server/wire/messages.h"

namespace retnet {
namespace {

// Far below the 4 MiB that clients receive by default.
constexpr size_t kChunkBytes = 1 << 20;

}  // namespace

void SnapshotExport::Send(absl::StatusOr<std::string> snapshot) {
  const MutexLock lock(&mu_);
  if (!snapshot.ok()) {
    Finish(ToGrpcStatus(snapshot.status()));
    return;
  }
  snapshot_ = *std::move(snapshot);
  WriteNext();
}

void SnapshotExport::WriteNext() {
  v1::ExportSessionResponse response;
  response.set_chunk(snapshot_.substr(sent_, kChunkBytes));
  sent_ += response.chunk().size();
  message_ = SerializeMessage(response);
  if (sent_ == snapshot_.size()) {
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
    Finish(ToGrpcStatus(absl::CancelledError("the client has gone")));
  }
}

void SnapshotImport::Start(const absl::Status& admitted) {
  const MutexLock lock(&mu_);
  if (admitted.ok()) {
    StartRead(&message_);
  } else {
    Finish(ToGrpcStatus(admitted));
  }
}

absl::Status SnapshotImport::Take() {
  v1::ImportSessionRequest request;
  RETURN_IF_ERROR(admission_->Read(message_, &request));
  if (begun_ && request.has_session()) {
    return absl::InvalidArgumentError("session is set in a later message than the first");
  }
  if (!begun_) session_ = std::move(*request.mutable_session());
  begun_ = true;
  if (static_cast<int64_t>(snapshot_.size() + request.chunk().size()) > max_bytes_) {
    return absl::InvalidArgumentError(absl::StrCat("the snapshot has more than ", max_bytes_,
                                                   " bytes, which no session of this model has"));
  }
  snapshot_ += request.chunk();
  return absl::OkStatus();
}

void SnapshotImport::OnReadDone(bool ok) {
  v1::CreateSessionRequest session;
  std::string snapshot;
  {
    const MutexLock lock(&mu_);
    if (ok) {
      const absl::Status status = Take();
      if (status.ok()) {
        StartRead(&message_);
      } else {
        Finish(ToGrpcStatus(status));
      }
      return;
    }
    session = std::move(session_);
    snapshot = std::move(snapshot_);
  }
  // The client has said all, or has gone: then the snapshot's own checksum tells that it is torn.
  received_(session, std::move(snapshot),
            [self = shared_from_this(), this](const absl::Status& status) {
              const MutexLock lock(&mu_);
              Finish(ToGrpcStatus(status));
            });
}

}  // namespace retnet
