// Tokenizes a text part by part, so that a long one takes little memory, can be given up, and lets
// others have their turn.
#ifndef RETNET_SERVER_TEXT_TEXT_ENCODING_H_
#define RETNET_SERVER_TEXT_TEXT_ENCODING_H_

#include <cstddef>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "models/tokenizer.h"
#include "server/text/text_limits.h"

namespace retnet {

// Thread-compatible. Tokenizer and text must outlive it.
class TextEncoding {
 public:
  // `begins`: the text begins a history; otherwise it follows other tokens.
  TextEncoding(const Tokenizer* tokenizer, std::string_view text, bool begins,
               const TextLimits& limits);

  bool done() const { return at_ == text_.size(); }
  // Tokenizes the next part, 16 KiB if the text can be cut there: some milliseconds.
  // INVALID_ARGUMENT, naming `field`, if no cut comes within max_uncut_bytes.
  absl::Status Step(std::string_view field);
  // Of all parts so far.
  const std::vector<TokenId>& tokens() const { return tokens_; }
  std::vector<TokenId> TakeTokens() { return std::move(tokens_); }
  // Bytes that `tokens` stand for.
  size_t bytes_done() const { return at_; }

  // The number of tokens that the first `bytes` bytes have in common with the whole text. Another
  // text that begins with them may share these tokens. Call this when done.
  absl::StatusOr<size_t> CommonTokens(size_t bytes) const;

 private:
  struct Part {
    size_t byte = 0;  // where it begins
    size_t token = 0;
  };
  absl::StatusOr<std::vector<TokenId>> Encode(size_t from, size_t to) const;
  absl::StatusOr<size_t> NextCut(std::string_view field) const;

  const Tokenizer* const tokenizer_;
  const std::string_view text_;
  const bool begins_;
  const TextLimits limits_;
  size_t at_ = 0;  // what comes before is tokenized
  std::vector<Part> parts_;
  std::vector<TokenId> tokens_;
};

}  // namespace retnet

#endif  // RETNET_SERVER_TEXT_TEXT_ENCODING_H_
