// The calls on sessions that clients make.
#include <algorithm>
#include <map>
#include <memory>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "engine/sessions/sessions.h"
#include "kernels/status_macros.h"

namespace retnet {
namespace {

// The sessions that are here or in the store, the first `limit` by id. All three lists are in the
// order of ids. A session in both is told as it is here, unless another server went on with it.
std::vector<SessionInfo> Merged(std::vector<SessionInfo> here, std::vector<SessionInfo> stored,
                                int32_t limit) {
  std::map<std::string, SessionInfo> by_id;
  for (SessionInfo& info : here) by_id.emplace(info.key.id, std::move(info));
  for (SessionInfo& info : stored) {
    const auto [entry, is_new] = by_id.try_emplace(info.key.id, info);
    if (!is_new && !entry->second.busy && info.version > entry->second.version) {
      entry->second = std::move(info);
    }
  }
  std::vector<SessionInfo> merged;
  for (auto& [id, info] : by_id) {
    if (merged.size() < limit) merged.push_back(std::move(info));
  }
  return merged;
}

}  // namespace

SessionInfo Sessions::InfoOf(const Session& session) const {
  SessionInfo info{.key = session.spec.key,
                   .labels = session.spec.labels,
                   .created = session.created,
                   .last_used = session.last_used,
                   .expires = session.expires(),
                   .busy = session.running != nullptr,
                   .version = session.version};
  const TokenHistory& history = info.busy ? session.running->history() : session.history;
  info.tokens = history.size();
  if (info.busy) {
    info.state_tokens = session.running->computed_tokens();
    if (session.running->slot() != kNoSlot) info.tier = StateTier::kDevice;
    return info;
  }
  if (session.state.there()) {
    info.state_tokens = session.state.tokens;
    info.state_bytes = state_cache_->BytesOf(session.state.state->shape);
    info.tier = session.state.state->slot != kNoSlot ? StateTier::kDevice : StateTier::kHost;
  } else if (session.version > 0 && session.written_version == session.version) {
    info.tier = StateTier::kStore;
  }
  return info;
}

template <typename T>
void Sessions::Answer(const SessionKey& key, const Reply<T>& reply,
                      std::function<absl::StatusOr<T>(Session*)> call) {
  Lookup(key, [reply, call = std::move(call)](SessionOr session) {
    reply(session.ok() ? call(*session) : session.status());
  });
  CheckInvariants();
}

absl::Status Sessions::UnusedHere(const std::string& owner, const std::vector<std::string>& ids) {
  for (const std::string& id : ids) {
    if (id.empty() || Find({owner, id}) == nullptr) continue;
    return absl::AlreadyExistsError(absl::StrCat("there is a session ", id, " already"));
  }
  return absl::OkStatus();
}

void Sessions::CheckUnused(const std::string& owner, const std::vector<std::string>& ids,
                           OnStatus then) {
  std::set<std::string> asked;
  for (const std::string& id : ids) {
    if (id.empty() || asked.insert(id).second) continue;
    return then(absl::InvalidArgumentError(absl::StrCat("id ", id, " is named twice")));
  }
  if (asked.empty()) return then(absl::OkStatus());
  struct Answers {
    size_t missing;
    absl::Status error;  // the first one
  };
  const auto answers = std::make_shared<Answers>(Answers{asked.size(), absl::OkStatus()});
  const auto answered = [this, owner, ids, answers, then = std::move(then)](SessionOr session) {
    if (!session.ok() && !absl::IsNotFound(session.status())) {
      answers->error.Update(session.status());
    }
    if (--answers->missing > 0) return;
    // Of those answered first, one may have been taken since.
    then(answers->error.ok() ? UnusedHere(owner, ids) : answers->error);
  };
  for (const std::string& id : asked) Lookup({owner, id}, answered);
}

void Sessions::AddNew(const SessionSpec& spec, absl::Time now,
                      const std::function<void(Session*)>& begin, const Reply<SessionInfo>& reply) {
  CheckUnused(spec.key.owner, {spec.key.id}, [this, spec, now, begin, reply](absl::Status unused) {
    if (!unused.ok()) return reply(unused);
    const SessionOr session = Add(spec, now);
    if (!session.ok()) return reply(session.status());
    Unindex(**session);
    if (begin != nullptr) begin(*session);
    Changed(*session, now);
    reply(InfoOf(**session));
  });
  CheckInvariants();
}

void Sessions::Create(const SessionSpec& spec, absl::Time now, const Reply<SessionInfo>& reply) {
  AddNew(spec, now, /*begin=*/nullptr, reply);
}

void Sessions::Import(const SessionSpec& spec, Snapshot snapshot, absl::Time now,
                      const Reply<SessionInfo>& reply) {
  const auto shared = std::make_shared<Snapshot>(std::move(snapshot));
  const auto begin = [this, shared](Session* session) {
    TakeSnapshot(std::move(*shared), Origin::kImported, session);
  };
  AddNew(spec, now, begin, reply);
}

void Sessions::Get(const SessionKey& key, const Reply<SessionInfo>& reply) {
  Answer<SessionInfo>(key, reply, [this](Session* session) { return InfoOf(*session); });
}

void Sessions::List(const std::string& owner, const std::string& after, int32_t limit,
                    const Reply<std::vector<SessionInfo>>& reply) {
  std::vector<SessionInfo> here;
  for (auto it = sessions_.upper_bound({owner, after});
       it != sessions_.end() && it->first.owner == owner && here.size() < limit; ++it) {
    here.push_back(InfoOf(*it->second));
  }
  if (store_ == nullptr) return reply(std::move(here));
  const uint64_t number = ++last_listing_;
  listings_[number] = reply;
  const auto listed = [this, number, here = std::move(here),
                       limit](absl::StatusOr<std::vector<SessionInfo>> stored) {
    if (stored.ok()) stored = Merged(here, *std::move(stored), limit);
    post_([this, number, stored = std::move(stored)] {
      health_.OnRead(SessionKey(), stored.status(), absl::Now());
      const auto listing = listings_.extract(number);
      if (!listing.empty()) listing.mapped()(stored);  // else closed
    });
  };
  store_->List(owner, after, limit, listed);
}

void Sessions::Fork(const SessionKey& key, const std::vector<std::string>& ids, absl::Time now,
                    const Reply<std::vector<SessionInfo>>& reply) {
  CheckUnused(key.owner, ids, [this, key, ids, now, reply](absl::Status unused) {
    if (!unused.ok()) return reply(unused);
    Answer<std::vector<SessionInfo>>(
        key, reply, [this, ids, now](Session* parent) { return Forked(*parent, ids, now); });
  });
}

absl::StatusOr<std::vector<SessionInfo>> Sessions::Forked(const Session& parent,
                                                          const std::vector<std::string>& ids,
                                                          absl::Time now) {
  if (parent.running != nullptr) return Busy(parent.spec.key);
  RETURN_IF_ERROR(UnusedHere(parent.spec.key.owner, ids));  // the look-up of the parent took time
  if (count() + static_cast<int64_t>(ids.size()) > options_.max_kept) {
    return absl::ResourceExhaustedError(
        absl::StrCat("max_kept_sessions = ", options_.max_kept, " would be exceeded"));
  }
  std::vector<SessionInfo> children;
  for (const std::string& id : ids) {
    SessionSpec spec = parent.spec;
    spec.key.id = id;
    ASSIGN_OR_RETURN(Session * child, Add(std::move(spec), now));
    Unindex(*child);
    child->history = parent.history;
    child->state = parent.state;
    Changed(child, now);
    children.push_back(InfoOf(*child));
  }
  return children;
}

void Sessions::Rewind(const SessionKey& key, const retnet::Rewind& rewind, absl::Time now,
                      const Reply<SessionInfo>& reply) {
  Answer<SessionInfo>(
      key, reply, [this, rewind, now](Session* session) { return Rewound(session, rewind, now); });
}

// The state stays where the tokens that are left are within its tail, and is cut when it goes on.
absl::StatusOr<SessionInfo> Sessions::Rewound(Session* session, const retnet::Rewind& rewind,
                                              absl::Time now) {
  if (session->running != nullptr) return Busy(session->spec.key);
  const int32_t length = session->history.size();
  const bool drops = rewind.counts == retnet::Rewind::Counts::kDropped;
  if (rewind.tokens < 0 || rewind.tokens > length) {
    return absl::OutOfRangeError(absl::StrCat(drops ? "drop_tokens" : "to_tokens", " is ",
                                              rewind.tokens, "; it must be from 0 to ", length,
                                              ", the length of the history"));
  }
  const int32_t tokens = drops ? length - rewind.tokens : rewind.tokens;
  Unindex(*session);
  session->history.Truncate(tokens);
  session->state.tokens = std::min(session->state.tokens, std::max(tokens - 1, 0));
  if (session->state.tokens == 0 || !session->state.there()) session->state = {};
  Changed(session, now);
  return InfoOf(*session);
}

void Sessions::Delete(const SessionKey& key, const Reply<SessionInfo>& reply) {
  Answer<SessionInfo>(key, reply, [this](Session* session) -> absl::StatusOr<SessionInfo> {
    if (!session->idle()) return Busy(session->spec.key);
    const SessionInfo info = InfoOf(*session);
    Forget(session);
    return info;
  });
}

void Sessions::Export(const SessionKey& key, const Reply<Snapshot>& reply) {
  Lookup(key, [this, reply](SessionOr session) {
    if (!session.ok()) return reply(session.status());
    if ((*session)->running != nullptr) return reply(Busy((*session)->spec.key));
    ReadInto(**session, [reply](Snapshot snapshot) { reply(std::move(snapshot)); });
  });
}

}  // namespace retnet
