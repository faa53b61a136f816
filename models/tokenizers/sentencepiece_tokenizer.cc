#include "models/tokenizers/sentencepiece_tokenizer.h"

// The header of SentencePiece declares its own namespace absl, which would clash with Abseil's.
#define absl sentencepiece_absl
#include <sentencepiece_processor.h>
#undef absl

#include <algorithm>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "kernels/sampling.h"
#include "kernels/status_macros.h"
#include "models/tokenizers/characters.h"
#include "models/tokenizers/checks.h"
#include "models/tokenizers/control_pieces.h"
#include "models/tokenizers/sentencepiece_model.h"
#include "models/tokenizers/text_cuts.h"

namespace retnet {
namespace {

class SentencePieceTokenizer : public Tokenizer {
 public:
  SentencePieceTokenizer(std::unique_ptr<sentencepiece::SentencePieceProcessor> processor,
                         const SentencePieceModel& model, std::optional<bool> adds_bos)
      : processor_(std::move(processor)), cuts_(model), fuses_unknown_(!model.byte_fallback) {
    const int32_t size = processor_->GetPieceSize();
    bytes_.reserve(size);
    for (int32_t id = 0; id < size; ++id) {
      bytes_.push_back(PieceBytes(id));
      if (!drops_leading_space_ && absl::StartsWith(processor_->IdToPiece(id), kSpaceMarkUtf8)) {
        drops_leading_space_ = !absl::StartsWith(processor_->DecodeIds({id}), " ");
      }
    }
    adds_bos_ = adds_bos.value_or(bos() != kNoToken);
    if (!cuts_.anchor().empty()) anchor_tokens_ = EncodeUtf8(cuts_.anchor())->size();
    std::vector<AddedToken> controls;
    for (int32_t id = 0; id < size; ++id) {
      const std::string& piece = processor_->IdToPiece(id);
      if (!processor_->IsControl(id) || piece.empty()) continue;
      controls.push_back({.content = piece, .id = id, .special = true});
    }
    parsing_controls_ = std::make_unique<ControlPieces>(this, controls);
  }

  int32_t vocab_size() const override { return static_cast<int32_t>(bytes_.size()); }
  bool adds_bos() const override { return adds_bos_; }
  TokenId bos() const override { return processor_->bos_id(); }

  absl::StatusOr<std::vector<TokenId>> Encode(std::string_view text) const override {
    RETURN_IF_ERROR(CheckUtf8(text));
    return EncodeUtf8(text);
  }

  absl::StatusOr<std::vector<TokenId>> EncodeNext(std::string_view text) const override {
    if (text.empty() || anchor_tokens_ == 0) return Encode(text);
    RETURN_IF_ERROR(CheckUtf8(text));
    std::string anchored = cuts_.anchor();
    anchored += text;
    ASSIGN_OR_RETURN(std::vector<TokenId> tokens, EncodeUtf8(anchored));
    tokens.erase(tokens.begin(), tokens.begin() + std::min(anchor_tokens_, tokens.size()));
    return tokens;
  }

  const Tokenizer& ParsingSpecialTokens() const override { return *parsing_controls_; }

  size_t FirstCut(std::string_view text, size_t from, size_t end) const override {
    return cuts_.First(text, from, end);
  }
  size_t LastCut(std::string_view text) const override { return cuts_.Last(text); }

  // Unknown characters that follow each other are one token.
  void Join(std::span<const TokenId> next, std::vector<TokenId>* tokens) const override {
    const bool meet = !tokens->empty() && !next.empty() && processor_->IsUnknown(tokens->back()) &&
                      processor_->IsUnknown(next.front());
    if (fuses_unknown_ && meet) next = next.subspan(1);
    tokens->insert(tokens->end(), next.begin(), next.end());
  }

  size_t max_token_bytes() const override { return cuts_.max_token_bytes(); }

  absl::StatusOr<std::string> Decode(std::span<const TokenId> tokens) const override {
    std::string text;
    for (const TokenId token : tokens) {
      RETURN_IF_ERROR(CheckToken(token, vocab_size()));
      text += bytes_[token];
    }
    if (drops_leading_space_ && absl::StartsWith(text, " ")) text.erase(0, 1);
    return text;
  }

  std::string_view Bytes(TokenId token) const override {
    return token >= 0 && token < vocab_size() ? std::string_view(bytes_[token])
                                              : std::string_view();
  }

 private:
  absl::StatusOr<std::vector<TokenId>> EncodeUtf8(std::string_view text) const {
    std::vector<TokenId> tokens;
    const auto status = processor_->Encode({text.data(), text.size()}, &tokens);
    if (!status.ok()) return absl::InternalError(absl::StrCat("SentencePiece: ", status.message()));
    return tokens;
  }

  std::string PieceBytes(int32_t id) const {
    if (processor_->IsControl(id)) return "";
    if (processor_->IsUnknown(id)) return processor_->DecodeIds({id});  // its text, " ⁇ "
    const std::string& piece = processor_->IdToPiece(id);
    uint32_t byte = 0;
    if (processor_->IsByte(id) && piece.size() == 6 &&  // <0xNN>
        absl::SimpleHexAtoi(absl::string_view(piece).substr(3, 2), &byte)) {
      return std::string(1, static_cast<char>(byte));
    }
    return absl::StrReplaceAll(piece, {{kSpaceMarkUtf8, " "}});
  }

  std::unique_ptr<sentencepiece::SentencePieceProcessor> processor_;
  const TextCuts cuts_;
  const bool fuses_unknown_;
  size_t anchor_tokens_ = 0;        // 0: there is no anchor
  std::vector<std::string> bytes_;  // of each token
  // Whether Encode puts a space before the text, which Decode removes again.
  bool drops_leading_space_ = false;
  bool adds_bos_ = false;
  std::unique_ptr<const ControlPieces> parsing_controls_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<Tokenizer>> MakeSentencePieceTokenizer(
    std::string_view bytes, const SentencePieceModel& model, std::optional<bool> adds_bos) {
  auto processor = std::make_unique<sentencepiece::SentencePieceProcessor>();
  const auto status = processor->LoadFromSerializedProto({bytes.data(), bytes.size()});
  if (!status.ok()) {
    return absl::InvalidArgumentError(
        absl::StrCat("not a SentencePiece model: ", status.message()));
  }
  return std::make_unique<SentencePieceTokenizer>(std::move(processor), model, adds_bos);
}

}  // namespace retnet
