// The log of the process, on standard error.
#ifndef RETNET_SERVER_OPS_LOGGING_H_
#define RETNET_SERVER_OPS_LOGGING_H_

#include <string>
#include <string_view>
#include <vector>

namespace retnet {

enum class LogLevel { kDebug, kInfo, kWarning, kError, kOff };

// The values of --log-level, from the most to the least verbose.
const std::vector<std::string>& LogLevelNames();

// Sets the level from which messages are written, by its name. The messages of gRPC and protobuf
// follow it too. Before this call the level is "info". Not thread-safe.
void StartLogging(const std::string& level);
// Thread-safe.
void Log(LogLevel level, std::string_view message);

}  // namespace retnet

#endif  // RETNET_SERVER_OPS_LOGGING_H_
