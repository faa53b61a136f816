#include "models/tokenizers/bpe.h"

#include <algorithm>
#include <limits>
#include <queue>
#include <utility>

#include "absl/strings/string_view.h"
#include "models/tokenizers/characters.h"

namespace retnet {
namespace {

// Of a word with so many symbols at most, all pairs are looked at for each merge.
constexpr size_t kFewSymbols = 32;
constexpr uint32_t kNoRank = std::numeric_limits<uint32_t>::max();

}  // namespace

// Words that are pieces are most of a text, and a piece that its merges lead to is the result of
// its merges wherever it is a word: these words need no merges. Merges may lead elsewhere, so each
// is tried.
Bpe::Bpe(BpeVocabulary vocabulary) : vocabulary_(std::move(vocabulary)) {
  for (size_t id = 0; id < vocabulary_.pieces.size(); ++id) {
    const std::string& piece = vocabulary_.pieces[id];
    if (!piece.empty()) pieces_.try_emplace(piece, Piece{.id = static_cast<TokenId>(id)});
  }
  merges_.reserve(vocabulary_.merges.size());
  for (size_t i = 0; i < vocabulary_.merges.size(); ++i) {
    const BpeMerge& merge = vocabulary_.merges[i];
    merges_[Pair(merge.left, merge.right)] = {.rank = static_cast<uint32_t>(i),
                                              .result = merge.result};
  }
  for (auto& [text, piece] : pieces_) {
    std::vector<TokenId> tokens = Symbols(text);
    MergeAll(&tokens);
    piece.is_word =
        vocabulary_.ignores_merges || (tokens.size() == 1 && tokens.front() == piece.id);
  }
  vocabulary_.pieces = {};
}

const Bpe::Piece* Bpe::FindPiece(std::string_view text) const {
  const auto found = pieces_.find(absl::string_view(text.data(), text.size()));
  return found == pieces_.end() ? nullptr : &found->second;
}

const Bpe::Merge* Bpe::FindMerge(TokenId left, TokenId right) const {
  const auto found = merges_.find(Pair(left, right));
  return found == merges_.end() ? nullptr : &found->second;
}

bool Bpe::AppendBytes(std::string_view character, std::vector<TokenId>* symbols) const {
  const auto token = [&](char byte) { return vocabulary_.bytes[static_cast<unsigned char>(byte)]; };
  for (const char byte : character) {
    if (token(byte) == kNoToken) return false;
  }
  for (const char byte : character) symbols->push_back(token(byte));
  return true;
}

// An unknown symbol is kept back until one with a piece follows, as in Hugging Face's library: the
// bytes of a character may overtake it.
std::vector<TokenId> Bpe::Symbols(std::string_view word) const {
  std::vector<TokenId> symbols;
  symbols.reserve(word.size());
  bool unknown = false;
  for (size_t at = 0; at < word.size();) {
    const size_t bytes = vocabulary_.symbols_are_bytes ? 1 : CharacterBytes(word[at]);
    const std::string_view symbol = word.substr(at, bytes);
    at += bytes;
    TokenId id = kNoToken;
    if (vocabulary_.symbols_are_bytes) {
      id = vocabulary_.bytes[static_cast<unsigned char>(symbol[0])];
    } else if (const Piece* piece = FindPiece(symbol)) {
      id = piece->id;
    }
    if (id == kNoToken) {
      if (vocabulary_.byte_fallback && AppendBytes(symbol, &symbols)) continue;
      if (unknown && !vocabulary_.fuses_unknown) symbols.push_back(vocabulary_.unknown);
      unknown = vocabulary_.unknown != kNoToken;
      continue;
    }
    if (unknown) symbols.push_back(vocabulary_.unknown);
    unknown = false;
    symbols.push_back(id);
  }
  if (unknown) symbols.push_back(vocabulary_.unknown);
  return symbols;
}

void Bpe::MergeFew(std::vector<TokenId>* symbols) const {
  std::vector<TokenId>& ids = *symbols;
  Merge merges[kFewSymbols];  // of each symbol with the next one
  const auto look_up = [&](size_t i) {
    const Merge* merge = i + 1 < ids.size() ? FindMerge(ids[i], ids[i + 1]) : nullptr;
    merges[i] = merge == nullptr ? Merge{.rank = kNoRank} : *merge;
  };
  for (size_t i = 0; i < ids.size(); ++i) look_up(i);
  while (ids.size() > 1) {
    size_t first = 0;
    for (size_t i = 1; i + 1 < ids.size(); ++i) {
      if (merges[i].rank < merges[first].rank) first = i;
    }
    if (merges[first].rank == kNoRank) return;
    ids[first] = merges[first].result;
    ids.erase(ids.begin() + static_cast<ptrdiff_t>(first) + 1);
    std::copy(merges + first + 2, merges + ids.size() + 1, merges + first + 1);
    look_up(first);
    if (first > 0) look_up(first - 1);
  }
}

// A heap of pairs, by rank and place, and a list of symbols that are left. A pair of the heap is
// out of date if the symbol at its place now has another rank with its neighbour.
void Bpe::MergeMany(std::vector<TokenId>* symbols) const {
  struct Symbol {
    TokenId id = 0;
    uint32_t previous = 0;
    uint32_t next = 0;
    uint32_t rank = kNoRank;  // of the pair with the next one
  };
  const auto count = static_cast<uint32_t>(symbols->size());
  std::vector<Symbol> list(count);
  std::vector<uint64_t> pairs;  // rank and place
  pairs.reserve(count);
  const auto look_up = [&](uint32_t at) {
    Symbol& symbol = list[at];
    const Merge* merge = symbol.next < count ? FindMerge(symbol.id, list[symbol.next].id) : nullptr;
    symbol.rank = merge == nullptr ? kNoRank : merge->rank;
    return symbol.rank != kNoRank;
  };
  const auto key = [&](uint32_t at) { return uint64_t{list[at].rank} << 32 | at; };
  for (uint32_t i = 0; i < count; ++i) {
    list[i] = {.id = (*symbols)[i], .previous = i - 1, .next = i + 1};
  }
  for (uint32_t i = 0; i < count; ++i) {
    if (look_up(i)) pairs.push_back(key(i));
  }
  std::priority_queue<uint64_t, std::vector<uint64_t>, std::greater<>> heap(std::greater<>(),
                                                                            std::move(pairs));
  while (!heap.empty()) {
    const uint64_t pair = heap.top();
    heap.pop();
    const auto at = static_cast<uint32_t>(pair);
    Symbol& symbol = list[at];
    if (symbol.rank != pair >> 32 || symbol.rank == kNoRank) continue;
    Symbol& right = list[symbol.next];
    symbol.id = vocabulary_.merges[symbol.rank].result;
    right.rank = kNoRank;
    symbol.next = right.next;
    if (symbol.next < count) list[symbol.next].previous = at;
    if (look_up(at)) heap.push(key(at));
    if (at > 0 && look_up(symbol.previous)) heap.push(key(symbol.previous));
  }
  symbols->clear();
  for (uint32_t at = 0; at < count; at = list[at].next) symbols->push_back(list[at].id);
}

void Bpe::MergeAll(std::vector<TokenId>* symbols) const {
  if (symbols->size() <= kFewSymbols) {
    MergeFew(symbols);
  } else {
    MergeMany(symbols);
  }
}

void Bpe::Encode(std::string_view word, std::vector<TokenId>* tokens) const {
  if (const Piece* piece = FindPiece(word); piece != nullptr && piece->is_word) {
    tokens->push_back(piece->id);
    return;
  }
  std::vector<TokenId> symbols = Symbols(word);
  MergeAll(&symbols);
  tokens->insert(tokens->end(), symbols.begin(), symbols.end());
}

}  // namespace retnet
