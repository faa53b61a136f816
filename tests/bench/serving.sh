#!/usr/bin/env bash
# Measures the server under load with `retnet bench`: the figures of docs/serving.md. The server runs with one thread on
# processor 0, the client on processor 1. Figures are taken from build-bench/ (cmake --preset bench), where no invariant is
# checked; `short` takes no figures and runs what is in build/.
#
#   serving.sh bare|alone|mix|sweep|overload|memory|all [MODEL]      default model: models/demo
#   serving.sh short [MODEL]                                         a few seconds with clients of every kind; fails on errors
#   serving.sh soak [MODEL]                                          ten minutes; SOAK_SECONDS for another time
set -euo pipefail
cd "$(dirname "$0")/../.."

model=${2:-models/demo}
programs=build-bench
[[ ${1:-} != short ]] || programs=build
out=${OUT:-$(mktemp -d)}
server=
stop() {
  [[ -n $server ]] || return 0
  kill "$server" && wait "$server" || echo "the server ended with status $?"
  server=
}
trap stop EXIT

start() { # OPTION... of retnetd; sets address
  taskset -c 0 "$programs/retnetd" --model "$model" --threads 1 --listen 127.0.0.1:0 "$@" \
    >"$out/listening" 2>"$out/server.log" &
  server=$!
  until grep -q '^listening on' "$out/listening"; do
    kill -0 "$server" || { cat "$out/server.log"; exit 1; }
    sleep 0.1
  done
  address=$(sed 's/^listening on //' "$out/listening")
}
bench() { taskset -c 1 "$programs/retnet" bench --target "$address" --ignore-eos "$@" 2>/dev/null; }
memory_of() { awk -v field="$1:" '$1 == field {print $2 * 1024}' "/proc/$server/status"; }

# What one step of the model takes without engine and server: the floor of ITL and TTFT.
bare() { taskset -c 0 build-bench/model_bench "$model" 1 --benchmark_filter='^(Decode/sequences:(1|8)|Prefill/tokens:64)$' \
  --benchmark_repetitions=5 --benchmark_report_aggregates_only=true 2>/dev/null | grep -E '_median|memory|peak'; }

alone() {
  start
  bench --max-concurrency 1 --num-prompts 100 --num-warmups 5 --temperature 0 --random-input-len 64 --random-output-len 100
  stop
}

# Prompts keep arriving among eight decoding streams.
mix() {
  local limit
  for limit in 1.5 50; do
    echo "--max-step-ms $limit"
    start --max-step-ms "$limit"
    bench --max-concurrency 8 --num-prompts 200 --num-warmups 8 \
      --random-input-len uniform:16:512 --random-output-len uniform:32:200
    stop
  done
}

sweep() {
  start --max-sequences 128
  bench --max-concurrency 1,2,4,8,16,32,64,128 --duration 8 --num-warmups 4 \
    --random-input-len 64 --random-output-len 100 --json "$out/sweep.json" --report "$out/sweep.html"
  echo "report: $out/sweep.html"
  stop
}

# Twice the rate that the server can sustain, against a short queue.
overload() {
  start --max-sequences 32 --max-queue 32
  local load=(--random-input-len 64 --random-output-len 100 --num-warmups 4)
  bench --max-concurrency 32 --duration 10 "${load[@]}" --json "$out/capacity.json"
  local rate
  rate=$(python3 -c 'import json, sys; print(round(2 * json.load(open(sys.argv[1]))["request_throughput"], 1))' \
    "$out/capacity.json")
  echo "twice the capacity: $rate requests/s"
  bench --request-rate "$rate" --duration 20 "${load[@]}" || echo "exit status $? of the client, which was refused requests"
  stop
}

# What the length of a session costs.
memory() {
  local tokens
  for tokens in 100 100000; do
    start --max-sequences 4 --max-context-length 200000
    "$programs/retnet" generate --target "$address" --ignore-eos --max-tokens "$tokens" "Once upon a time" >/dev/null
    echo "one session of $tokens tokens: at most $(memory_of VmHWM) bytes resident"
    stop
  done
}

# Random cancels, slow readers and clients that vanish, at two thirds of what the server can do. At the end every
# slot must be free: as many streams as there are slots run at once although the queue holds one.
soak() {
  local seconds=${SOAK_SECONDS:-600}
  start --max-sequences 32 --max-queue 1000
  bench --max-concurrency 32 --duration 5 --random-input-len uniform:8:256 --random-output-len uniform:8:200 \
    --json "$out/capacity.json" >/dev/null
  local rate
  rate=$(python3 -c 'import json, sys; print(round(json.load(open(sys.argv[1]))["request_throughput"] * 2 / 3, 1))' \
    "$out/capacity.json")
  echo "$rate requests/s for $seconds s"
  (while sleep $((seconds / 10)); do echo "resident: $(memory_of VmRSS) bytes, $(find "/proc/$server/fd" | wc -l) files"; done) &
  local sampler=$!
  bench --request-rate "$rate" --duration "$seconds" --random-input-len uniform:8:256 \
    --random-output-len uniform:8:200 --cancel-fraction 0.1 --slow-reader-fraction 0.05 --vanish-fraction 0.05
  kill "$sampler"
  echo "then 32 streams at once:"
  bench --max-concurrency 32 --num-prompts 64 --num-warmups 0 --random-input-len 16 --random-output-len 50 | head -n 3
  stop
}

short() {
  start --max-sequences 8
  bench --max-concurrency 1,8,16 --num-prompts 60 --random-input-len uniform:8:128 --random-output-len uniform:8:64 \
    --cancel-fraction 0.1 --slow-reader-fraction 0.05 --vanish-fraction 0.05 --json "$out/short.json" --report "$out/short.html"
  stop
}

case ${1:-} in
  bare | alone | mix | sweep | overload | memory | short | soak) "$1" ;;
  all) for part in bare alone mix sweep overload memory; do echo "== $part"; "$part"; done ;;
  *)
    sed -n '2,8s/^# \{0,1\}//p' "$0" >&2
    exit 2
    ;;
esac
