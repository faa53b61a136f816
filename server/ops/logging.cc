#include "server/ops/logging.h"

#include <google/protobuf/stubs/logging.h>
#include <grpc/support/log.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <memory>

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

void LogGrpc(gpr_log_func_args* arguments) {
  // gRPC reports many client mistakes as errors. They are not errors of the server.
  const LogLevel level =
      arguments->severity == GPR_LOG_SEVERITY_ERROR ? LogLevel::kWarning : LogLevel::kDebug;
  Log(level, std::string("grpc: ") + arguments->message);
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
