// The command `retnet bench`: puts a load on a server and reports how it performs.
#ifndef RETNET_CLIENT_BENCH_BENCH_H_
#define RETNET_CLIENT_BENCH_BENCH_H_

#include <string>

#include "client/bench/options.h"
#include "client/client.h"

namespace retnet {

// `command` is the command line, for the reports. Throws CLI::ValidationError if the model or the
// file system does not allow what the flags ask for. Returns kExitRefused if no request completed
// or if one failed for another reason than a full queue.
ExitCode RunBench(const BenchOptions& options, const std::string& command, Client* client);

}  // namespace retnet

#endif  // RETNET_CLIENT_BENCH_BENCH_H_
