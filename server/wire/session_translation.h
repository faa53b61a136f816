// Converts sessions between the wire and the engine.
#ifndef RETNET_SERVER_WIRE_SESSION_TRANSLATION_H_
#define RETNET_SERVER_WIRE_SESSION_TRANSLATION_H_

#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/session.h"
#include "retnet/v1/sessions.pb.h"

namespace retnet {

// INVALID_ARGUMENT names the field.
absl::Status CheckSessionId(std::string_view field, std::string_view id);

// The value of a field session_tokens beside this session_id.
absl::StatusOr<int32_t> SeenSessionTokens(std::string_view session_id, int32_t session_tokens);

absl::StatusOr<SessionSpec> TranslateCreate(const v1::CreateSessionRequest& wire,
                                            const std::string& owner);
// The ids of the sessions to make. The engine chooses an id for each empty one.
absl::StatusOr<std::vector<std::string>> TranslateFork(const v1::ForkSessionRequest& wire);

void DescribeSession(const SessionInfo& info, v1::Session* wire);

}  // namespace retnet

#endif  // RETNET_SERVER_WIRE_SESSION_TRANSLATION_H_
