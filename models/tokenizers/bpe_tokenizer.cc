#include "models/tokenizers/bpe_tokenizer.h"

#include <algorithm>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_replace.h"
#include "kernels/status_macros.h"
#include "models/tokenizers/bpe_cuts.h"
#include "models/tokenizers/characters.h"
#include "models/tokenizers/checks.h"

namespace retnet {
namespace {

std::string MarkSpaces(std::string_view text) {
  return absl::StrReplaceAll({text.data(), text.size()}, {{" ", kSpaceMarkUtf8}});
}

std::string Normalize(const TextPipeline& pipeline, std::string_view text, bool prefix) {
  std::string normalized = pipeline.nfc ? Nfc(text) : std::string(text);
  if (pipeline.marks_spaces) normalized = MarkSpaces(normalized);
  if (prefix && pipeline.prefix == TextPipeline::kAlways) normalized.insert(0, kSpaceMarkUtf8);
  return normalized;
}

// The added tokens that are looked for before a text is normalized, or those that are behind that.
struct Searched {
  Searched(const TokenizerJson& parsed, bool normalized) {
    for (const AddedToken& token : parsed.added) {
      if (token.normalized != normalized) continue;
      tokens.push_back(token);
      texts.push_back(normalized ? Normalize(parsed.pipeline, token.content, /*prefix=*/true)
                                 : token.content);
    }
  }
  std::vector<AddedToken> tokens;
  std::vector<std::string> texts;
};

BpeCuts MakeCuts(const TokenizerJson& parsed, const Searched& first, const Searched& second) {
  std::vector<AddedToken> tokens = first.tokens;
  tokens.insert(tokens.end(), second.tokens.begin(), second.tokens.end());
  std::vector<std::string> texts = first.texts;
  texts.insert(texts.end(), second.texts.begin(), second.texts.end());
  return {parsed, tokens, texts};
}

std::vector<std::string> BytesOfTokens(const TokenizerJson& parsed) {
  std::vector<std::string> bytes = parsed.pieces;
  for (std::string& piece : bytes) {
    piece = parsed.pipeline.byte_level ? BytesOfPiece(piece).value_or(piece)
                                       : absl::StrReplaceAll(piece, {{kSpaceMarkUtf8, " "}});
  }
  if (parsed.vocabulary.byte_fallback) {
    for (int byte = 0; byte < 256; ++byte) {
      const TokenId token = parsed.vocabulary.bytes[byte];
      if (token != kNoToken) bytes[token] = std::string(1, static_cast<char>(byte));
    }
  }
  for (const AddedToken& token : parsed.added) {
    bytes[token.id] = token.special ? "" : token.content;
  }
  return bytes;
}

// What all texts share. Immutable.
class BpeEncoder {
 public:
  explicit BpeEncoder(TokenizerJson parsed)
      : BpeEncoder(parsed, Searched(parsed, /*normalized=*/false),
                   Searched(parsed, /*normalized=*/true)) {}

  const BpeCuts& cuts() const { return cuts_; }
  const std::vector<std::string>& bytes() const { return bytes_; }
  const TextPipeline& pipeline() const { return pipeline_; }
  bool Fuses(TokenId last, TokenId next) const {
    return fuses_unknown_ && last == unknown_ && next == unknown_;
  }

  // The text is UTF-8. `begins`: otherwise it follows other tokens.
  std::vector<TokenId> Encode(std::string_view text, bool begins, bool parse_special) const {
    std::vector<TokenId> tokens;
    for (const AddedSpan& span : unnormalized_.Divide(text, parse_special)) {
      if (span.token != nullptr) {
        tokens.push_back(span.token->id);
        continue;
      }
      const bool is_first = span.begin == 0;
      const std::string normalized =
          Normalize(pipeline_, text.substr(span.begin, span.end - span.begin), begins || !is_first);
      for (const AddedSpan& part : normalized_.Divide(normalized, parse_special)) {
        if (part.token != nullptr) {
          tokens.push_back(part.token->id);
          continue;
        }
        EncodePart(std::string_view(normalized).substr(part.begin, part.end - part.begin),
                   is_first && part.begin == 0, begins, &tokens);
      }
    }
    return tokens;
  }

 private:
  BpeEncoder(const TokenizerJson& parsed, const Searched& unnormalized, const Searched& normalized)
      : pipeline_(parsed.pipeline),
        unknown_(parsed.vocabulary.unknown),
        fuses_within_words_(!pipeline_.byte_level && parsed.vocabulary.fuses_unknown),
        fuses_unknown_(fuses_within_words_ && !pipeline_.divides_at_marks),
        unnormalized_(unnormalized.tokens, unnormalized.texts),
        normalized_(normalized.tokens, normalized.texts),
        cuts_(MakeCuts(parsed, unnormalized, normalized)),
        bytes_(BytesOfTokens(parsed)),
        bpe_(parsed.vocabulary) {}

  // What is between added tokens. `is_first`: it begins the text.
  void EncodePart(std::string_view part, bool is_first, bool begins,
                  std::vector<TokenId>* tokens) const {
    std::string changed;
    if (pipeline_.marks_words) part = changed = MarkSpaces(part);
    const std::string_view space = pipeline_.byte_level ? " " : kSpaceMarkUtf8;
    const bool may_prefix =
        pipeline_.prefix == TextPipeline::kFirst
            ? is_first && begins
            : pipeline_.prefix == TextPipeline::kUnlessSpace && (begins || !is_first);
    if (may_prefix && part.substr(0, space.size()) != space) {
      part = changed = std::string(space) + std::string(part);
    }
    if (pipeline_.byte_level) {
      pipeline_.pattern.Divide(part, [&](std::string_view word) { bpe_.Encode(word, tokens); });
    } else {
      EncodeMarked(part, tokens);
    }
  }

  // A text in which spaces are marked. Where no piece reaches over, what follows is encoded for
  // itself.
  void EncodeMarked(std::string_view text, std::vector<TokenId>* tokens) const {
    size_t begin = 0;
    bool begins_word = true;
    while (begin < text.size()) {
      char32_t before = CharacterAt(text, begin);
      size_t end = begin + CharacterBytes(text[begin]);
      bool ends_word = false;
      for (; end < text.size(); end += CharacterBytes(text[end])) {
        const char32_t after = CharacterAt(text, end);
        ends_word = pipeline_.divides_at_marks && after == kSpaceMark;
        if (ends_word || cuts_.DividesPieces(before, after)) break;
        before = after;
      }
      const size_t count = tokens->size();
      bpe_.Encode(text.substr(begin, end - begin), tokens);
      const bool meet = !begins_word && count > 0 && tokens->size() > count &&
                        fuses_within_words_ && (*tokens)[count - 1] == unknown_ &&
                        (*tokens)[count] == unknown_;
      if (meet) tokens->erase(tokens->begin() + static_cast<ptrdiff_t>(count));
      begins_word = ends_word;
      begin = end;
    }
  }

  const TextPipeline pipeline_;
  const TokenId unknown_;
  const bool fuses_within_words_;
  const bool fuses_unknown_;  // wherever a text is cut: it is one word
  const AddedTokens unnormalized_;
  const AddedTokens normalized_;
  const BpeCuts cuts_;
  const std::vector<std::string> bytes_;  // of each token
  const Bpe bpe_;
};

class BpeTokenizer : public Tokenizer {
 public:
  BpeTokenizer(std::shared_ptr<const BpeEncoder> encoder, TokenId bos, bool adds_bos,
               bool parse_special)
      : encoder_(std::move(encoder)),
        bos_(bos),
        adds_bos_(adds_bos),
        parse_special_(parse_special) {
    if (parse_special) return;
    parsing_special_ =
        std::make_unique<BpeTokenizer>(encoder_, bos, adds_bos, /*parse_special=*/true);
  }

  int32_t vocab_size() const override { return static_cast<int32_t>(encoder_->bytes().size()); }
  bool adds_bos() const override { return adds_bos_; }
  TokenId bos() const override { return bos_; }

  absl::StatusOr<std::vector<TokenId>> Encode(std::string_view text) const override {
    RETURN_IF_ERROR(CheckUtf8(text));
    return encoder_->Encode(text, /*begins=*/true, parse_special_);
  }
  absl::StatusOr<std::vector<TokenId>> EncodeNext(std::string_view text) const override {
    RETURN_IF_ERROR(CheckUtf8(text));
    return encoder_->Encode(text, /*begins=*/false, parse_special_);
  }
  const Tokenizer& ParsingSpecialTokens() const override {
    return parse_special_ ? *this : *parsing_special_;
  }

  size_t FirstCut(std::string_view text, size_t from, size_t end) const override {
    return encoder_->cuts().First(text, from, end);
  }
  size_t LastCut(std::string_view text) const override { return encoder_->cuts().Last(text); }
  void Join(std::span<const TokenId> next, std::vector<TokenId>* tokens) const override {
    const bool meet =
        !tokens->empty() && !next.empty() && encoder_->Fuses(tokens->back(), next.front());
    if (meet) next = next.subspan(1);
    tokens->insert(tokens->end(), next.begin(), next.end());
  }
  size_t max_token_bytes() const override { return encoder_->cuts().max_token_bytes(); }

  absl::StatusOr<std::string> Decode(std::span<const TokenId> tokens) const override {
    std::string text;
    for (const TokenId token : tokens) {
      RETURN_IF_ERROR(CheckToken(token, vocab_size()));
      text += encoder_->bytes()[token];
    }
    const bool drops = encoder_->pipeline().drops_leading_space && absl::StartsWith(text, " ");
    if (drops) text.erase(0, 1);
    return text;
  }
  std::string_view Bytes(TokenId token) const override {
    return token >= 0 && token < vocab_size() ? std::string_view(encoder_->bytes()[token])
                                              : std::string_view();
  }

 private:
  const std::shared_ptr<const BpeEncoder> encoder_;
  const TokenId bos_;
  const bool adds_bos_;
  const bool parse_special_;
  std::unique_ptr<const BpeTokenizer> parsing_special_;  // null in itself
};

}  // namespace

std::unique_ptr<Tokenizer> MakeBpeTokenizer(TokenizerJson parsed, const BosConfig& config) {
  TokenId bos = parsed.template_bos;
  const auto named = std::find(parsed.pieces.begin(), parsed.pieces.end(), config.bos_token);
  if (!config.bos_token.empty() && named != parsed.pieces.end()) {
    bos = static_cast<TokenId>(named - parsed.pieces.begin());
  }
  const bool adds_bos = config.adds_bos.value_or(parsed.template_bos != kNoToken);
  return std::make_unique<BpeTokenizer>(std::make_shared<BpeEncoder>(std::move(parsed)), bos,
                                        adds_bos, /*parse_special=*/false);
}

}  // namespace retnet
