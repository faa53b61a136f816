// Names a session: everything kept of one, in memory or in a store, is found by its owner and id
// together, so that nobody reaches what another owns.
#ifndef RETNET_ENGINE_SESSION_KEY_H_
#define RETNET_ENGINE_SESSION_KEY_H_

#include <string>
#include <tuple>
#include <utility>

namespace retnet {

// Any bytes; the principal that owns the session, and the id that it is known by to them.
struct SessionKey {
  std::string owner;
  std::string id;

  friend bool operator==(const SessionKey&, const SessionKey&) = default;
  friend bool operator<(const SessionKey& a, const SessionKey& b) {
    return std::tie(a.owner, a.id) < std::tie(b.owner, b.id);
  }
  template <typename H>
  friend H AbslHashValue(H hash, const SessionKey& key) {
    return H::combine(std::move(hash), key.owner, key.id);
  }
};

}  // namespace retnet

#endif  // RETNET_ENGINE_SESSION_KEY_H_
