// The text of a request on its way to the tokens of its prompt.
#ifndef RETNET_SERVER_WIRE_PROMPT_TEXT_H_
#define RETNET_SERVER_WIRE_PROMPT_TEXT_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/request.h"
#include "models/tokenizer.h"
#include "server/text/text_encoding.h"
#include "server/text/text_head.h"
#include "server/text/text_limits.h"

namespace retnet {

// Where a text goes.
struct PromptPlace {
  bool on_session = false;  // then the head of the text is left to the engine
  TextBos bos;
  int32_t max_tokens = 0;  // the context length; 0: any number
};

// Thread-compatible. Tokenizer and text must outlive it.
class PromptText {
 public:
  PromptText(const Tokenizer* tokenizer, std::string_view text, PromptPlace place,
             const TextLimits& limits);

  // Where parts of the text end that other texts may begin with: bytes, ascending.
  void set_marks(std::vector<size_t> marks) { marks_ = std::move(marks); }

  // Does a part of the work, of some milliseconds. Returns whether it was the last one: then prompt
  // and cache_boundaries of the request are set, and head() is complete. INVALID_ARGUMENT if the
  // text has more tokens than fit, or cannot be cut.
  absl::StatusOr<bool> Step(Request* request);

  // Tokens that the steps have given so far.
  size_t tokens() const { return encoding_.has_value() ? encoding_->tokens().size() : 0; }
  bool on_session() const { return place_.on_session; }
  // If the text is on a session: its head, and whether there is anything that it adds to every
  // history.
  const TextHead& head() const { return head_; }
  bool adds() const {
    return !text_.empty() || (place_.bos.token != kNoToken && !place_.bos.only_if_first);
  }

 private:
  absl::Status TakeHead();
  absl::Status TakeMark(Request* request);
  absl::Status CheckTokens() const;
  void Finish(Request* request);

  const Tokenizer* const tokenizer_;
  const std::string_view text_;
  const PromptPlace place_;
  const TextLimits limits_;
  std::vector<size_t> marks_;
  size_t marks_taken_ = 0;
  TextHead head_;
  size_t head_bytes_ = 0;
  std::optional<TextEncoding> encoding_;  // of what is behind the head
};

}  // namespace retnet

#endif  // RETNET_SERVER_WIRE_PROMPT_TEXT_H_
