#include "server/calls/unread_output.h"

#include "absl/strings/str_cat.h"

namespace retnet {

void UnreadOutput::Share::Set(OpenCall* call, int64_t bytes) {
  if (output_ == nullptr) return;
  const MutexLock lock(&output_->mu_);
  if (!known_) {
    holder_ = output_->holders_.insert(output_->holders_.end(), {call->weak_from_this()});
    known_ = true;
  }
  output_->Set(&*holder_, bytes);
}

void UnreadOutput::Share::Close() {
  if (output_ == nullptr) return;
  if (known_) {
    const MutexLock lock(&output_->mu_);
    output_->Set(&*holder_, 0);
    output_->holders_.erase(holder_);
  }
  output_ = nullptr;
}

void UnreadOutput::Set(Holder* holder, int64_t bytes) {
  const int64_t added = bytes - holder->bytes;
  holder->bytes = bytes;
  if (holder->ended) return;
  used_ += added;
  if (const int64_t most = bytes_ / 2; bytes > most) {
    return End(holder, absl::ResourceExhaustedError(absl::StrCat(
                           "more than ", most,
                           " bytes of this answer wait to be read; read "
                           "faster, or ask for fewer tokens, samples or top_logprobs")));
  }
  while (used_ > bytes_) {
    Holder* most = nullptr;
    for (Holder& other : holders_) {
      if (other.ended || (most != nullptr && other.bytes <= most->bytes)) continue;
      most = &other;
    }
    End(most,
        absl::ResourceExhaustedError(absl::StrCat("answers of more than ", bytes_,
                                                  " bytes wait to be read, and this one holds "
                                                  "most of them: ",
                                                  most->bytes, " bytes; read faster")));
  }
}

void UnreadOutput::End(Holder* holder, const absl::Status& status) {
  holder->ended = true;
  used_ -= holder->bytes;
  worker_.Post([call = holder->call, status] {
    if (const std::shared_ptr<OpenCall> open = call.lock()) open->EndUnread(status);
  });
}

int64_t UnreadOutput::used() const {
  const MutexLock lock(&mu_);
  return used_;
}

}  // namespace retnet
