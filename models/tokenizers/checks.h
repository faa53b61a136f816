// What every tokenizer refuses.
#ifndef RETNET_MODELS_TOKENIZERS_CHECKS_H_
#define RETNET_MODELS_TOKENIZERS_CHECKS_H_

#include <optional>
#include <string_view>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "kernels/tensor.h"
#include "models/utf8.h"

namespace retnet {

inline absl::Status CheckUtf8(std::string_view text) {
  const std::optional<size_t> invalid = FirstInvalidUtf8(text);
  if (!invalid.has_value()) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat("text is not UTF-8 at byte ", *invalid));
}

inline absl::Status CheckToken(TokenId token, int32_t vocab_size) {
  if (token >= 0 && token < vocab_size) return absl::OkStatus();
  return absl::OutOfRangeError(
      absl::StrCat("token ", token, " is not in the vocabulary of ", vocab_size));
}

}  // namespace retnet

#endif  // RETNET_MODELS_TOKENIZERS_CHECKS_H_
