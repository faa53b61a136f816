// What a tokenizer.model says of its pieces and of its normalizer, which SentencePiece's own
// interface does not tell.
#ifndef RETNET_MODELS_TOKENIZERS_SENTENCEPIECE_MODEL_H_
#define RETNET_MODELS_TOKENIZERS_SENTENCEPIECE_MODEL_H_

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

namespace retnet {

// The fields of sentencepiece.ModelProto that are read. The numbers are those of its .proto.
struct SentencePieceModel {
  enum PieceType { kNormal = 1, kUnknown = 2, kControl = 3, kUserDefined = 4, kByte = 6 };
  struct Piece {
    std::string text;  // U+2581 stands for a space
    uint64_t type = kNormal;
  };
  // The normalizer replaces the longest key that the text begins with by its value.
  struct Rule {
    std::string key;
    std::string value;
  };
  enum Algorithm { kUnigram = 1, kBpe = 2, kWord = 3, kCharacter = 4 };

  std::vector<Piece> pieces;
  std::vector<Rule> rules;
  uint64_t algorithm = kUnigram;
  bool byte_fallback = false;
  bool space_is_suffix = false;      // a space belongs to the word before it
  bool adds_space = true;            // before a text (its dummy prefix)
  bool removes_extra_spaces = true;  // at both ends, and all but one between words
  bool marks_spaces = true;          // a space becomes U+2581
};

// INVALID_ARGUMENT if the bytes, or the rules of the normalizer in them, are malformed.
absl::StatusOr<SentencePieceModel> ParseSentencePieceModel(std::string_view bytes);

}  // namespace retnet

#endif  // RETNET_MODELS_TOKENIZERS_SENTENCEPIECE_MODEL_H_
