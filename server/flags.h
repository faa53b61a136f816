// The command line of retnetd: every flag, its bounds and its help.
#ifndef RETNET_SERVER_FLAGS_H_
#define RETNET_SERVER_FLAGS_H_

#include <CLI/CLI.hpp>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "engine/options.h"
#include "models/load.h"
#include "server/configuration.h"
#include "server/server.h"
#include "server/text/text_limits.h"

namespace retnet {

// What the command line of retnetd says, with what the environment and a file add to it.
struct RetnetdOptions {
  std::string config_file;    // empty: none, unless the environment names one
  bool check_config = false;  // check, print and exit
  std::string model_directory;
  ModelOptions model;
  EngineOptions engine;
  ServerOptions server;
  TextLimits text;
  std::string metrics_listen;  // empty: no page
  double max_step_ms = absl::ToDoubleMilliseconds(EngineOptions().executor.max_step);
  int64_t host_state_bytes = -1;
  int64_t preempted_state_bytes = -1;
  std::string snapshot_store = "none";
  int64_t snapshot_bytes = 0;
  bool snapshot_store_optional = false;
  std::string snapshot_encoding = "exact";
  std::string snapshot_key_file;  // empty: snapshots are not signed
  std::string speculate = "none";
  int32_t max_draft_tokens = 8;
  double drain_seconds = 30;
  double transfer_idle_seconds = absl::ToDoubleSeconds(StreamLimits().transfer_idle);
  std::string log_level = "info";
};

// Adds the flags, whose defaults are those of `options`. Parsing writes to `options`, which must
// outlive `app`.
void AddFlags(CLI::App* app, RetnetdOptions* options);

// Flags of release 0.1 that have a better name since. They work until the next release, on the
// command line alone.
const std::vector<RenamedFlag>& RenamedFlags();

// The arguments with today's names for their flags. Adds to `notes` what to say about each old
// name.
std::vector<std::string> WithNewNames(int argc, char** argv, std::vector<std::string>* notes);

}  // namespace retnet

#endif  // RETNET_SERVER_FLAGS_H_
