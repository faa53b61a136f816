// Where a Redis is, how to log in and what to expect of it.
#ifndef RETNET_ENGINE_SNAPSHOTS_REDIS_URL_H_
#define RETNET_ENGINE_SNAPSHOTS_REDIS_URL_H_

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace retnet {

struct RedisOptions {
  std::string host;
  int port = 6379;
  int database = 0;
  std::string user;       // empty: the default one
  std::string password;   // empty: none
  int64_t max_bytes = 0;  // 0: no bound of ours
  // Largest snapshot that is read. Whatever answers is trusted with little more memory than that.
  int64_t max_snapshot_bytes = int64_t{1} << 30;
  absl::Duration connect_timeout = absl::Seconds(1);
  // Without a byte sent or received.
  absl::Duration stall_timeout = absl::Seconds(5);
};

// Of "redis://[[USER]:PASSWORD@]HOST[:PORT][/DATABASE]"; an IPv6 address in brackets. In user and
// password, % and two hexadecimal digits stand for a byte. INVALID_ARGUMENT, which does not repeat
// the password, for anything else.
absl::StatusOr<RedisOptions> ParseRedisUrl(const std::string& url);

}  // namespace retnet

#endif  // RETNET_ENGINE_SNAPSHOTS_REDIS_URL_H_
