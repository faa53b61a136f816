#include "server/ops/store_watch.h"

#include <string>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "server/ops/logging.h"

namespace retnet {
namespace {

// Between two messages of one kind. A change is told at once unless the last message is younger.
constexpr absl::Duration kBetweenChanges = absl::Seconds(10);
constexpr absl::Duration kBetweenRepeats = absl::Minutes(1);

std::string SessionName(const SessionKey& key) {
  if (key.id.empty()) return "a session";
  return absl::StrCat("session ", absl::Utf8SafeCHexEscape(key.id), " of ",
                      absl::Utf8SafeCHexEscape(key.owner));
}

// How many sessions a restart would lose.
std::string Affected(int32_t sessions) {
  if (sessions == 0) return "every session in memory is stored";
  return absl::StrCat(sessions, sessions == 1 ? " session is" : " sessions are",
                      " not stored; memory keeps them, and they are tried again");
}

std::string Text(const StoreEvent& event) {
  const std::string cause = event.status.ToString(absl::StatusToStringMode::kWithNoExtraData);
  switch (event.kind) {
    case StoreEvent::Kind::kReads:
      return event.status.ok() ? "can be read again" : absl::StrCat("cannot be read: ", cause);
    case StoreEvent::Kind::kWrites:
      return absl::StrCat(
          event.status.ok() ? "can be written again" : absl::StrCat("cannot be written: ", cause),
          "; ", Affected(event.sessions_not_stored));
    case StoreEvent::Kind::kRefused:
      return absl::StrCat("the snapshot of ", SessionName(event.session),
                          " is not loaded: ", cause);
    case StoreEvent::Kind::kConflict:
      return absl::StrCat("a turn of ", SessionName(event.session), " is lost: ", cause);
    case StoreEvent::Kind::kLost:
      return absl::StrCat(SessionName(event.session),
                          " is lost: it left memory for other sessions, and then could not be "
                          "written: ",
                          cause);
  }
  return "";
}

}  // namespace

StoreListener StoreWatch::Listener() {
  return [this](const StoreEvent& event) { worker_.Post([this, event] { Handle(event); }); };
}

void StoreWatch::TellHealth(SetHealth set_health) {
  const MutexLock lock(&mu_);
  set_health_ = std::move(set_health);
  if (set_health_ != nullptr) set_health_(readable_ && writable_);
}

void StoreWatch::Handle(const StoreEvent& event) {
  const MutexLock lock(&mu_);
  const bool was_healthy = readable_ && writable_;
  if (event.kind == StoreEvent::Kind::kReads) readable_ = event.status.ok();
  if (event.kind == StoreEvent::Kind::kWrites) writable_ = event.status.ok();
  const bool healthy = readable_ && writable_;
  if (healthy != was_healthy && set_health_ != nullptr) set_health_(healthy);
  WriteLog(event);
}

void StoreWatch::WriteLog(const StoreEvent& event) {
  Logged& logged = logged_[static_cast<int>(event.kind)];
  const absl::Time now = absl::Now();
  if (event.status.ok()) {
    if (!logged.failing) return;  // nobody has heard of it
  } else if (now - logged.last < (logged.failing ? kBetweenRepeats : kBetweenChanges)) {
    ++logged.left_out;
    return;
  }
  std::string text = absl::StrCat("snapshot store: ", Text(event));
  if (logged.left_out > 0) absl::StrAppend(&text, " (", logged.left_out, " more since the last)");
  Log(event.status.ok() ? LogLevel::kInfo : LogLevel::kError, text);
  const bool lasts =
      event.kind == StoreEvent::Kind::kReads || event.kind == StoreEvent::Kind::kWrites;
  logged = {.last = now, .failing = lasts && !event.status.ok()};
}

}  // namespace retnet
