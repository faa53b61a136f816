// Byte pair encoding (Sennrich et al., arXiv:1508.07909): of the pairs of neighbours in a word, the
// one that was learnt first becomes one symbol, until no pair is left that was learnt.
#ifndef RETNET_MODELS_TOKENIZERS_BPE_H_
#define RETNET_MODELS_TOKENIZERS_BPE_H_

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "kernels/sampling.h"
#include "kernels/tensor.h"

namespace retnet {

struct BpeMerge {
  TokenId left = 0;
  TokenId right = 0;
  TokenId result = 0;
};

// What a vocabulary says of BPE.
struct BpeVocabulary {
  std::vector<std::string> pieces;  // by id; empty: the id is none that a text can give
  std::vector<BpeMerge> merges;     // those learnt first come first
  std::vector<TokenId> bytes;       // of each of the 256 bytes, or kNoToken
  bool symbols_are_bytes = false;   // a word begins as its bytes, else as its characters
  bool byte_fallback = false;       // a character without a piece is its bytes, if all have tokens
  TokenId unknown = kNoToken;       // for what has no symbol; kNoToken: that is left out
  bool fuses_unknown = false;       // unknown symbols that follow each other are one
  bool ignores_merges = false;      // a word that is a piece is that token

  // Whether no text has unknown symbols.
  bool HasAllBytes() const {
    return (symbols_are_bytes || byte_fallback) &&
           std::find(bytes.begin(), bytes.end(), kNoToken) == bytes.end();
  }
};

// Immutable; any thread may call any function.
class Bpe {
 public:
  // Ids and merges are within the pieces.
  explicit Bpe(BpeVocabulary vocabulary);

  // Appends the tokens of a word, which is not empty, and valid UTF-8 unless symbols are bytes. For
  // n bytes the time is O(n log n) and the memory O(n), some 60 bytes a byte.
  void Encode(std::string_view word, std::vector<TokenId>* tokens) const;

 private:
  struct Merge {
    uint32_t rank = 0;
    TokenId result = 0;
  };
  struct Piece {
    TokenId id = 0;
    bool is_word = false;  // as a word it gives this one token
  };
  static uint64_t Pair(TokenId left, TokenId right) {
    return uint64_t{static_cast<uint32_t>(left)} << 32 | static_cast<uint32_t>(right);
  }
  const Piece* FindPiece(std::string_view text) const;
  const Merge* FindMerge(TokenId left, TokenId right) const;
  std::vector<TokenId> Symbols(std::string_view word) const;
  bool AppendBytes(std::string_view character, std::vector<TokenId>* symbols) const;
  void MergeFew(std::vector<TokenId>* symbols) const;
  void MergeMany(std::vector<TokenId>* symbols) const;
  void MergeAll(std::vector<TokenId>* symbols) const;

  BpeVocabulary vocabulary_;  // without its pieces
  absl::flat_hash_map<std::string, Piece> pieces_;
  absl::flat_hash_map<uint64_t, Merge> merges_;  // by Pair
};

}  // namespace retnet

#endif  // RETNET_MODELS_TOKENIZERS_BPE_H_
