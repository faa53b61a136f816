#include "server/wire/session_translation.h"

#include <algorithm>
#include <cstdint>

#include "absl/strings/str_cat.h"
#include "kernels/status_macros.h"

namespace retnet {
namespace {

constexpr size_t kMaxIdBytes = 256;
constexpr size_t kMaxLabels = 64;
constexpr size_t kMaxLabelBytes = 1024;
constexpr int32_t kMaxForks = 128;

absl::string_view View(std::string_view text) { return {text.data(), text.size()}; }

void SetTimestamp(absl::Time time, google::protobuf::Timestamp* wire) {
  const int64_t seconds = absl::ToUnixSeconds(time);
  wire->set_seconds(seconds);
  wire->set_nanos(
      static_cast<int32_t>(absl::ToInt64Nanoseconds(time - absl::FromUnixSeconds(seconds))));
}

v1::StateTier ToWire(StateTier tier) {
  switch (tier) {
    case StateTier::kNone:
      break;
    case StateTier::kDevice:
      return v1::STATE_TIER_DEVICE;
    case StateTier::kHost:
      return v1::STATE_TIER_HOST;
    case StateTier::kStore:
      return v1::STATE_TIER_STORE;
  }
  return v1::STATE_TIER_UNSPECIFIED;
}

absl::Status CheckLabels(const v1::CreateSessionRequest& wire) {
  if (wire.labels().size() > kMaxLabels) {
    return absl::InvalidArgumentError(absl::StrCat(
        "labels has ", wire.labels().size(), " entries; at most ", kMaxLabels, " are allowed"));
  }
  for (const auto& [key, value] : wire.labels()) {
    if (const size_t bytes = key.size() + value.size(); bytes > kMaxLabelBytes) {
      return absl::InvalidArgumentError(
          absl::StrCat("a label has ", bytes, " bytes; key and value together must have at most ",
                       kMaxLabelBytes));
    }
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status CheckSessionId(std::string_view field, std::string_view id) {
  if (id.empty() || id.size() > kMaxIdBytes) {
    return absl::InvalidArgumentError(
        absl::StrCat(View(field), " has ", id.size(), " bytes; it must have 1 to ", kMaxIdBytes));
  }
  // The id may become part of a path or of a key in a store.
  const auto bad = std::find_if(id.begin(), id.end(),
                                [](char byte) { return byte < ' ' || byte > '~' || byte == '/'; });
  if (bad == id.end()) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat(View(field), " has byte ", static_cast<uint8_t>(*bad), " at ", bad - id.begin(),
                   "; it must be printable ASCII without '/'"));
}

absl::StatusOr<int32_t> SeenSessionTokens(std::string_view session_id, int32_t session_tokens) {
  if (session_id.empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat("session_tokens is ", session_tokens,
                     "; it must be left out where there is no session_id"));
  }
  if (session_tokens >= 0) return session_tokens;
  return absl::InvalidArgumentError(
      absl::StrCat("session_tokens is ", session_tokens, "; it must be at least 0"));
}

absl::StatusOr<SessionSpec> TranslateCreate(const v1::CreateSessionRequest& wire,
                                            const std::string& owner) {
  SessionSpec spec;
  spec.key = {owner, wire.id()};
  if (!wire.id().empty()) RETURN_IF_ERROR(CheckSessionId("id", wire.id()));
  if (wire.has_ttl_seconds()) {
    if (!(wire.ttl_seconds() > 0)) {
      return absl::InvalidArgumentError(
          absl::StrCat("ttl_seconds is ", wire.ttl_seconds(), "; it must be more than 0"));
    }
    spec.ttl = absl::Seconds(wire.ttl_seconds());
  }
  RETURN_IF_ERROR(CheckLabels(wire));
  spec.labels.insert(wire.labels().begin(), wire.labels().end());
  return spec;
}

absl::StatusOr<std::vector<std::string>> TranslateFork(const v1::ForkSessionRequest& wire) {
  if (wire.new_ids_size() > 0 && wire.count() != 0) {
    return absl::InvalidArgumentError("new_ids and count are both set; only one of them may be");
  }
  const int32_t count = wire.new_ids_size() > 0 ? wire.new_ids_size()
                        : wire.count() != 0     ? wire.count()
                                                : 1;
  if (count < 1 || count > kMaxForks) {
    return absl::InvalidArgumentError(
        absl::StrCat(count, " forks are asked for; new_ids or count may ask for 1 to ", kMaxForks));
  }
  std::vector<std::string> ids(wire.new_ids().begin(), wire.new_ids().end());
  ids.resize(count);
  for (int32_t i = 0; i < count; ++i) {
    if (ids[i].empty()) continue;
    RETURN_IF_ERROR(CheckSessionId(absl::StrCat("new_ids[", i, "]"), ids[i]));
  }
  return ids;
}

void DescribeSession(const SessionInfo& info, v1::Session* wire) {
  wire->set_id(info.key.id);
  wire->mutable_labels()->insert(info.labels.begin(), info.labels.end());
  SetTimestamp(info.created, wire->mutable_created());
  SetTimestamp(info.last_used, wire->mutable_last_used());
  if (info.expires != absl::InfiniteFuture()) SetTimestamp(info.expires, wire->mutable_expires());
  wire->set_tokens(info.tokens);
  wire->set_state_tokens(info.state_tokens);
  wire->set_state_bytes(info.state_bytes);
  wire->set_tier(ToWire(info.tier));
  wire->set_busy(info.busy);
  wire->set_version(info.version);
}

}  // namespace retnet
