// retnetd: serves a RetNet checkpoint over gRPC. The whole wiring, top to bottom.
#include <signal.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <iostream>
#include <memory>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "engine/engine.h"
#include "engine/request.h"
#include "engine/snapshots/open_snapshot_store.h"
#include "kernels/status_macros.h"
#include "models/free_memory.h"
#include "models/generation_config.h"
#include "models/load.h"
#include "models/tokenizer.h"
#include "server/ops/call_metrics.h"
#include "server/ops/listen_address.h"
#include "server/ops/logging.h"
#include "server/ops/metrics.h"
#include "server/server.h"

namespace retnet {
namespace {

enum ExitCode : int { kExitOk = 0, kExitFailure = 1, kExitUsage = 2, kExitNoDevice = 3 };

struct Options {
  std::string model_directory;
  ModelOptions model;
  EngineOptions engine;
  ServerOptions server;
  std::string metrics_listen;  // empty: no page
  double max_step_ms = absl::ToDoubleMilliseconds(EngineOptions().executor.max_step);
  int64_t host_state_bytes = -1;
  std::string snapshot_store = "none";
  int64_t snapshot_bytes = 0;
  std::string snapshot_encoding = "exact";
  std::string speculate = "none";
  int32_t max_draft_tokens = 8;
  double drain_seconds = 30;
  std::string log_level = "info";
};

std::string CheckListen(const std::string& text) {
  return std::string(ParseListenAddress(text).status().message());
}

void AddSessionOptions(CLI::App* app, Options* options) {
  app->add_option("--max-kept-sessions", options->engine.executor.sessions.max_kept,
                  "Sessions that outlive their requests, running ones included")
      ->check(CLI::Range(1, 1 << 24));
  app->add_option(
         "--host-state-bytes", options->host_state_bytes,
         "Memory for the states of sessions that gave up their slots; -1: half of what the "
         "slots leave free, at most 1 GiB")
      ->check(CLI::Range(int64_t{-1}, int64_t{1} << 50));
  app->add_option("--snapshot-store", options->snapshot_store,
                  "Where kept sessions outlive the process: none, disk:DIR or "
                  "redis://HOST[:PORT][/DATABASE]");
  app->add_option("--snapshot-bytes", options->snapshot_bytes,
                  "What the store may hold, least recently used first out; 0: any")
      ->check(CLI::Range(int64_t{0}, int64_t{1} << 50));
  app->add_option("--snapshot-at-rest", options->snapshot_encoding,
                  "How states are written; bf16 and int8 are smaller and NOT exact")
      ->check(CLI::IsMember({"exact", "bf16", "int8"}));
  app->add_option("--snapshot-zstd-level", options->engine.snapshots.zstd_level,
                  "Compression of what is written; 0: none")
      ->check(CLI::Range(0, 19));
  app->add_flag_callback(
      "--no-prefix-cache",
      [options] { options->engine.executor.state_manager.prefix_cache = false; },
      "Compute every prompt from its first token");
  app->add_flag(
      "--deterministic", options->engine.executor.state_manager.deterministic,
      "On a GPU: cached prefixes never change a bit of an answer, and serve fewer prompts");
  app->add_option("--speculate", options->speculate,
                  "Guesses tokens ahead from what followed the same ones earlier; requests may say "
                  "otherwise")
      ->check(CLI::IsMember({"none", "ngram"}));
  app->add_option("--max-draft-tokens", options->max_draft_tokens,
                  "Most tokens that are guessed at once with --speculate ngram")
      ->check(CLI::Range(1, kMaxDraftTokens));
}

void AddOptions(CLI::App* app, Options* options) {
  app->option_defaults()->always_capture_default();
  app->set_version_flag("--version", "retnetd " RETNET_VERSION);
  app->add_option("--model", options->model_directory,
                  "Checkpoint folder: config.json, model.safetensors, tokenizer.model")
      ->envname("RETNET_MODEL")
      ->required();
  app->add_option("--listen", options->server.listen, "HOST:PORT; port 0: any free one")
      ->envname("RETNET_LISTEN")
      ->check(CLI::Validator(CheckListen, ""));
  app->add_option("--metrics-listen", options->metrics_listen,
                  "HOST:PORT of http://HOST:PORT/metrics for Prometheus; port 0: any free one; "
                  "empty: none")
      ->envname("RETNET_METRICS_LISTEN")
      ->check(CLI::Validator(CheckListen, ""));
  app->add_option("--device", options->model.device, "Where the model runs")
      ->check(CLI::IsMember({"auto", "cpu", "cuda"}));
  app->add_option("--threads", options->model.threads, "CPU threads; 0: all")
      ->check(CLI::Range(0, 4096));
  app->add_option("--instruction-set", options->model.instruction_set,
                  "scalar, avx2, avx512 or avx512-bf16; empty: the best there is");
  app->add_option("--max-sessions", options->model.slots,
                  "Sequences that run at once; 0: as many as memory holds, at most 1024")
      ->check(CLI::Range(0, 1 << 20));
  app->add_option("--state-memory-fraction", options->model.state_memory_fraction,
                  "On the CPU: of the free memory, for sessions when --max-sessions is 0")
      ->check(CLI::Range(0.01, 0.95));
  app->add_flag("--cuda-graphs,!--no-cuda-graphs", options->model.cuda_graphs,
                "On a GPU: decode steps are recorded once and replayed");
  app->add_flag("--programmatic-launch,!--no-programmatic-launch",
                options->model.programmatic_launch,
                "On a GPU of compute capability 9.0 or newer: a decode step's kernels overlap");
  app->add_option("--gpu-memory-fraction", options->model.gpu_memory_fraction,
                  "On a GPU: of its free memory, for weights, steps and sessions")
      ->check(CLI::Range(0.01, 1.0));
  app->add_option("--state-type", options->model.state_type,
                  "On a GPU: what states are kept as; bf16 and fp16 take half the memory and round "
                  "them once in 64 tokens")
      ->check(CLI::IsMember({"fp32", "bf16", "fp16"}));
  app->add_option("--max-queue", options->engine.max_queue, "Sequences that may wait for a slot")
      ->check(CLI::Range(1, 1 << 20));
  app->add_option("--max-context-length", options->engine.max_context_length,
                  "Tokens of a request, prompt and output together")
      ->check(CLI::Range(2, 1 << 30));
  app->add_option("--max-step-rows", options->model.max_rows,
                  "Tokens in one step of the model: more for throughput, fewer for latency")
      ->check(CLI::Range(1, 1 << 16));
  app->add_option(
         "--max-step-ms", options->max_step_ms,
         "What a step may take in which prompts run beside streams that wait for their next "
         "token; at least half again of what it takes without prompts")
      ->check(CLI::Range(0.0, 1e6));
  app->add_option("--max-message-bytes", options->server.max_message_bytes, "Largest request")
      ->check(CLI::Range(1 << 10, 1 << 30));
  AddSessionOptions(app, options);
  app->add_option("--drain-seconds", options->drain_seconds,
                  "What running requests get to finish after SIGTERM")
      ->check(CLI::Range(0.0, 1e6));
  app->add_option("--log-level", options->log_level, "How much is logged to standard error")
      ->check(CLI::IsMember(LogLevelNames()));
}

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

EngineOptions MakeEngineOptions(const Options& options, const ModelInfo& info) {
  EngineOptions engine = options.engine;
  engine.executor.state_cache.host_bytes =
      options.host_state_bytes >= 0 ? options.host_state_bytes : HostStateBytes(info);
  engine.executor.max_step = absl::Milliseconds(options.max_step_ms);
  if (options.snapshot_encoding == "bf16") engine.snapshots.encoding = StateEncoding::kBf16;
  if (options.snapshot_encoding == "int8") engine.snapshots.encoding = StateEncoding::kInt8;
  return engine;
}

absl::Status Serve(const Options& options) {
  ASSIGN_OR_RETURN(std::unique_ptr<Model> model, LoadModel(options.model_directory, options.model));
  const ModelInfo info = model->info();
  if (!info.device_note.empty()) {
    Log(LogLevel::kInfo, absl::StrCat("--device auto takes the CPU: ", info.device_note));
  }
  Log(LogLevel::kInfo, absl::StrCat("model ", info.name, ": ", info.parameters, " parameters, ",
                                    info.weight_bytes, " bytes of weights, ", info.slots,
                                    " sessions of ", info.base_bytes, " bytes, ", info.backend));
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
  ServedModel served{info, engine.options().max_context_length, tokenizer.get(),
                     std::move(defaults),
                     options.speculate == "ngram" ? options.max_draft_tokens : 0};
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
    return "; give it more, or lower --max-sessions or --max-step-rows";
  }
  if (absl::IsNotFound(status)) return "; --model takes a checkpoint folder";
  return "";
}

int Run(int argc, char** argv) {
  const sigset_t signals = EndSignals();
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);

  Options options;
  CLI::App app("retnetd: serves a RetNet checkpoint over gRPC");
  AddOptions(&app, &options);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? kExitOk : kExitUsage;
  }
  StartLogging(options.log_level);

  const absl::Status status = Serve(options);
  if (status.ok()) return kExitOk;
  std::cerr << "retnetd: " << status.message() << Advice(status) << std::endl;
  // Only a device is ever unavailable at the start.
  return absl::IsUnavailable(status) ? kExitNoDevice : kExitFailure;
}

}  // namespace
}  // namespace retnet

int main(int argc, char** argv) { return retnet::Run(argc, argv); }
