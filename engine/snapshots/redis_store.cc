#include "engine/snapshots/redis_store.h"

#include <hiredis/hiredis.h>
#include <sys/time.h>

#include <algorithm>
#include <iterator>
#include <optional>
#include <set>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "engine/snapshots/safe_name.h"
#include "engine/snapshots/sigpipe_blocked.h"
#include "kernels/status_macros.h"

namespace retnet {
namespace {

constexpr std::string_view kPrefix = "retnet:snapshot:";
// The range of a snapshot that is its stamp.
constexpr std::string_view kStampFrom = "-8";
constexpr std::string_view kToEnd = "-1";

// Keeps the index of a bounded store. KEYS: sizes (a hash; the field "" is their sum), uses and
// expiries (sorted sets, in µs). ARGV: the prefix of snapshots' keys; put, touch or delete;
// OWNER:ID; and of a put its size, its lifetime in ms or "", and the bound. A put makes room; the
// snapshot itself is set beside it, in one transaction.
constexpr std::string_view kIndexScript = R"(
local sizes, uses, expiries = KEYS[1], KEYS[2], KEYS[3]
local prefix, operation, member = ARGV[1], ARGV[2], ARGV[3]
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local function forget(member)
  local size = redis.call('HGET', sizes, member)
  if size then
    redis.call('HINCRBY', sizes, '', -size)
    redis.call('HDEL', sizes, member)
  end
  redis.call('ZREM', uses, member)
  redis.call('ZREM', expiries, member)
end
if operation == 'touch' then
  return redis.call('ZADD', uses, 'XX', now, member)
end
forget(member)
if operation == 'delete' then
  return redis.call('DEL', prefix .. member)
end
local size, lifetime, bound = tonumber(ARGV[4]), ARGV[5], tonumber(ARGV[6])
for _, expired in ipairs(redis.call('ZRANGEBYSCORE', expiries, '-inf', now)) do
  forget(expired)
end
while tonumber(redis.call('HGET', sizes, '') or '0') + size > bound do
  local oldest = redis.call('ZRANGE', uses, 0, 0)[1]
  if not oldest then break end
  redis.call('DEL', prefix .. oldest)
  forget(oldest)
end
redis.call('HSET', sizes, member, size)
redis.call('HINCRBY', sizes, '', size)
redis.call('ZADD', uses, now, member)
if lifetime ~= '' then
  redis.call('ZADD', expiries, now + lifetime * 1000, member)
end
return size
)";

std::string Member(const SessionKey& key) {
  return absl::StrCat(SafeName(key.owner), ":", SafeName(key.id));
}

absl::Status WrongReply(absl::string_view command) {
  return absl::InternalError(absl::StrCat("Redis: not a reply to ", command));
}

absl::StatusOr<std::string> TextOf(const redisReply& reply, absl::string_view command) {
  if (reply.type != REDIS_REPLY_STRING) return WrongReply(command);
  return std::string(reply.str, reply.len);
}

std::string Key(const std::string& member) { return std::string(kPrefix) + member; }

// Replies to one call hold at most so much beside a snapshot: a page of keys, heads of snapshots.
constexpr int64_t kMostOtherBytes = 64 << 20;
constexpr int64_t kMostElements = 1 << 20;

const redisReplyObjectFunctions& DefaultReplyFunctions() {
  static const redisReplyObjectFunctions& functions = *new redisReplyObjectFunctions([] {
    redisReader* reader = redisReaderCreate();
    const redisReplyObjectFunctions copy = *reader->fn;
    redisReaderFree(reader);
    return copy;
  }());
  return functions;
}

absl::Status ErrorReply(const redisReply& reply) {
  const absl::string_view message(reply.str, reply.len);
  // Within a transaction it is the command before that says why.
  const bool full = absl::StartsWith(message, "OOM");
  const std::string text = absl::StrCat("Redis: ", message);
  return full ? absl::ResourceExhaustedError(text) : absl::UnavailableError(text);
}

// Of a reply, or of the replies within it.
absl::Status StatusOf(const redisReply& reply) {
  if (reply.type == REDIS_REPLY_ERROR) return ErrorReply(reply);
  if (reply.type == REDIS_REPLY_ARRAY) {
    for (size_t i = 0; i < reply.elements; ++i) RETURN_IF_ERROR(StatusOf(*reply.element[i]));
  }
  return absl::OkStatus();
}

}  // namespace

void RedisStore::FreeContext::operator()(redisContext* context) const { redisFree(context); }
void RedisStore::FreeReply::operator()(redisReply* reply) const { freeReplyObject(reply); }

RedisStore::RedisStore(RedisOptions options)
    : options_(std::move(options)), max_bytes_(absl::StrCat(options_.max_bytes)) {}

RedisStore::~RedisStore() = default;

absl::Status RedisStore::Lost(absl::string_view what, absl::StatusCode code) {
  const absl::Status status(
      code, absl::StrCat("Redis at ", options_.host, " port ", options_.port, ": ", what));
  context_ = nullptr;
  return status;
}

absl::Status RedisStore::Connect() {
  const absl::Time begun = absl::Now();
  if (begun < retry_at_) return Lost("cannot be reached; it is tried again soon");
  context_.reset(redisConnectWithTimeout(options_.host.c_str(), options_.port,
                                         absl::ToTimeval(options_.connect_timeout)));
  const auto failed = [&](absl::string_view what,
                          absl::StatusCode code = absl::StatusCode::kUnavailable) {
    const absl::Time now = absl::Now();
    retry_at_ = now + 4 * (now - begun);
    return Lost(what, code);
  };
  if (context_ == nullptr) return failed("out of memory");
  if (context_->err != 0) return failed(context_->errstr);
  if (redisSetTimeout(context_.get(), absl::ToTimeval(options_.stall_timeout)) != REDIS_OK) {
    return failed(context_->errstr);
  }
  BoundReplies();
  absl::Status status;
  if (!options_.password.empty()) {
    const Command with_user = {"AUTH", options_.user, options_.password};
    const Command without = {"AUTH", options_.password};
    status = RunOnce({options_.user.empty() ? without : with_user}).status();
  }
  const std::string database = absl::StrCat(options_.database);
  if (status.ok() && options_.database != 0) status = RunOnce({{"SELECT", database}}).status();
  return status.ok() ? status : failed(status.message(), status.code());
}

absl::StatusOr<std::vector<RedisStore::Reply>> RedisStore::RunOnce(const Commands& commands) {
  const SigpipeBlocked blocked;
  for (const Command& command : commands) {
    std::vector<const char*> words;
    std::vector<size_t> sizes;
    for (const std::string_view word : command) {
      words.push_back(word.data());
      sizes.push_back(word.size());
    }
    if (redisAppendCommandArgv(context_.get(), static_cast<int>(words.size()), words.data(),
                               sizes.data()) != REDIS_OK) {
      return Lost("out of memory");
    }
  }
  budget_ = {.bytes = options_.max_snapshot_bytes + kMostOtherBytes, .elements = kMostElements};
  std::vector<Reply> replies;
  absl::Status status;
  while (replies.size() < commands.size()) {
    ASSIGN_OR_RETURN(Reply reply, ReadReply());
    replies.push_back(std::move(reply));
    status.Update(StatusOf(*replies.back()));
  }
  RETURN_IF_ERROR(status);
  return replies;
}

// As redisGetReply, but for the bounds.
absl::StatusOr<RedisStore::Reply> RedisStore::ReadReply() {
  for (int all_sent = 0; all_sent == 0;) {
    if (redisBufferWrite(context_.get(), &all_sent) != REDIS_OK) return Lost(context_->errstr);
  }
  while (true) {
    void* reply = nullptr;
    if (redisGetReplyFromReader(context_.get(), &reply) != REDIS_OK) {
      const bool refused = budget_.elements < 0;
      const bool garbled = refused || context_->err == REDIS_ERR_PROTOCOL;
      return Lost(refused ? "a reply with more elements than any of Redis's" : context_->errstr,
                  garbled ? absl::StatusCode::kInternal : absl::StatusCode::kUnavailable);
    }
    if (reply != nullptr) return Reply(static_cast<redisReply*>(reply));
    const size_t before = context_->reader->len;
    if (redisBufferRead(context_.get()) != REDIS_OK) return Lost(context_->errstr);
    budget_.bytes -= static_cast<int64_t>(context_->reader->len - before);
    if (budget_.bytes < 0) {
      return Lost("a reply with more bytes than the largest snapshot has",
                  absl::StatusCode::kInternal);
    }
  }
}

// An array is made when its head is read, before its elements come.
void* RedisStore::CreateArray(const redisReadTask* task, int elements) {
  auto* budget = static_cast<ReplyBudget*>(task->privdata);
  budget->elements -= elements;
  if (budget->elements < 0) return nullptr;
  return DefaultReplyFunctions().createArray(task, elements);
}

void RedisStore::BoundReplies() {
  static redisReplyObjectFunctions& functions = *new redisReplyObjectFunctions([] {
    redisReplyObjectFunctions bounded = DefaultReplyFunctions();
    bounded.createArray = CreateArray;
    return bounded;
  }());
  context_->reader->fn = &functions;
  context_->reader->privdata = &budget_;
}

absl::StatusOr<std::vector<RedisStore::Reply>> RedisStore::Run(const Commands& commands) {
  if (context_ != nullptr) {
    const absl::Time begun = absl::Now();
    auto replies = RunOnce(commands);
    if (context_ != nullptr) return replies;
    const absl::Time now = absl::Now();
    if (now - begun >= options_.stall_timeout) {  // it would do so again
      retry_at_ = now + 4 * (now - begun);
      return replies;
    }
  }
  RETURN_IF_ERROR(Connect());
  return RunOnce(commands);
}

RedisStore::Command RedisStore::Index(std::string_view operation, std::string_view member,
                                      std::string_view size, std::string_view lifetime) const {
  return {"EVAL",
          kIndexScript,
          "3",
          "retnet:snapshots:sizes",
          "retnet:snapshots:uses",
          "retnet:snapshots:expiries",
          kPrefix,
          operation,
          member,
          size,
          lifetime,
          max_bytes_};
}

absl::Status RedisStore::Put(const SessionKey& key, std::string_view bytes, absl::Time expires,
                             const std::vector<SnapshotStamp>& over) {
  const std::string member = Member(key);
  const std::string name = Key(member);
  const std::string size = absl::StrCat(bytes.size());
  std::string lifetime;  // in ms
  Command set = {"SET", name, bytes};
  if (expires != absl::InfiniteFuture()) {
    // Redis refuses a lifetime that overflows with its clock.
    const int64_t milliseconds =
        absl::ToInt64Milliseconds(std::min(expires - absl::Now(), absl::Hours(24 * 365 * 100)));
    if (milliseconds <= 0) return Delete(key);
    lifetime = absl::StrCat(milliseconds);
    set.insert(set.end(), {"PX", lifetime});
  }
  const SnapshotStamp stamp = StampOf(bytes);
  if (options_.max_bytes == 0) return RunOver(name, stamp, over, {{"MULTI"}, set, {"EXEC"}});
  if (bytes.size() > options_.max_bytes) {
    return absl::ResourceExhaustedError(absl::StrCat(
        "a snapshot of ", size, " bytes; the store holds at most ", options_.max_bytes));
  }
  return RunOver(name, stamp, over,
                 {{"MULTI"}, Index("put", member, size, lifetime), set, {"EXEC"}});
}

// By a WATCH and not in a script, which would copy the snapshot.
absl::Status RedisStore::RunOver(const std::string& name, const SnapshotStamp& stamp,
                                 const std::vector<SnapshotStamp>& over,
                                 const Commands& transaction) {
  const absl::Time give_up = absl::Now() + options_.stall_timeout;
  while (true) {
    ASSIGN_OR_RETURN(const std::vector<Reply> watched,
                     Run({{"WATCH", name}, {"GETRANGE", name, kStampFrom, kToEnd}}));
    const absl::StatusOr<std::string> there = TextOf(*watched[1], "GETRANGE");
    const absl::Status replaces = there.ok() ? CheckReplaces(*there, stamp, over) : there.status();
    if (!replaces.ok()) {
      RunOnce({{"UNWATCH"}}).IgnoreError();
      return replaces;
    }
    const absl::StatusOr<std::vector<Reply>> replies = RunOnce(transaction);
    if (replies.ok() && replies->back()->type == REDIS_REPLY_ARRAY) return absl::OkStatus();
    if (replies.ok() && replies->back()->type != REDIS_REPLY_NIL) return WrongReply("EXEC");
    // Somebody came between, or the connection has ended, be it behind the EXEC.
    const bool again = replies.ok() || context_ == nullptr;
    if (!again || absl::Now() >= give_up) {
      return replies.ok() ? absl::UnavailableError("Redis: others write the same key all the time")
                          : replies.status();
    }
  }
}

absl::StatusOr<SnapshotStamp> RedisStore::Stamp(const SessionKey& key) {
  const std::string name = Key(Member(key));
  ASSIGN_OR_RETURN(const std::vector<Reply> replies, Run({{"GETRANGE", name, kStampFrom, kToEnd}}));
  return TextOf(*replies.front(), "GETRANGE");
}

absl::StatusOr<std::string> RedisStore::Get(const SessionKey& key) {
  const std::string member = Member(key);
  const std::string name = Key(member);
  const Command get = {"GET", name};
  ASSIGN_OR_RETURN(
      const std::vector<Reply> replies,
      options_.max_bytes == 0 ? Run({get}) : Run({get, Index("touch", member, "", "")}));
  const redisReply& reply = *replies.front();
  if (reply.type == REDIS_REPLY_NIL) return absl::NotFoundError("no such snapshot");
  return TextOf(reply, "GET");
}

absl::Status RedisStore::Delete(const SessionKey& key) {
  const std::string member = Member(key);
  const std::string name = Key(member);
  if (options_.max_bytes == 0) return Run({{"DEL", name}}).status();
  return Run({Index("delete", member, "", "")}).status();
}

absl::StatusOr<std::vector<std::string>> RedisStore::List(const std::string& owner,
                                                          const std::string& first, int32_t limit) {
  const std::string prefix = Key(Member({owner, ""}));
  const std::string pattern = prefix + "*";
  std::set<std::string> ids;  // SCAN may name a key more than once
  std::string cursor = "0";
  do {
    ASSIGN_OR_RETURN(const std::vector<Reply> replies,
                     Run({{"SCAN", cursor, "MATCH", pattern, "COUNT", "1000"}}));
    const redisReply& page = *replies.front();
    if (page.type != REDIS_REPLY_ARRAY || page.elements != 2 ||
        page.element[0]->type != REDIS_REPLY_STRING || page.element[1]->type != REDIS_REPLY_ARRAY) {
      return WrongReply("SCAN");
    }
    const redisReply& keys = *page.element[1];
    for (size_t i = 0; i < keys.elements; ++i) {
      if (keys.element[i]->type != REDIS_REPLY_STRING) return WrongReply("SCAN");
      const std::string_view name(keys.element[i]->str, keys.element[i]->len);
      std::optional<std::string> id = NameOfSafe(name.substr(std::min(prefix.size(), name.size())));
      if (id && *id >= first) ids.insert(*std::move(id));
      if (ids.size() > limit) ids.erase(std::prev(ids.end()));
    }
    cursor.assign(page.element[0]->str, page.element[0]->len);
  } while (cursor != "0");
  return std::vector<std::string>(ids.begin(), ids.end());
}

absl::StatusOr<std::vector<std::string>> RedisStore::Heads(const std::string& owner,
                                                           const std::vector<std::string>& ids,
                                                           int64_t bytes) {
  const std::string last = absl::StrCat(bytes - 1);
  std::vector<std::string> names;
  for (const std::string& id : ids) names.push_back(Key(Member({owner, id})));
  Commands commands;
  for (const std::string& name : names) commands.push_back({"GETRANGE", name, "0", last});
  ASSIGN_OR_RETURN(const std::vector<Reply> replies, Run(commands));
  std::vector<std::string> heads;
  for (const Reply& reply : replies) {
    ASSIGN_OR_RETURN(heads.emplace_back(), TextOf(*reply, "GETRANGE"));
  }
  return heads;
}

}  // namespace retnet
