// The process's log, on standard error.
#ifndef RETNET_SERVER_OPS_LOGGING_H_
#define RETNET_SERVER_OPS_LOGGING_H_

#include <string>
#include <string_view>
#include <vector>

namespace retnet {

enum class LogLevel { kDebug, kInfo, kWarning, kError, kOff };

// Names of the levels, least first: what --log-level takes.
const std::vector<std::string>& LogLevelNames();

// From now on messages of `level` (a name) and above are written, those of gRPC and protobuf too.
// Before that, of info and above. Not thread-safe.
void StartLogging(const std::string& level);
// Thread-safe.
void Log(LogLevel level, std::string_view message);

}  // namespace retnet

#endif  // RETNET_SERVER_OPS_LOGGING_H_
