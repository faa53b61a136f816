#include "server/flags.h"

#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "engine/request.h"
#include "server/calls/metadata_limit.h"
#include "server/command_line.h"
#include "server/ops/listen_address.h"
#include "server/ops/logging.h"

namespace retnet {
namespace {

std::string CheckListen(const std::string& text) {
  return std::string(ParseListenAddress(text).status().message());
}

std::string CheckHostAndPort(const std::string& text) {
  return std::string(ParseHostAndPort(text).status().message());
}

// A number from `least` to `most`, in the unit that `value` names in the help.
template <typename T>
void AddNumber(CLI::App* app, const std::string& names, T* variable, double least, double most,
               const std::string& value, const std::string& help) {
  app->add_option(names, *variable, help)->type_name(value)->check(NumberFrom(least, most));
}

void AddWord(CLI::App* app, const std::string& names, std::string* variable,
             const std::vector<std::string>& words, const std::string& help) {
  app->add_option(names, *variable, help)
      ->type_name(absl::StrJoin(words, "|"))
      ->check(OneOf(words));
}

void AddServingFlags(CLI::App* app, RetnetdOptions* options) {
  app->option_defaults()->group("Serving");
  app->add_option("-m,--model", options->model_directory,
                  "Folder of the checkpoint: config.json, model.safetensors (or shards and their "
                  "index) and a tokenizer (tokenizer.model, spiece.model or tokenizer.json).")
      ->type_name("DIR")
      ->required();
  app->add_option(
         "--served-model-name", options->model.served_name,
         "Name of the model in GetModel and metrics. Set it where the folder's name says "
         "little. By default it is that name, or owner/name for a folder in a cache of the "
         "Hugging Face hub.")
      ->type_name("NAME");
  app->add_option("--listen", options->server.listen,
                  "Address for gRPC calls. With port 0 the system picks a free port, which the "
                  "first line of output names. unix:PATH is a socket in the file system, for a "
                  "proxy on the same machine.")
      ->type_name("HOST:PORT")
      ->check(CLI::Validator(CheckListen, ""));
  app->add_option("--metrics-listen", options->metrics_listen,
                  "Address for Prometheus, as http://HOST:PORT/metrics. Without it there are no "
                  "metrics.")
      ->type_name("HOST:PORT")
      ->option_text("default: none")
      ->check(CLI::Validator(CheckHostAndPort, ""));
  app->add_option("--private-listen", options->server.private_listen,
                  "Address of a second listener, without TLS and authentication, for a gateway or "
                  "sidecar that knows its callers. Whoever reaches it is let in.")
      ->type_name("HOST:PORT")
      ->option_text("default: none")
      ->check(CLI::Validator(CheckListen, ""));
  AddNumber(app, "--max-message-bytes", &options->server.max_message_bytes, 1 << 10, 1 << 30,
            "BYTES", "Largest request. Raise it for longer texts and larger imported sessions.");
  AddNumber(app, "--max-metadata-bytes", &options->server.max_metadata_bytes, 1 << 10,
            kMostMetadataBytes, "BYTES",
            "Most metadata of a call, counting 32 bytes for each entry. Raise it for large tokens "
            "or cookies.");
  AddNumber(
      app, "--max-transfer-bytes", &options->server.streams.transfer_bytes, 1 << 20,
      static_cast<double>(int64_t{1} << 50), "BYTES",
      "Memory for snapshots that clients export and import. When it is used up, further calls "
      "wait for their turn. A snapshot larger than that is transferred alone. Raise it to "
      "transfer more snapshots at once.");
  AddNumber(app, "--transfer-idle-seconds", &options->transfer_idle_seconds, 0.1, 1e6, "SECONDS",
            "An Export whose client takes nothing for so long, and an Import whose client sends "
            "nothing, is ended. Raise it for clients that pause.");
  AddNumber(app, "--max-unread-bytes", &options->server.streams.unread_bytes, 1 << 20,
            static_cast<double>(int64_t{1} << 50), "BYTES",
            "Memory of the answers that wait for clients to read them. Beyond it the call that "
            "holds most fails with RESOURCE_EXHAUSTED. One call may hold half of it. Raise it for "
            "slow readers of long answers.");
  AddNumber(app, "--drain-seconds", &options->drain_seconds, 0, 1e6, "SECONDS",
            "Time that running requests get to finish after SIGTERM or Ctrl-C. Keep it below the "
            "time after which your supervisor kills the process.");
  AddWord(app, "--log-level", &options->log_level, LogLevelNames(),
          "Least severe messages that are written to standard error.");
}

void AddIdentityFlags(CLI::App* app, IdentityOptions* options) {
  app->option_defaults()->group("Identity")->always_capture_default(false);
  app->add_option("--auth-tokens", options->auth_tokens,
                  "File of access tokens: callers need one, and sessions belong to its principal. "
                  "\"retnet token new NAME --file FILE\" makes one. Read again when it changes.")
      ->type_name("FILE")
      ->option_text("default: everybody may call");
  CLI::Option* certificate =
      app->add_option("--tls-cert", options->tls.certificate,
                      "The server's certificate and those between it and its CA (certificate "
                      "authority), in PEM. Turns on TLS (encryption). Read again when it changes.")
          ->type_name("FILE")
          ->option_text("default: no TLS");
  CLI::Option* key =
      app->add_option("--tls-key", options->tls.key, "Private key of --tls-cert, in PEM.")
          ->type_name("FILE")
          ->needs(certificate);
  certificate->needs(key);
  app->add_option("--tls-client-ca", options->tls.client_ca,
                  "Certificates of the CAs that sign clients' certificates, in PEM: clients must "
                  "show one (mutual TLS), or with --auth-tokens either of the two.")
      ->type_name("FILE")
      ->needs(certificate);
  app->option_defaults()->always_capture_default();
}

void AddDeviceFlags(CLI::App* app, RetnetdOptions* options) {
  app->option_defaults()->group("Device");
  AddWord(app, "--device", &options->model.device, {"auto", "cpu", "cuda"},
          "Where the model runs. auto takes an NVIDIA GPU if this build and this machine have "
          "one, else the CPU.");
  AddNumber(app, "-t,--threads", &options->model.threads, 0, 1024, "N",
            "CPU threads that compute the model. 0: as many as the process may use.");
  app->add_option("--instruction-set", options->model.instruction_set,
                  "CPU instructions: scalar, avx2, avx512 or avx512-bf16. Default: the best that "
                  "the processor has. avx512-bf16 rounds activations to bf16, so set avx512 for "
                  "fp32 precision on a processor that has both.")
      ->type_name("NAME");
  AddNumber(app, "--gpu-memory-fraction", &options->model.gpu_memory_fraction, 0.01, 1.0,
            "FRACTION",
            "GPU: share of the free device memory for weights, buffers and states. Lower it if "
            "other programs use the GPU.");
  AddWord(app, "--state-type,--state-dtype", &options->model.state_type, {"fp32", "bf16", "fp16"},
          "GPU: number type of states. bf16 and fp16 halve the memory of a state and round it "
          "once in 64 tokens. The CPU has fp32 only.");
  app->add_flag("--cuda-graphs,!--no-cuda-graphs,!--enforce-eager", options->model.cuda_graphs,
                "GPU: record the launches of a decode step once and replay them. Turn it off to "
                "look for errors.")
      ->default_str("true");
  app->add_flag("--programmatic-launch,!--no-programmatic-launch",
                options->model.programmatic_launch,
                "GPU of compute capability 9.0 or newer: let a kernel begin before the one ahead "
                "of it has ended. Turn it off to look for errors.")
      ->default_str("true");
  app->add_flag("--deterministic", options->engine.executor.state_manager.deterministic,
                "GPU: answers are the same bit for bit with and without the prefix cache. Fewer "
                "prompts then profit from it. The CPU is always exact.");
}

void AddLoadFlags(CLI::App* app, RetnetdOptions* options) {
  app->option_defaults()->group("Load and limits");
  AddNumber(app, "--max-sequences,--max-num-seqs,--parallel", &options->model.slots, 0, 1 << 20,
            "N",
            "Sequences that run at once; a request for n samples has n of them. 0: as many as "
            "memory holds, at most 1024. Set it to bound memory.");
  AddNumber(app, "--state-memory-fraction", &options->model.state_memory_fraction, 0.01, 0.95,
            "FRACTION",
            "CPU: share of the free memory for states, when --max-sequences is 0. The rest is left "
            "for requests and caches. Raise it for more sequences at once.");
  AddNumber(
      app, "--max-queue", &options->engine.max_queue, 1, 1 << 20, "N",
      "Sequences that may wait to run. Beyond it requests fail with RESOURCE_EXHAUSTED, first of "
      "all those of the client that has the most. Lower it to fail early, raise it for "
      "bursts.");
  AddNumber(app, "--max-context-length,--max-model-len", &options->engine.max_context_length, 2,
            1 << 30, "TOKENS",
            "Most tokens of a sequence: the history of its session, the prompt and the answer "
            "together. A state has the same size at any length, so raise it for long sessions.");
  AddNumber(app, "--max-text-bytes", &options->text.max_text_bytes, 1, 1 << 30, "BYTES",
            "Most bytes of one text, and of one turn of a conversation. Longer ones are refused "
            "before they are tokenized. Raise it to score longer texts in one request; "
            "--max-message-bytes must be larger.");
  AddNumber(app, "--max-step-rows,--max-num-batched-tokens", &options->model.max_rows, 1, 1 << 16,
            "TOKENS",
            "Most tokens that one step (a forward pass of the model) computes. Raise it for "
            "throughput; lower it "
            "for latency and memory.");
  AddNumber(app, "--max-step-ms", &options->max_step_ms, 0, 1e6, "MS",
            "Target duration of a step that mixes prompts with decoding, in milliseconds. Lower "
            "it for smoother streams, raise it for earlier first tokens. Prompts may always make "
            "a step half again as long as it is without them.");
  AddNumber(app, "--preempted-state-bytes", &options->preempted_state_bytes, -1, int64_t{1} << 50,
            "BYTES",
            "Host memory for states of running sequences that gave up their slots to another "
            "client's, to go on later. -1: a quarter of what is free beside the states of "
            "--max-sequences, at most 1 GiB. 0: nobody gives up a slot.");
}

void AddSessionFlags(CLI::App* app, RetnetdOptions* options) {
  app->option_defaults()->group("Sessions and caches");
  AddNumber(app, "--max-kept-sessions", &options->engine.executor.sessions.max_kept, 1, 1 << 24,
            "N",
            "Most sessions that this process knows. Beyond it, stored ones leave its memory, least "
            "recently used first; without a store no new session can be made.");
  AddNumber(
      app, "--host-state-bytes", &options->host_state_bytes, -1, int64_t{1} << 50, "BYTES",
      "Host memory for states of idle sessions and cached prefixes that made room for running "
      "sequences. -1: a quarter of what is free beside the states of --max-sequences, at most "
      "1 GiB. Raise it when many sessions take turns.");
  app->add_option("--snapshot-store", options->snapshot_store,
                  "Where sessions are kept beyond the process: none, disk:DIR or "
                  "redis://[USER:PASSWORD@]HOST[:PORT][/DATABASE]. Several servers may share a "
                  "Redis. In user and password, %40 stands for @ and so on, as in every URL.")
      ->type_name("STORE");
  app->add_flag("--snapshot-store-optional", options->snapshot_store_optional,
                "Start even if the Redis of --snapshot-store cannot be reached or refuses the "
                "password. It is tried again, and until then sessions are in memory alone. Set it "
                "where a server without stored sessions is better than none.");
  AddNumber(app, "--snapshot-bytes", &options->snapshot_bytes, 0, int64_t{1} << 50, "BYTES",
            "Most bytes in the store. Beyond it the least recently used sessions are deleted. "
            "0: no limit.");
  AddWord(app, "--snapshot-dtype", &options->snapshot_encoding, {"exact", "bf16", "int8"},
          "Number type of states in snapshots. exact keeps every bit. bf16 and int8 take half "
          "and a good quarter of the space of fp32 and are NOT exact: answers may change.");
  AddNumber(app, "--snapshot-zstd-level", &options->engine.snapshots.zstd_level, 0, 19, "LEVEL",
            "Compression of snapshots. 0: none. Higher levels take less space and more time.");
  app->add_option("--snapshot-key-file", options->snapshot_key_file,
                  "File whose bytes, 32 to 4096, are the key that snapshots are signed with "
                  "(HMAC-SHA256). Snapshots that are not signed with it are then refused, in the "
                  "store and at Import. Set it where others can write to the store. Servers that "
                  "share a store need the same key.")
      ->type_name("FILE")
      ->option_text("default: none");
  app->add_flag_callback(
      "--no-prefix-cache,--no-enable-prefix-caching",
      [options] { options->engine.executor.state_manager.prefix_cache = false; },
      "Compute every prompt from its first token. By default, states of prompts are kept for "
      "later prompts that begin alike.");
  AddWord(app, "--speculate", &options->speculate, {"none", "ngram"},
          "Guess tokens ahead and check several in one step. ngram guesses what followed the same "
          "three tokens earlier in the text. Answers stay the same; text that repeats itself "
          "comes faster. A request may set its own max_draft_tokens.");
  AddNumber(app, "--max-draft-tokens", &options->max_draft_tokens, 1, kMaxDraftTokens, "TOKENS",
            "Most tokens that are guessed at once, with --speculate ngram.");
}

// Neither a file nor the environment can ask for a check. --config has a variable.
void AddConfigurationFlags(CLI::App* app, RetnetdOptions* options) {
  app->option_defaults()->group("Configuration")->always_capture_default(false);
  app->add_option("--config", options->config_file,
                  "File of lines KEY = VALUE (TOML or INI without sections), where a key is a flag "
                  "without its dashes. The command line comes before the environment, then the "
                  "file, then the default.")
      ->type_name("FILE")
      ->option_text("default: none")
      ->configurable(false);
  app->add_flag("--check-config", options->check_config,
                "Check everything that can be checked without loading the model, print the "
                "configuration that would run as such a file, with the origin of each value, and "
                "exit.")
      ->configurable(false);
  app->option_defaults()->always_capture_default();
}

}  // namespace

void AddFlags(CLI::App* app, RetnetdOptions* options) {
  app->formatter(std::make_shared<HelpFormatter>());
  app->set_help_flag("-h,--help", "Print this help and exit.");
  app->set_version_flag("--version", "retnetd " RETNET_VERSION, "Print the version and exit.");
  AddConfigurationFlags(app, options);
  AddServingFlags(app, options);
  AddIdentityFlags(app, &options->server.identity);
  AddDeviceFlags(app, options);
  AddLoadFlags(app, options);
  AddSessionFlags(app, options);
}

const std::vector<RenamedFlag>& RenamedFlags() {
  static const std::vector<RenamedFlag>& flags = *new std::vector<RenamedFlag>{
      {"--max-sessions", "--max-sequences"},
      {"--snapshot-at-rest", "--snapshot-dtype"},
  };
  return flags;
}

std::vector<std::string> WithNewNames(int argc, char** argv, std::vector<std::string>* notes) {
  std::vector<std::string> arguments;
  for (int i = 1; i < argc; ++i) {
    std::string argument = argv[i];
    for (const RenamedFlag& flag : RenamedFlags()) {
      const size_t name_size = std::min(argument.find('='), argument.size());
      if (argument.substr(0, name_size) != flag.old_name) continue;
      argument.replace(0, name_size, flag.new_name);
      notes->push_back(absl::StrCat(flag.old_name, " is now called ", flag.new_name,
                                    "; the old name will go away in the next release"));
    }
    arguments.push_back(argument);
  }
  return arguments;
}

}  // namespace retnet
