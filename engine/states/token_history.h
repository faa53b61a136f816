// The tokens of a session or a sequence. Each has a row class, in which it was or will be computed.
// All of them have an origin, which says whether others may get the states that belong to them.
#ifndef RETNET_ENGINE_STATES_TOKEN_HISTORY_H_
#define RETNET_ENGINE_STATES_TOKEN_HISTORY_H_

#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "models/model.h"

namespace retnet {

// The first bytes of a token, and not the rest of it. A stop string cut the token off.
struct CutToken {
  TokenId token = kNoToken;  // kNoToken: there is none
  int32_t bytes = 0;

  bool operator==(const CutToken&) const = default;
};

// Who vouches that a history's states are those of its tokens.
enum class Origin : uint8_t {
  kComputed,  // this server: it computed them, or it read a snapshot that has an HMAC of its own key
  kStored,    // nobody: read from a store without a key, to which others may have written
  kImported,  // nobody: a client sent it, or it was stored with this mark
};

// Classes are stored as the positions at which they change. A conversation needs a few bytes a
// turn. Thread-compatible.
class TokenHistory {
 public:
  TokenHistory() = default;
  // `class_runs` as class_runs() gives them. Whether they are valid: ascending, within the tokens.
  static bool Valid(std::span<const TokenId> tokens, std::span<const int32_t> class_runs);
  TokenHistory(std::vector<TokenId> tokens, std::vector<int32_t> class_runs)
      : tokens_(std::move(tokens)), class_runs_(std::move(class_runs)) {}

  int32_t size() const { return static_cast<int32_t>(tokens_.size()); }
  bool empty() const { return tokens_.empty(); }
  std::span<const TokenId> tokens() const { return tokens_; }
  TokenId operator[](int32_t position) const { return tokens_[position]; }

  RowClass ClassAt(int32_t position) const;
  // The end of the run of tokens of one class that holds `position`.
  int32_t RunEnd(int32_t position) const;
  // Positions at which the class changes, ascending; before the first one tokens are given.
  std::span<const int32_t> class_runs() const { return class_runs_; }

  // Copies, and histories that tokens are appended to or taken from, keep the origin.
  Origin origin() const { return origin_; }
  void set_origin(Origin origin) { origin_ = origin; }

  void Append(TokenId token, RowClass row_class);
  void Append(std::span<const TokenId> tokens, RowClass row_class);
  // Forgets all but the first `size` tokens.
  void Truncate(int32_t size);

  // What follows the newest token and is no token by itself. It becomes tokens with the text that
  // is added next. Append and a Truncate that forgets something remove it.
  const CutToken& cut() const { return cut_; }
  void set_cut(CutToken cut) { cut_ = cut; }

 private:
  // The number of changes at or before `position`: odd within a run of sampled tokens.
  size_t Changes(int32_t position) const;

  std::vector<TokenId> tokens_;
  std::vector<int32_t> class_runs_;
  CutToken cut_;
  Origin origin_ = Origin::kComputed;
};

}  // namespace retnet

#endif  // RETNET_ENGINE_STATES_TOKEN_HISTORY_H_
