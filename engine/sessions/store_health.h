// How the snapshot store is, as its operations tell, and which sessions it does not have because
// of that.
#ifndef RETNET_ENGINE_SESSIONS_STORE_HEALTH_H_
#define RETNET_ENGINE_SESSIONS_STORE_HEALTH_H_

#include <cstdint>
#include <optional>
#include <set>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "engine/session_key.h"
#include "engine/store_event.h"

namespace retnet {

// A session that could not be stored is tried again: after a pause that grows while the store
// fails, and as soon as the store takes another one. Thread-compatible.
class StoreHealth {
 public:
  static constexpr absl::Duration kFirstPause = absl::Seconds(1);
  static constexpr absl::Duration kLongestPause = absl::Seconds(30);

  // `listener` may be null. It hears each failure, and the end of a row of failures.
  explicit StoreHealth(StoreListener listener);

  // The end of an operation on the store, in the codes of SnapshotIo. The key may be empty.
  void OnRead(const SessionKey& key, const absl::Status& status, absl::Time now);
  void OnWrite(const SessionKey& key, const absl::Status& status, absl::Time now);
  // A turn is lost that was not given to the store yet: it has another server's.
  void OnConflict(const SessionKey& key, const absl::Status& status);

  // The last write of a session in memory failed.
  void SetNotStored(const SessionKey& key, absl::Time now);
  // It has succeeded since, or the session is not in memory any more.
  void ClearNotStored(const SessionKey& key);
  // A session left memory while it was written, and the write failed.
  void CountLost(const SessionKey& key, const absl::Status& status);

  // When to try again; InfiniteFuture: there is nothing to try.
  absl::Time next_retry() const { return next_retry_; }
  // It is tried again now.
  void BeginRetry() { next_retry_ = absl::InfiniteFuture(); }
  // A session that is not stored and was not taken since its write failed.
  std::optional<SessionKey> TakeRetry();

  bool readable() const { return reads_.ok(); }
  bool writable() const { return writes_.ok(); }
  int32_t not_stored() const { return static_cast<int32_t>(not_stored_.size()); }
  int64_t lost() const { return lost_; }

 private:
  void Observe(StoreEvent::Kind kind, absl::Status* last, const absl::Status& status,
               absl::Time now);
  void Tell(StoreEvent::Kind kind, const absl::Status& status, const SessionKey& key) const;
  void PlanRetry(absl::Time now);

  const StoreListener listener_;
  absl::Status reads_;   // of the last read
  absl::Status writes_;  // of the last write
  std::set<SessionKey> not_stored_;
  std::set<SessionKey> to_retry_;  // of these, those not taken
  absl::Time next_retry_ = absl::InfiniteFuture();
  absl::Duration pause_ = kFirstPause;
  int64_t lost_ = 0;
};

}  // namespace retnet

#endif  // RETNET_ENGINE_SESSIONS_STORE_HEALTH_H_
