#include "server/calls/unary_call.h"

#include "absl/strings/str_cat.h"
#include "server/calls/end_call.h"
#include "server/text/text_limits.h"
#include "server/wire/messages.h"

namespace retnet {

absl::Status CheckAnswerBytes(size_t bytes, absl::string_view advice) {
  if (bytes <= kMaxAnswerBytes) return absl::OkStatus();
  return absl::ResourceExhaustedError(absl::StrCat("the answer has ", bytes,
                                                   " bytes; a client receives ", kMaxAnswerBytes,
                                                   " by default: ", advice));
}

void UnaryCall::Answer(const google::protobuf::Message& response, absl::string_view advice) {
  const size_t bytes = response.ByteSizeLong();
  if (absl::Status status = CheckAnswerBytes(bytes, advice); !status.ok()) return Refuse(status);
  const MutexLock lock(&mu_);
  *answer_ = SerializeMessage(response);
  unread_.Set(this, static_cast<int64_t>(bytes));
  Finish(grpc::Status::OK);
}

void UnaryCall::Refuse(const absl::Status& status) {
  const MutexLock lock(&mu_);
  Finish(ToGrpcStatus(status));
}

void UnaryCall::OnDone() {
  {
    const MutexLock lock(&mu_);
    unread_.Close();
  }
  Close();
}

void UnaryCall::EndUnread(const absl::Status& status) {
  const MutexLock lock(&mu_);
  if (open()) EndCall(context_, status);
}

}  // namespace retnet
