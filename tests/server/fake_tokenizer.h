// A tokenizer of given pieces, for tests that need text without a checkpoint.
#ifndef RETNET_TESTS_SERVER_FAKE_TOKENIZER_H_
#define RETNET_TESTS_SERVER_FAKE_TOKENIZER_H_

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "kernels/sampling.h"
#include "models/tokenizer.h"

namespace retnet {

// Token i is pieces[i]; encoding takes the longest piece that fits. A piece that is empty is a
// control token.
class FakeTokenizer : public Tokenizer {
 public:
  explicit FakeTokenizer(std::vector<std::string> pieces, TokenId bos = kNoToken)
      : pieces_(std::move(pieces)), bos_(bos), cuts_at_spaces_(CutsAtSpaces(pieces_)) {
    for (TokenId i = 0; i < vocab_size(); ++i) {
      if (!pieces_[i].empty()) by_first_byte_[static_cast<uint8_t>(pieces_[i][0])].push_back(i);
    }
  }

  // BOS 1, EOS 2, then all 256 bytes, then a few longer pieces.
  static FakeTokenizer WithBytes() {
    std::vector<std::string> pieces = {"", "", ""};
    for (int byte = 0; byte < 256; ++byte) pieces.emplace_back(1, static_cast<char>(byte));
    for (const char* piece : {" the", "once", "\xE6\x97\xA5\xE6\x9C\xAC", "ab", "abc"}) {
      pieces.emplace_back(piece);
    }
    pieces.emplace_back(4096, 'x');
    return FakeTokenizer(std::move(pieces), /*bos=*/1);
  }
  static TokenId ByteToken(char byte) { return 3 + static_cast<unsigned char>(byte); }

  int32_t vocab_size() const override { return static_cast<int32_t>(pieces_.size()); }
  bool adds_bos() const override { return bos_ != kNoToken; }
  TokenId bos() const override { return bos_; }

  absl::StatusOr<std::vector<TokenId>> Encode(std::string_view text) const override {
    std::vector<TokenId> tokens;
    encoded_bytes_ += static_cast<int64_t>(text.size());
    while (!text.empty()) {
      TokenId best = kNoToken;
      for (const TokenId i : by_first_byte_[static_cast<uint8_t>(text[0])]) {
        const bool fits = text.starts_with(pieces_[i]);
        if (fits && (best == kNoToken || pieces_[i].size() > pieces_[best].size())) best = i;
      }
      if (best == kNoToken) return absl::InvalidArgumentError("no piece fits");
      tokens.push_back(best);
      text.remove_prefix(pieces_[best].size());
    }
    return tokens;
  }
  // Of all texts so far.
  int64_t encoded_bytes() const { return encoded_bytes_; }

  // A text is the same wherever it stands.
  absl::StatusOr<std::vector<TokenId>> EncodeNext(std::string_view text) const override {
    return Encode(text);
  }
  // Before a space that follows anything else, if pieces have spaces only at their beginning.
  size_t FirstCut(std::string_view text, size_t from, size_t end) const override {
    end = std::min(end, text.size());
    for (size_t i = std::max<size_t>(from, 1); i < end; ++i) {
      if (text[i] == ' ' && text[i - 1] != ' ' && cuts_at_spaces_) return i;
    }
    return std::string_view::npos;
  }
  size_t LastCut(std::string_view text) const override {
    for (size_t i = text.size(); i-- > 1;) {
      if (FirstCut(text, i, i + 1) == i) return i;
    }
    return std::string_view::npos;
  }
  void Join(std::span<const TokenId> next, std::vector<TokenId>* tokens) const override {
    tokens->insert(tokens->end(), next.begin(), next.end());
  }
  size_t max_token_bytes() const override {
    size_t bytes = 0;
    for (const std::string& piece : pieces_) bytes = std::max(bytes, piece.size());
    return bytes;
  }
  absl::StatusOr<std::string> Decode(std::span<const TokenId> tokens) const override {
    std::string text;
    for (const TokenId token : tokens) text += Bytes(token);
    return text;
  }
  std::string_view Bytes(TokenId token) const override {
    return token >= 0 && token < vocab_size() ? std::string_view(pieces_[token]) : "";
  }

 private:
  static bool CutsAtSpaces(const std::vector<std::string>& pieces) {
    for (const std::string& piece : pieces) {
      const size_t word = piece.find_first_not_of(' ');
      if (word != std::string::npos && piece.find(' ', word) != std::string::npos) return false;
    }
    return true;
  }

  std::vector<std::string> pieces_;
  TokenId bos_;
  bool cuts_at_spaces_;
  std::array<std::vector<TokenId>, 256> by_first_byte_;  // of the pieces that begin with it
  mutable std::atomic<int64_t> encoded_bytes_ = 0;
};

}  // namespace retnet

#endif  // RETNET_TESTS_SERVER_FAKE_TOKENIZER_H_
