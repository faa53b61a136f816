// retnetd: serves a RetNet checkpoint over gRPC. The whole wiring, top to bottom.
#include <signal.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <iostream>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "engine/engine.h"
#include "engine/snapshots/open_snapshot_store.h"
#include "kernels/status_macros.h"
#include "models/free_memory.h"
#include "models/generation_config.h"
#include "models/load.h"
#include "models/tokenizer.h"
#include "server/flags.h"
#include "server/ops/call_metrics.h"
#include "server/ops/logging.h"
#include "server/ops/metrics.h"
#include "server/server.h"

namespace retnet {
namespace {

enum ExitCode : int { kExitOk = 0, kExitFailure = 1, kExitUsage = 2, kExitNoDevice = 3 };

// nullptr where the checkpoint has none.
absl::StatusOr<std::unique_ptr<Tokenizer>> LoadTokenizer(const std::string& directory,
                                                         const ModelInfo& info) {
  absl::StatusOr<std::unique_ptr<Tokenizer>> tokenizer = Tokenizer::Load(directory);
  if (absl::IsNotFound(tokenizer.status())) {
    Log(LogLevel::kWarning, "no tokenizer.model: token ids are served, text is not");
    return nullptr;
  }
  RETURN_IF_ERROR(tokenizer.status());
  if ((*tokenizer)->vocab_size() > info.vocab_size) {
    return absl::InvalidArgumentError(
        absl::StrCat(directory, "/tokenizer.model has ", (*tokenizer)->vocab_size(),
                     " pieces; the model's vocabulary has ", info.vocab_size,
                     ", which must be at least as many"));
  }
  return tokenizer;
}

// SIGTERM and SIGINT. Blocked before the first thread is made, so that only WaitForSignal gets
// them.
sigset_t EndSignals() {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, SIGINT);
  return signals;
}

// Returns at the first signal; the next one ends the process at once.
void WaitForSignal() {
  const sigset_t signals = EndSignals();
  int signal = 0;
  sigwait(&signals, &signal);
  pthread_sigmask(SIG_UNBLOCK, &signals, nullptr);
}

// Half of the free memory, at most the engine's default. Slots in host memory that have not been
// used yet look free; they are not counted as such.
int64_t HostStateBytes(const ModelInfo& info) {
  const int64_t slot_bytes = info.base_bytes + info.chunk * info.tail_token_bytes;
  const int64_t slots_bytes = info.states_in_host_memory ? info.slots * slot_bytes : 0;
  const int64_t free = ReadFreeMemory().bytes - slots_bytes;
  return std::clamp<int64_t>(free / 2, 0, StateCacheOptions().host_bytes);
}

EngineOptions MakeEngineOptions(const RetnetdOptions& options, const ModelInfo& info) {
  EngineOptions engine = options.engine;
  engine.executor.state_cache.host_bytes =
      options.host_state_bytes >= 0 ? options.host_state_bytes : HostStateBytes(info);
  engine.executor.max_step = absl::Milliseconds(options.max_step_ms);
  if (options.snapshot_encoding == "bf16") engine.snapshots.encoding = StateEncoding::kBf16;
  if (options.snapshot_encoding == "int8") engine.snapshots.encoding = StateEncoding::kInt8;
  return engine;
}

absl::Status Serve(const RetnetdOptions& options) {
  ASSIGN_OR_RETURN(std::unique_ptr<Model> model, LoadModel(options.model_directory, options.model));
  const ModelInfo info = model->info();
  if (!info.device_note.empty()) {
    Log(LogLevel::kInfo, absl::StrCat("--device auto takes the CPU: ", info.device_note));
  }
  Log(LogLevel::kInfo,
      absl::StrCat("model ", info.name, ": ", info.parameters, " parameters, ", info.weight_bytes,
                   " bytes of weights, ", info.slots, " slots with states of ", info.base_bytes,
                   " bytes, ", info.backend));
  ASSIGN_OR_RETURN(const std::unique_ptr<Tokenizer> tokenizer,
                   LoadTokenizer(options.model_directory, info));
  ASSIGN_OR_RETURN(GenerationConfig defaults, ReadGenerationConfig(options.model_directory));

  absl::StatusOr<std::unique_ptr<SnapshotStore>> store =
      OpenSnapshotStore(options.snapshot_store, options.snapshot_bytes);
  if (!store.ok()) {
    return absl::FailedPreconditionError(
        absl::StrCat("--snapshot-store ", options.snapshot_store, ": ", store.status().message()));
  }
  Engine engine(std::move(model), MakeEngineOptions(options, info), *std::move(store));
  ServedModel served{info,
                     engine.options().max_context_length,
                     tokenizer.get(),
                     std::move(defaults),
                     options.speculate == "ngram" ? options.max_draft_tokens : 0,
                     options.text};
  RETURN_IF_ERROR(CheckDefaults(served));
  CallMetrics metrics;
  std::unique_ptr<MetricsPage> page;
  if (!options.metrics_listen.empty()) {
    ASSIGN_OR_RETURN(page, MetricsPage::Start(options.metrics_listen, &engine, &metrics));
    Log(LogLevel::kInfo, absl::StrCat("metrics at http://", page->address(), "/metrics"));
  }
  ASSIGN_OR_RETURN(const std::unique_ptr<Server> server,
                   Server::Start(options.server, std::move(served), &engine,
                                 page != nullptr ? &metrics : nullptr));
  std::cout << "listening on " << server->address() << std::endl;

  WaitForSignal();
  const bool finished = server->Drain(absl::Now() + absl::Seconds(options.drain_seconds));
  Log(LogLevel::kInfo, finished ? "drained" : "drained; calls that were left have been ended");
  return absl::OkStatus();
}

// What to do about a failed start.
const char* Advice(const absl::Status& status) {
  if (absl::IsUnavailable(status)) return "; start it with --device cpu, or auto";
  if (absl::IsResourceExhausted(status)) {
    return "; give it more, or lower --max-sequences or --max-step-rows";
  }
  if (absl::IsNotFound(status)) return "; --model takes a checkpoint folder";
  return "";
}

int Run(int argc, char** argv) {
  const sigset_t signals = EndSignals();
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);

  RetnetdOptions options;
  CLI::App app("retnetd serves a RetNet checkpoint over gRPC.", "retnetd");
  AddFlags(&app, &options);
  std::vector<std::string> notes;
  try {
    app.parse(WithNewNames(argc, argv, &notes));
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? kExitOk : kExitUsage;
  }
  StartLogging(options.log_level);
  for (const std::string& note : notes) Log(LogLevel::kWarning, note);

  const absl::Status status = Serve(options);
  if (status.ok()) return kExitOk;
  std::cerr << "retnetd: " << status.message() << Advice(status) << std::endl;
  // Only a device is ever unavailable at the start.
  return absl::IsUnavailable(status) ? kExitNoDevice : kExitFailure;
}

}  // namespace
}  // namespace retnet

int main(int argc, char** argv) { return retnet::Run(argc, argv); }
