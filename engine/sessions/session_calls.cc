// The calls on sessions that clients make.
#include <algorithm>
#include <map>
#include <memory>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/sessions/sessions.h"
#include "kernels/status_macros.h"

namespace retnet {
namespace {

// Both by id, and so is the result: its first `limit`. Of a session that is in both, what is here;
// unless another server has gone on with it since.
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
    info.state_bytes = state_manager_->StateBytes(session.state.state->shape);
    info.tier = session.state.state->slot != kNoSlot ? StateTier::kDevice : StateTier::kHost;
  } else if (session.version > 0 && session.written_version == session.version) {
    info.tier = StateTier::kStore;
  }
  return info;
}

void Sessions::Reserve(const std::string& owner, std::vector<std::string> ids,
                       std::function<void(absl::Status)> then) {
  while (!ids.empty() && ids.back().empty()) ids.pop_back();
  if (ids.empty()) return then(absl::OkStatus());
  const SessionKey key{owner, ids.back()};
  ids.pop_back();
  if (std::find(ids.begin(), ids.end(), key.id) != ids.end()) {
    return then(absl::InvalidArgumentError(absl::StrCat("id ", key.id, " is named twice")));
  }
  With(key, [this, key, ids = std::move(ids), then = std::move(then)](SessionOr session) mutable {
    if (absl::IsNotFound(session.status())) {
      return Reserve(key.owner, std::move(ids), std::move(then));
    }
    then(session.ok()
             ? absl::AlreadyExistsError(absl::StrCat("there is a session ", key.id, " already"))
             : session.status());
  });
}

void Sessions::Create(SessionSpec spec, absl::Time now, const Reply<SessionInfo>& reply) {
  const SessionKey key = spec.key;
  Reserve(key.owner, {key.id}, [this, spec = std::move(spec), now, reply](absl::Status reserved) {
    if (!reserved.ok()) return reply(reserved);
    const SessionOr session = Add(spec, now);
    if (!session.ok()) return reply(session.status());
    Unindex(**session);
    Changed(*session, now);
    reply(InfoOf(**session));
  });
}

void Sessions::Get(const SessionKey& key, const Reply<SessionInfo>& reply) {
  With(key, [this, reply](SessionOr session) {
    if (!session.ok()) return reply(session.status());
    reply(InfoOf(**session));
  });
}

void Sessions::List(const std::string& owner, const std::string& after, int32_t limit,
                    const Reply<std::vector<SessionInfo>>& reply) {
  std::vector<SessionInfo> here;
  for (auto it = sessions_.upper_bound({owner, after});
       it != sessions_.end() && it->first.owner == owner && here.size() < limit; ++it) {
    here.push_back(InfoOf(*it->second));
  }
  if (options_.store == nullptr) return reply(std::move(here));
  const uint64_t number = ++last_listing_;
  listings_[number] = reply;
  const auto listed = [this, number, here = std::move(here),
                       limit](absl::StatusOr<std::vector<SessionInfo>> stored) {
    if (stored.ok()) stored = Merged(here, *std::move(stored), limit);
    owner_->Post([this, number, stored = std::move(stored)] {
      const auto listing = listings_.extract(number);
      if (!listing.empty()) listing.mapped()(stored);  // else closed
    });
  };
  options_.store->List(owner, after, limit, listed);
}

void Sessions::Fork(const SessionKey& key, std::vector<std::string> ids, absl::Time now,
                    const Reply<std::vector<SessionInfo>>& reply) {
  Reserve(key.owner, ids, [this, key, ids, now, reply](absl::Status reserved) {
    if (!reserved.ok()) return reply(reserved);
    With(key, [this, ids, now, reply](SessionOr found) {
      if (!found.ok()) return reply(found.status());
      if ((*found)->running != nullptr) return reply(Busy((*found)->spec.key));
      const SessionKey key = (*found)->spec.key;
      if (count() + static_cast<int64_t>(ids.size()) > options_.max_kept) {
        return reply(absl::ResourceExhaustedError(
            absl::StrCat("max_kept_sessions = ", options_.max_kept, " would be exceeded")));
      }
      std::vector<SessionInfo> children;
      for (const std::string& id : ids) {
        SessionSpec spec = (*found)->spec;
        spec.key.id = id;
        Session* child = *Add(std::move(spec), now);
        Unindex(*child);
        child->history = (*found)->history;
        child->state = (*found)->state;
        Changed(child, now);
        children.push_back(InfoOf(*child));
      }
      reply(std::move(children));
    });
  });
}

// The state stays where the tokens that are left are within its tail, and is cut when it goes on.
void Sessions::Rewind(const SessionKey& key, retnet::Rewind rewind, absl::Time now,
                      const Reply<SessionInfo>& reply) {
  With(key, [this, rewind, now, reply](SessionOr found) {
    if (!found.ok()) return reply(found.status());
    Session* session = *found;
    if (session->running != nullptr) return reply(Busy(session->spec.key));
    const int32_t length = session->history.size();
    const bool drops = rewind.counts == retnet::Rewind::Counts::kDropped;
    if (rewind.tokens < 0 || rewind.tokens > length) {
      return reply(absl::OutOfRangeError(absl::StrCat(drops ? "drop_tokens" : "to_tokens", " is ",
                                                      rewind.tokens, "; it must be from 0 to ",
                                                      length, ", the length of the history")));
    }
    const int32_t tokens = drops ? length - rewind.tokens : rewind.tokens;
    Unindex(*session);
    session->history.Truncate(tokens);
    session->state.tokens = std::min(session->state.tokens, std::max(tokens - 1, 0));
    if (session->state.tokens == 0 || !session->state.there()) session->state = {};
    Changed(session, now);
    reply(InfoOf(*session));
  });
}

void Sessions::Delete(const SessionKey& key, const Reply<SessionInfo>& reply) {
  With(key, [this, reply](SessionOr session) {
    if (!session.ok()) return reply(session.status());
    if (!(*session)->idle()) return reply(Busy((*session)->spec.key));
    const SessionInfo info = InfoOf(**session);
    Forget(*session);
    reply(info);
  });
}

void Sessions::Export(const SessionKey& key, const Reply<Snapshot>& reply) {
  With(key, [this, reply](SessionOr session) {
    if (!session.ok()) return reply(session.status());
    if ((*session)->running != nullptr) return reply(Busy((*session)->spec.key));
    ReadInto(**session, [reply](Snapshot snapshot) { reply(std::move(snapshot)); });
  });
}

void Sessions::Import(SessionSpec spec, Snapshot snapshot, absl::Time now,
                      const Reply<SessionInfo>& reply) {
  const SessionKey key = spec.key;
  auto shared = std::make_shared<Snapshot>(std::move(snapshot));
  Reserve(key.owner, {key.id},
          [this, spec = std::move(spec), shared, now, reply](absl::Status reserved) {
            if (!reserved.ok()) return reply(reserved);
            const SessionOr session = Add(spec, now);
            if (!session.ok()) return reply(session.status());
            Unindex(**session);
            Adopt(std::move(*shared), *session);
            Changed(*session, now);
            reply(InfoOf(**session));
          });
}

}  // namespace retnet
