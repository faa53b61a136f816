#include "server/wire/prompt_text.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "kernels/status_macros.h"

namespace retnet {

PromptText::PromptText(const Tokenizer* tokenizer, std::string_view text, PromptPlace place,
                       const TextLimits& limits)
    : tokenizer_(tokenizer),
      text_(text),
      place_(place),
      limits_(limits),
      head_(tokenizer, place.on_session ? place.bos : TextBos()) {}

absl::Status PromptText::TakeHead() {
  if (place_.on_session && !text_.empty()) {
    ASSIGN_OR_RETURN(head_bytes_, head_.TakeFrom(text_, limits_));
  }
  encoding_.emplace(tokenizer_, text_.substr(head_bytes_), /*begins=*/!place_.on_session, limits_);
  return absl::OkStatus();
}

absl::Status PromptText::CheckTokens() const {
  const size_t tokens = encoding_->tokens().size();
  if (place_.max_tokens == 0 || tokens < static_cast<size_t>(place_.max_tokens)) {
    return absl::OkStatus();
  }
  const size_t bytes = head_bytes_ + encoding_->bytes_done();
  return absl::InvalidArgumentError(absl::StrCat(
      "text has ", tokens, " tokens", bytes < text_.size() ? " and more" : "", " in ", bytes,
      " of its ", text_.size(), " bytes; it must have fewer than the context length, ",
      place_.max_tokens, ": split it"));
}

absl::Status PromptText::TakeMark(Request* request) {
  const size_t mark = marks_[marks_taken_++];
  if (mark <= head_bytes_) return absl::OkStatus();
  ASSIGN_OR_RETURN(const size_t tokens, encoding_->CommonTokens(mark - head_bytes_));
  std::vector<int32_t>& boundaries = request->cache_boundaries;
  const auto length = static_cast<int32_t>(tokens);
  if (length > (boundaries.empty() ? 0 : boundaries.back())) boundaries.push_back(length);
  return absl::OkStatus();
}

void PromptText::Finish(Request* request) {
  request->prompt = JoinBehind(*tokenizer_, head_.last_token(), encoding_->TakeTokens());
  if (place_.on_session || place_.bos.token == kNoToken) return;
  request->prompt.insert(request->prompt.begin(), place_.bos.token);
  for (int32_t& boundary : request->cache_boundaries) ++boundary;
}

absl::StatusOr<bool> PromptText::Step(Request* request) {
  if (!encoding_.has_value()) RETURN_IF_ERROR(TakeHead());
  if (!encoding_->done()) {
    RETURN_IF_ERROR(encoding_->Step("text"));
    RETURN_IF_ERROR(CheckTokens());
  } else if (marks_taken_ < marks_.size()) {
    RETURN_IF_ERROR(TakeMark(request));
  }
  if (!encoding_->done() || marks_taken_ < marks_.size()) return false;
  Finish(request);
  return true;
}

}  // namespace retnet
