// Puts bytes into a store, whatever is there.
#ifndef RETNET_TESTS_ENGINE_SESSIONS_PUT_SNAPSHOT_H_
#define RETNET_TESTS_ENGINE_SESSIONS_PUT_SNAPSHOT_H_

#include <string_view>

#include "absl/time/time.h"
#include "engine/snapshots/snapshot_store.h"

namespace retnet {

inline absl::Status PutSnapshot(SnapshotStore* store, const SessionKey& key, std::string_view bytes,
                                absl::Time expires = absl::InfiniteFuture()) {
  return store->Put(key, bytes, expires, {store->Stamp(key).value_or("")});
}

}  // namespace retnet

#endif  // RETNET_TESTS_ENGINE_SESSIONS_PUT_SNAPSHOT_H_
