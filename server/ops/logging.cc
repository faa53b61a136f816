#include "server/ops/logging.h"

#include <google/protobuf/stubs/logging.h>
#include <grpc/support/log.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"

namespace retnet {
namespace {

spdlog::logger& Logger() {
  // Never destroyed: gRPC's threads may log while the process exits.
  static auto& logger =
      *new spdlog::logger("retnetd", std::make_shared<spdlog::sinks::stderr_sink_mt>());
  return logger;
}

spdlog::level::level_enum ToSpdlog(LogLevel level) {
  switch (level) {
    case LogLevel::kDebug:
      return spdlog::level::debug;
    case LogLevel::kInfo:
      return spdlog::level::info;
    case LogLevel::kWarning:
      return spdlog::level::warn;
    case LogLevel::kError:
      return spdlog::level::err;
    case LogLevel::kOff:
      break;
  }
  return spdlog::level::off;
}

// Any peer can make a TLS handshake fail, as often as it likes. Returns
// nothing if that has been logged within ten seconds, else a note on how often it was not.
std::optional<std::string> NoteOnHandshakes() {
  constexpr int64_t kSeconds = 10;
  static std::atomic<int64_t> next = 0;
  static std::atomic<int64_t> omitted = 0;
  const int64_t now = absl::ToUnixSeconds(absl::Now());
  int64_t due = next;
  if (now < due || !next.compare_exchange_strong(due, now + kSeconds)) {
    ++omitted;
    return std::nullopt;
  }
  const int64_t count = omitted.exchange(0);
  return count == 0 ? "" : absl::StrCat(" (and ", count, " more before)");
}

void LogGrpc(gpr_log_func_args* arguments) {
  std::string note;
  if (absl::EndsWith(arguments->file, "ssl_transport_security.cc")) {
    // Goes on with the only certificate there is, and the client decides.
    if (absl::StartsWith(arguments->message, "No match found for server name")) return;
    const std::optional<std::string> handshakes = NoteOnHandshakes();
    if (!handshakes.has_value()) return;
    note = *handshakes;
  }
  // gRPC reports many client mistakes as errors. They are not errors of the server.
  const LogLevel level =
      arguments->severity == GPR_LOG_SEVERITY_ERROR ? LogLevel::kWarning : LogLevel::kDebug;
  Log(level, absl::StrCat("grpc: ", arguments->message, note));
}

// Protobuf reports client text that is not UTF-8. The client gets an error, so the log need not
// repeat it.
void LogProtobuf(google::protobuf::LogLevel /*level*/, const char* /*file*/, int /*line*/,
                 const std::string& message) {
  Log(LogLevel::kDebug, "protobuf: " + message);
}

}  // namespace

const std::vector<std::string>& LogLevelNames() {
  static const auto& names =
      *new std::vector<std::string>{"debug", "info", "warning", "error", "off"};
  return names;
}

void StartLogging(const std::string& level) {
  const auto& names = LogLevelNames();
  const auto index = std::find(names.begin(), names.end(), level) - names.begin();
  Logger().set_pattern("%Y-%m-%dT%H:%M:%S.%e %L %v");
  Logger().set_level(ToSpdlog(static_cast<LogLevel>(index)));
  Logger().flush_on(spdlog::level::trace);
  gpr_set_log_function(LogGrpc);
  google::protobuf::SetLogHandler(LogProtobuf);
}

void Log(LogLevel level, std::string_view message) {
  Logger().log(ToSpdlog(level), "{}", std::string(message));
}

}  // namespace retnet
