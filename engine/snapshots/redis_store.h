// Snapshots in a Redis that several servers share: what one has stored, each of them continues.
//
// A snapshot is the string retnet:snapshot:OWNER:ID (percent-encoded), with its time to live. Where
// there is a bound, three keys beside them (retnet:snapshots:…) hold sizes, uses and expiries, and
// the bound is that of all servers together, which should name the same one; without a bound they
// are not kept, and Redis's own maxmemory and maxmemory-policy rule. A Redis that is full by its
// maxmemory and may not evict makes Put RESOURCE_EXHAUSTED. Not for Redis Cluster.
#ifndef RETNET_ENGINE_SNAPSHOTS_REDIS_STORE_H_
#define RETNET_ENGINE_SNAPSHOTS_REDIS_STORE_H_

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/time/time.h"
#include "engine/snapshots/redis_url.h"
#include "engine/snapshots/snapshot_store.h"

struct redisContext;
struct redisReadTask;
struct redisReply;

namespace retnet {

// Connects when it is first used and again whenever the connection is lost. UNAVAILABLE while Redis
// cannot be reached; after an attempt that took long, at once and for four times as long, so that
// whoever waits for many calls does not wait for each; so, too, after a command that stalled.
// INTERNAL for a reply that Redis does not give: something else answers, and after that the
// connection is given up. Thread-compatible.
class RedisStore : public SnapshotStore {
 public:
  explicit RedisStore(RedisOptions options);
  ~RedisStore() override;

  absl::Status Put(const SessionKey& key, std::string_view bytes, absl::Time expires,
                   const std::vector<SnapshotStamp>& over) override;
  absl::StatusOr<std::string> Get(const SessionKey& key) override;
  absl::StatusOr<SnapshotStamp> Stamp(const SessionKey& key) override;
  absl::Status Delete(const SessionKey& key) override;
  // Looks at every key of the database.
  absl::StatusOr<std::vector<std::string>> List(const std::string& owner, const std::string& first,
                                                int32_t limit) override;
  absl::StatusOr<std::vector<std::string>> Heads(const std::string& owner,
                                                 const std::vector<std::string>& ids,
                                                 int64_t bytes) override;
  bool shared() const override { return true; }

 private:
  struct FreeContext {
    void operator()(redisContext* context) const;
  };
  struct FreeReply {
    void operator()(redisReply* reply) const;
  };
  using Reply = std::unique_ptr<redisReply, FreeReply>;
  // What the replies to some commands may still take.
  struct ReplyBudget {
    int64_t bytes = 0;     // that are received
    int64_t elements = 0;  // of arrays
  };
  using Command = std::vector<std::string_view>;
  using Commands = std::vector<Command>;

  absl::Status Connect();
  // Sends all, then reads the reply to each; the first that is an error is the status. Tried again
  // on a new connection when the one there was has ended: so only what may be done twice.
  absl::StatusOr<std::vector<Reply>> Run(const Commands& commands);
  absl::StatusOr<std::vector<Reply>> RunOnce(const Commands& commands);
  absl::StatusOr<Reply> ReadReply();
  // The same for a transaction on a key, if what is there may be replaced.
  absl::Status RunOver(const std::string& name, const SnapshotStamp& stamp,
                       const std::vector<SnapshotStamp>& over, const Commands& transaction);
  // What went wrong on the connection, which is given up.
  absl::Status Lost(absl::string_view what, absl::StatusCode code = absl::StatusCode::kUnavailable);
  static void* CreateArray(const redisReadTask* task, int elements);
  void BoundReplies();
  Command Index(std::string_view operation, std::string_view member, std::string_view size,
                std::string_view lifetime) const;

  const RedisOptions options_;
  const std::string max_bytes_;                         // as text
  std::unique_ptr<redisContext, FreeContext> context_;  // null: not connected
  ReplyBudget budget_;                                  // the reader of context_ refers to it
  absl::Time retry_at_ = absl::InfinitePast();
};

}  // namespace retnet

#endif  // RETNET_ENGINE_SNAPSHOTS_REDIS_STORE_H_
