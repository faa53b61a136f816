// The command `retnet bench`: puts a load on a server and reports what it bears.
#ifndef RETNET_CLIENT_BENCH_BENCH_H_
#define RETNET_CLIENT_BENCH_BENCH_H_

#include <string>

#include "client/bench/options.h"
#include "client/client.h"

namespace retnet {

// `command` is what was typed, for the reports. Throws CLI::ValidationError for what the flags ask
// and the model or the file system cannot give. kExitRefused when nothing completed, or a request
// failed with anything but a full queue.
ExitCode RunBench(const BenchOptions& options, const std::string& command, Client* client);

}  // namespace retnet

#endif  // RETNET_CLIENT_BENCH_BENCH_H_
