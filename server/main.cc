// retnetd: serves a RetNet checkpoint over gRPC. The whole wiring, top to bottom.
#include <signal.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <atomic>
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
#include "server/check_options.h"
#include "server/configuration.h"
#include "server/flags.h"
#include "server/ops/call_metrics.h"
#include "server/ops/file_descriptor.h"
#include "server/ops/load_progress_line.h"
#include "server/ops/logging.h"
#include "server/ops/memory_trimmer.h"
#include "server/ops/metrics.h"
#include "server/ops/signals.h"
#include "server/ops/store_watch.h"
#include "server/server.h"
#include "server/standard_streams.h"

namespace retnet {
namespace {

enum ExitCode : int {
  kExitOk = 0,
  kExitFailure = 1,
  kExitUsage = 2,
  kExitNoDevice = 3,
  kExitSessionsLost = 4,
};

// nullptr where the checkpoint has none.
absl::StatusOr<std::unique_ptr<Tokenizer>> LoadTokenizer(const std::string& directory,
                                                         const ModelInfo& info) {
  absl::StatusOr<std::unique_ptr<Tokenizer>> tokenizer = Tokenizer::Load(directory);
  if (absl::IsNotFound(tokenizer.status())) {
    Log(LogLevel::kWarning,
        std::string(tokenizer.status().message()) + ": token ids are served, text is not");
    return nullptr;
  }
  RETURN_IF_ERROR(tokenizer.status());
  if ((*tokenizer)->vocab_size() > info.vocab_size) {
    return absl::InvalidArgumentError(
        absl::StrCat(directory, ": the tokenizer has ", (*tokenizer)->vocab_size(),
                     " tokens; the model's vocabulary has ", info.vocab_size,
                     ", which must be at least as many"));
  }
  return tokenizer;
}

// A quarter of the free memory, at most the engine's default. Slots in host memory that have not
// been used yet look free; they are not counted as such.
int64_t HostStateBytes(const ModelInfo& info) {
  const int64_t slot_bytes = info.base_bytes + info.chunk * info.tail_token_bytes;
  const int64_t slots_bytes = info.states_in_host_memory ? info.slots * slot_bytes : 0;
  const int64_t free = ReadFreeMemory().bytes - slots_bytes;
  return std::clamp<int64_t>(free / 4, 0, StateCacheOptions().host_bytes);
}

absl::StatusOr<EngineOptions> MakeEngineOptions(const RetnetdOptions& options,
                                                const ModelInfo& info) {
  EngineOptions engine = options.engine;
  engine.executor.state_cache.host_bytes =
      options.host_state_bytes >= 0 ? options.host_state_bytes : HostStateBytes(info);
  engine.executor.state_cache.pinned_bytes =
      options.preempted_state_bytes >= 0 ? options.preempted_state_bytes : HostStateBytes(info);
  engine.executor.max_step = absl::Milliseconds(options.max_step_ms);
  if (options.snapshot_encoding == "bf16") engine.snapshots.encoding = StateEncoding::kBf16;
  if (options.snapshot_encoding == "int8") engine.snapshots.encoding = StateEncoding::kInt8;
  ASSIGN_OR_RETURN(engine.snapshots.key, ReadSnapshotKey(options));
  return engine;
}

ServerOptions MakeServerOptions(const RetnetdOptions& options) {
  ServerOptions server = options.server;
  server.streams.transfer_idle = absl::Seconds(options.transfer_idle_seconds);
  return server;
}

// nullptr where there is none. A store that does not work is an error, if it must.
absl::StatusOr<std::unique_ptr<SnapshotStore>> OpenStore(const RetnetdOptions& options,
                                                         const ModelInfo& info) {
  const SnapshotFormat format = MakeSnapshotFormat(info, StateEncoding::kExact, /*zstd_level=*/0);
  // A session that was stored under a greater --max-context-length is still read.
  const int64_t tokens = std::max(options.engine.max_context_length, 1 << 20);
  absl::StatusOr<std::unique_ptr<SnapshotStore>> store = OpenSnapshotStore(
      options.snapshot_store, options.snapshot_bytes, MostSnapshotBytes(format, tokens));
  absl::Status status = store.status();
  if (status.ok() && *store != nullptr) {
    status = (*store)->Stamp(SessionKey()).status();
    // One that answers nonsense may be a proxy that is not ready. It is told like any later one.
    if (absl::IsInternal(status) || (!status.ok() && options.snapshot_store_optional)) {
      Log(LogLevel::kError, absl::StrCat("--snapshot-store: ", status.message(),
                                         "; sessions are in memory alone until it works"));
      return store;
    }
    if (!status.ok()) {
      return absl::FailedPreconditionError(
          absl::StrCat("--snapshot-store: ", status.message(),
                       "; start it first, or start retnetd with --snapshot-store-optional"));
    }
  }
  if (status.ok()) return store;
  return absl::FailedPreconditionError(absl::StrCat(
      "--snapshot-store ", WithoutPassword(options.snapshot_store), ": ", status.message()));
}

// After the drain: what the process takes with it.
ExitCode ReportLostSessions(const EngineStats& stats) {
  if (stats.sessions_not_stored > 0) {
    Log(LogLevel::kError,
        absl::StrCat("sessions that could not be stored and end with this process: ",
                     stats.sessions_not_stored));
  }
  if (stats.sessions_lost > 0) {
    Log(LogLevel::kError, absl::StrCat("sessions that left memory before and could not be stored: ",
                                       stats.sessions_lost));
  }
  return stats.sessions_not_stored + stats.sessions_lost > 0 ? kExitSessionsLost : kExitOk;
}

// Shows how far it is, and logs what there is in the end.
absl::StatusOr<std::unique_ptr<Model>> Load(const RetnetdOptions& options) {
  LoadProgressLine progress(options.model_directory);
  ASSIGN_OR_RETURN(std::unique_ptr<Model> model,
                   LoadModel(options.model_directory, options.model,
                             [&](const LoadProgress& loaded) { progress.Show(loaded); }));
  progress.End();
  const ModelInfo& info = model->info();
  if (!info.unused_tensors.empty()) {
    Log(LogLevel::kInfo,
        absl::StrCat("tensors that the model does not use are ignored: ",
                     info.unused_tensors.size(), ", for example ", info.unused_tensors.front()));
  }
  if (!info.device_note.empty()) {
    Log(LogLevel::kInfo, absl::StrCat("--device auto takes the CPU: ", info.device_note));
  }
  Log(LogLevel::kInfo,
      absl::StrCat("model ", info.name, ": ", info.parameters, " parameters, ", info.weight_bytes,
                   " bytes of weights, ", info.slots, " slots with states of ", info.base_bytes,
                   " bytes, ", info.backend));
  return model;
}

void WarnOfIgnored(const std::vector<std::string>& values) {
  for (const std::string& value : values) Log(LogLevel::kWarning, absl::StrCat(value, "; ignored"));
}

absl::StatusOr<ExitCode> Serve(const RetnetdOptions& options) {
  RETURN_IF_ERROR(CheckOptions(options));
  RETURN_IF_ERROR(RaiseDescriptorLimit());
  const MemoryTrimmer trimmer;
  ASSIGN_OR_RETURN(std::unique_ptr<Model> model, Load(options));
  const ModelInfo info = model->info();
  ASSIGN_OR_RETURN(const std::unique_ptr<Tokenizer> tokenizer,
                   LoadTokenizer(options.model_directory, info));
  ASSIGN_OR_RETURN(GenerationConfig defaults, ReadGenerationConfig(options.model_directory));
  WarnOfIgnored(defaults.ignored);

  ASSIGN_OR_RETURN(const EngineOptions engine_options, MakeEngineOptions(options, info));
  ASSIGN_OR_RETURN(std::unique_ptr<SnapshotStore> store, OpenStore(options, info));
  const bool has_store = store != nullptr;
  StoreWatch store_watch;
  Engine engine(std::move(model), engine_options, std::move(store), store_watch.Listener());
  ServedModel served{info,
                     engine.options().max_context_length,
                     tokenizer.get(),
                     std::move(defaults),
                     options.speculate == "ngram" ? options.max_draft_tokens : 0,
                     options.text};
  WarnOfIgnored(DropInvalidDefaults(&served));
  CallMetrics metrics;
  std::unique_ptr<MetricsPage> page;
  if (!options.metrics_listen.empty()) {
    ASSIGN_OR_RETURN(page, MetricsPage::Start(options.metrics_listen, &engine, &metrics));
    Log(LogLevel::kInfo, absl::StrCat("metrics at http://", page->address(), "/metrics"));
  }
  // A server that no client can reach drains and ends, so that something starts it again.
  std::atomic<bool> deaf = false;
  const auto failed = [&deaf] {
    deaf = true;
    kill(getpid(), SIGTERM);
  };
  ASSIGN_OR_RETURN(const std::unique_ptr<Server> server,
                   Server::Start(MakeServerOptions(options), std::move(served), &engine,
                                 page != nullptr ? &metrics : nullptr, failed));
  if (has_store) {
    store_watch.TellHealth([&](bool healthy) { server->SetServiceHealth(kStoreService, healthy); });
  }
  std::cout << "listening on " << server->address() << std::endl;
  if (!server->private_address().empty()) {
    std::cout << "listening privately on " << server->private_address() << std::endl;
  }

  const std::vector<ReloadHook> reload_hooks = {
      {"tokens and certificates", [&server] { return server->ReloadIdentity(); }}};
  WaitForEnd(reload_hooks);
  const bool finished = server->Drain(absl::Now() + absl::Seconds(options.drain_seconds));
  store_watch.TellHealth(nullptr);
  Log(LogLevel::kInfo, finished ? "drained" : "drained; calls that were left have been ended");
  const ExitCode lost = ReportLostSessions(engine.stats());
  if (deaf) return absl::InternalError("the server could not accept connections any more");
  return lost;
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

// For --check-config: prints what would run.
absl::StatusOr<ExitCode> Check(const RetnetdOptions& options, const CLI::App& app,
                               const Configuration& configuration) {
  RETURN_IF_ERROR(CheckOptions(options));
  RETURN_IF_ERROR(CheckCheckpoint(options.model_directory));
  std::cout << WrittenConfiguration(app, configuration) << std::flush;
  return kExitOk;
}

int Run(int argc, char** argv) {
  ReplaceClosedStreams(LostOutput::kIsNoError);
  TakeSignals();

  RetnetdOptions options;
  CLI::App app("retnetd serves a RetNet checkpoint over gRPC.", "retnetd");
  AddFlags(&app, &options);
  std::vector<std::string> notes;
  Configuration configuration;
  try {
    configuration = ParseConfiguration(WithNewNames(argc, argv, &notes), RenamedFlags(), &app);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? kExitOk : kExitUsage;
  }
  StartLogging(options.log_level);
  notes.insert(notes.end(), configuration.warnings.begin(), configuration.warnings.end());
  for (const std::string& note : notes) Log(LogLevel::kWarning, note);
  if (!configuration.file.empty()) {
    Log(LogLevel::kInfo, absl::StrCat("configuration file ", configuration.file));
  }

  const absl::StatusOr<ExitCode> code =
      options.check_config ? Check(options, app, configuration) : Serve(options);
  if (code.ok()) return *code;
  const absl::Status& status = code.status();
  std::cerr << "retnetd: " << status.message() << Advice(status) << std::endl;
  // Only a device is ever unavailable at the start.
  return absl::IsUnavailable(status) ? kExitNoDevice : kExitFailure;
}

}  // namespace
}  // namespace retnet

int main(int argc, char** argv) { return retnet::Run(argc, argv); }
