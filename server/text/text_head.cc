#include "server/text/text_head.h"

#include <algorithm>
#include <utility>

#include "kernels/status_macros.h"
#include "models/utf8.h"

namespace retnet {
namespace {

// The engine thread tokenizes no longer head: tens of microseconds.
constexpr size_t kMaxBytesOnEngine = 1 << 10;

void Append(const std::vector<TokenId>& more, std::vector<TokenId>* tokens) {
  tokens->insert(tokens->end(), more.begin(), more.end());
}

std::string_view Visible(const Tokenizer& tokenizer, const CutToken& cut) {
  return tokenizer.Bytes(cut.token).substr(0, static_cast<size_t>(std::max(cut.bytes, 0)));
}

// The last bytes of the history's text, at most four, unless a token without bytes comes between.
std::string LastBytes(const Tokenizer& tokenizer, const TokenHistory& history) {
  std::string bytes;
  for (int32_t i = history.size(); i-- > 0 && bytes.size() < 4;) {
    const std::string_view of_token = tokenizer.Bytes(history[i]);
    if (of_token.empty()) break;
    bytes.insert(0, of_token.substr(of_token.size() - std::min<size_t>(4, of_token.size())));
  }
  return bytes;
}

}  // namespace

std::vector<TokenId> JoinBehind(const Tokenizer& tokenizer, TokenId last,
                                std::vector<TokenId> next) {
  if (last == kNoToken || next.empty()) return next;
  std::vector<TokenId> joined = {last};
  tokenizer.Join(next, &joined);
  joined.erase(joined.begin());
  return joined;
}

absl::StatusOr<size_t> TextHead::TakeFrom(std::string_view text, const TextLimits& limits) {
  const auto most = static_cast<size_t>(limits.max_uncut_bytes);
  const size_t cut = tokenizer_->FirstCut(text, 1, most + 1);
  const size_t bytes = cut == std::string_view::npos ? text.size() : cut;
  if (bytes > most) return UncutText("text", /*from=*/0, limits);
  text_ = text.substr(0, bytes);
  ASSIGN_OR_RETURN(if_first_, tokenizer_->Encode(text_));
  ASSIGN_OR_RETURN(if_next_, tokenizer_->EncodeNext(text_));
  return bytes;
}

// Of bytes that are no text nothing can be made.
std::vector<TokenId> TextHead::CutTokens(const CutToken& cut) const {
  return tokenizer_->EncodeNext(Visible(*tokenizer_, cut)).value_or(std::vector<TokenId>());
}

PromptHead TextHead::Make(const TokenHistory& history, RequestKind kind) const {
  PromptHead head;
  if (tokenizer_ == nullptr) return head;
  const CutToken& cut = history.cut();
  const bool is_first = history.empty() && cut.token == kNoToken;
  const bool begins = bos_.token != kNoToken && (is_first || !bos_.only_if_first);
  if (is_first || begins) {
    head.history = CutTokens(cut);
    if (begins) head.prompt.push_back(bos_.token);
    Append(if_first_, &head.prompt);
    return head;
  }
  if (cut.token != kNoToken && kind != RequestKind::kScore && text_.size() <= kMaxBytesOnEngine) {
    std::string text(Visible(*tokenizer_, cut));
    text += text_;
    auto tokens = tokenizer_->EncodeNext(text);
    if (tokens.ok()) {
      head.prompt = *std::move(tokens);
      return head;
    }
  }
  head.history = CutTokens(cut);
  head.prompt = if_next_;
  return head;
}

HeadMaker MakeHead(const Tokenizer* tokenizer, TextHead head, RequestKind kind, bool adds,
                   std::shared_ptr<BegunCharacter> begun) {
  return [=, head = std::move(head)](const TokenHistory& history) {
    const bool goes_on = !adds && tokenizer != nullptr && history.cut().token == kNoToken;
    if (goes_on) *begun = IncompleteCharacter(LastBytes(*tokenizer, history));
    return head.Make(history, kind);
  };
}

}  // namespace retnet
