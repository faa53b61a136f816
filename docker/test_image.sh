#!/usr/bin/env bash
# Builds an image and uses it as a person would, beside a server outside. Needs a Docker engine, and build/retnet and
# build/retnetd. Where the environment has CCACHE_REMOTE_STORAGE=file:FOLDER, as when CI's test.sh built these, the image's
# build takes their objects.
#
#   docker/test_image.sh [CHECKPOINT]            docker/Dockerfile as retnet:test, with a checkpoint folder to mount;
#                                                default: one of the tests' own
#   docker/test_image.sh --cuda [CHECKPOINT]     docker/Dockerfile.cuda as retnet:test-cuda, on a machine without a GPU.
#                                                BUILD_BASE names the image with nvcc, CUDA_ARCHITECTURES the GPUs
set -euo pipefail
cd "$(dirname "$0")/.."

cuda=false
image=retnet:test
base=${BASE:-debian:bookworm-slim}
build_options=(-f docker/Dockerfile)
if [[ ${1:-} == --cuda ]]; then
  shift
  cuda=true
  image=retnet:test-cuda
  build_options=(-f docker/Dockerfile.cuda --build-arg BUILD_BASE="${BUILD_BASE:-local/cuda-base:13.0}"
    --build-arg CUDA_ARCHITECTURES="${CUDA_ARCHITECTURES:-80-virtual}")
fi
checkpoint=$(realpath "${1:-tests/testdata/goldens/base}")
client=build/retnet
prompt="Once upon a time"
hardened=(--read-only --cap-drop=ALL --security-opt=no-new-privileges -p 127.0.0.1::50051)
project=retnet-test-$$
work=$(mktemp -d)
containers=()
outside=()
composer=()
cleanup() {
  [[ ${#outside[@]} -eq 0 ]] || kill "${outside[@]}" 2>/dev/null || true
  [[ ${#containers[@]} -eq 0 ]] || docker rm -fv "${containers[@]}" >/dev/null 2>&1 || true
  [[ ${#composer[@]} -eq 0 ]] || compose down -v >/dev/null 2>&1 || true
  rm -rf "$work"
}
trap cleanup EXIT

fail() {
  echo "FAILED: $*" >&2
  [[ -z ${container:-} ]] || docker logs --tail 20 "$container" >&2 || true
  exit 1
}
passed() { echo "passed: $*"; }
inspect() { docker inspect --format "$1" "${2:-$container}"; }

# run OPTION...: a container of the image in the background; sets `container`.
run() {
  container=$(docker run -d "$@" "$image")
  containers+=("$container")
}

# start OPTION...: a container that gets healthy; sets `container` and `address`.
start() {
  run "$@"
  for _ in $(seq 240); do
    case $(inspect '{{.State.Health.Status}} {{.State.Running}}') in
      "healthy true")
        address=$(docker port "$container" 50051/tcp | head -n 1)
        return
        ;;
      *false) fail "the container stopped before it was healthy" ;;
    esac
    sleep 0.25
  done
  fail "not healthy within a minute: $(inspect '{{json .State.Health}}')"
}

# serve_outside MODEL: a server without a container; sets `outside_address`.
serve_outside() {
  local output=$work/outside.${#outside[@]}
  : >"$output"
  build/retnetd --model "$1" --listen 127.0.0.1:0 >"$output" 2>"$output.log" &
  outside+=($!)
  until outside_address=$(sed -n 's/^listening on //p' "$output") && [[ -n $outside_address ]]; do
    kill -0 "${outside[-1]}" 2>/dev/null || fail "build/retnetd does not start: $(cat "$output.log")"
    sleep 0.1
  done
}

# generate ADDRESS TOKENS OPTION...
generate() { "$client" generate --target "$1" --temperature 0 --max-tokens "${@:2}"; }

# The image's build reads the folder of CCACHE_REMOTE_STORAGE over HTTP: no folder can be mounted while an image is built.
# The options are those of CI's test.sh: objects of other options do not serve.
share_objects() {
  local port
  python3 -u -m http.server --bind 127.0.0.1 --directory "${CCACHE_REMOTE_STORAGE#file:}" 0 >"$work/objects" 2>"$work/gets" &
  outside+=($!)
  until port=$(sed -n 's/.* port \([0-9]*\) .*/\1/p' "$work/objects") && [[ -n $port ]]; do
    kill -0 "${outside[-1]}" 2>/dev/null || fail "the objects are not served: $(cat "$work/gets")"
    sleep 0.1
  done
  build_options+=(--build-arg CMAKE_OPTIONS=-DRETNET_WERROR=ON
    --build-arg CCACHE_REMOTE_STORAGE="http://127.0.0.1:$port|read-only")
}

build_image() {
  local version
  version=$(sed -n 's/^project(retnet VERSION \([0-9.]*\).*/\1/p' CMakeLists.txt)
  if [[ ${CCACHE_REMOTE_STORAGE:-} == file:* ]] && ! $cuda; then share_objects; fi
  docker build --network=host --build-arg BASE="$base" --build-arg VERSION="$version" --build-arg REVISION=of-the-test \
    "${build_options[@]}" -t "$image" . >"$work/build" 2>&1 || {
    tail -n 50 "$work/build" >&2
    fail "the image does not build"
  }
  echo "image: $(inspect '{{.Size}}' "$image") bytes, of which the base $(inspect '{{.Size}}' "$base"); the layers:"
  docker history --format '{{.Size}}\t{{.CreatedBy}}' "$image" | awk -F '\t' '$1 != "0B"'
}

test_contents() {
  local packages label
  [[ $(inspect '{{json .Config.Entrypoint}} {{json .Config.Cmd}}' "$image") == \
    '["/usr/local/bin/retnetd"] null' ]] || fail "the entry point is not the server alone"
  [[ $(inspect '{{.Config.User}}' "$image") =~ ^[1-9][0-9]*:[1-9][0-9]*$ ]] || fail "the user is not a number above 0"
  [[ $(inspect '{{index .Config.Healthcheck.Test 0}} {{index .Config.Healthcheck.Test 1}}' "$image") == \
    "CMD /usr/local/bin/retnet" ]] || fail "health is not checked by the client"
  label=$(inspect '{{index .Config.Labels "org.opencontainers.image.version"}}' "$image")
  [[ "retnetd $label" == "$(docker run --rm "$image" --version)" ]] || fail "the version's label is $label"
  for label in title description licenses revision; do
    [[ -n $(inspect "{{index .Config.Labels \"org.opencontainers.image.$label\"}}" "$image") ]] || fail "no label $label"
  done
  packages=$(docker run --rm --entrypoint dpkg-query "$image" -f "\${Package}\n" -W)
  grep -qx 'libgrpc++1.51' <<<"$packages" || fail "no list of packages"
  if grep -E -- '-dev$|^(g\+\+|gcc|cpp|cmake|ninja-build|ccache|binutils)(-[0-9]+)?$' <<<"$packages"; then
    fail "packages of the build are in the image"
  fi
  passed "the server is the entry point, a numeric user, labels, and no package of the build"
}

# The image holds the libraries and says what it wants of the container toolkit; without a GPU it says so.
test_without_gpu() {
  local answer status=0 variable
  for variable in NVIDIA_VISIBLE_DEVICES=all NVIDIA_DRIVER_CAPABILITIES=compute,utility; do
    [[ $(inspect '{{json .Config.Env}}' "$image") == *"\"$variable\""* ]] || fail "$variable is not set"
  done
  answer=$(docker run --rm --entrypoint ldd "$image" /usr/local/bin/retnetd)
  [[ $answer == *"/usr/local/lib/libcudart.so"* && $answer == *"/usr/local/lib/libcublasLt.so"* && \
    $answer != *"not found"* ]] || fail "the libraries: $answer"
  docker run --rm --entrypoint test "$image" -e /usr/local/lib/libcublas.so.13 || fail "no libcublas"
  answer=$(docker run --rm "$image" --device cuda 2>&1) || status=$?
  [[ $status -eq 3 && $answer == "retnetd: there is no NVIDIA driver"*"start it with --device cpu, or auto" ]] ||
    fail "--device cuda ends with $status: $answer"
  passed "--device cuda exits 3: $answer"
  start -p 127.0.0.1::50051
  answer=$(docker logs "$container" 2>&1 | grep -o -e '--device auto takes the CPU: .*') || fail "auto does not say why the CPU"
  passed "$answer"
}

test_stream() {
  local inside
  serve_outside models/demo
  start -p 127.0.0.1::50051
  if docker exec "$container" /usr/local/bin/retnet health --target 127.0.0.1:1 2>/dev/null; then
    fail "the check of health finds a server where there is none"
  fi
  passed "health becomes healthy"
  inside=$(generate "$address" 200 "$prompt")
  [[ ${#inside} -gt 200 && $inside == "$(generate "$outside_address" 200 "$prompt")" ]] ||
    fail "the text is not that of the server outside: $inside"
  passed "a streamed call through the published port gives the text of the server outside"
}

test_hardening() {
  local status file answer
  start "${hardened[@]}"
  status=$(docker exec "$container" cat /proc/1/status)
  [[ $(sed -n 's/^Name:\t//p' <<<"$status") == retnetd ]] || fail "process 1 is not the server"
  [[ $(grep -c '^Cap\(Inh\|Prm\|Eff\|Bnd\|Amb\):.0\{16\}$' <<<"$status") -eq 5 ]] || fail "capabilities: $status"
  grep -q '^NoNewPrivs:.1$' <<<"$status" || fail "new privileges can be had"
  grep -q '^Uid:.65532.65532.65532.65532$' <<<"$status" || fail "the user: $status"
  # Root itself is told that it is read-only, and not that a permission is missing.
  for file in /x /models/x /tmp/x /usr/local/bin/retnet; do
    answer=$(docker exec --user 0:0 "$container" sh -c "echo x >> $file" 2>&1 || true)
    [[ $answer == *"Read-only file system"* ]] || fail "$file can be written: $answer"
  done
  passed "no capabilities, no new privileges, not root, a read-only root"
}

# In the container of test_hardening. The stream takes seconds, SIGTERM milliseconds.
test_termination() {
  local stream tokens=25000
  generate "$address" $tokens --ignore-eos "$prompt" >"$work/drained" &
  stream=$!
  until [[ -s $work/drained ]]; do
    kill -0 "$stream" 2>/dev/null || fail "no stream"
    sleep 0.02
  done
  docker kill --signal TERM "$container" >/dev/null
  sleep 0.3
  [[ $(inspect '{{.State.Running}}') == true ]] || fail "the server did not wait for the stream"
  if generate "$address" 1 "$prompt" >/dev/null 2>&1; then fail "a new call is taken while it drains"; fi
  wait "$stream" || fail "SIGTERM broke a running stream"
  [[ $(timeout 60 docker wait "$container") == 0 ]] || fail "the exit status after SIGTERM is not 0"
  generate "$outside_address" $tokens --ignore-eos "$prompt" | cmp - "$work/drained" || fail "the stream is not whole"
  passed "SIGTERM in mid-stream finishes the stream and exits 0"
}

# refuses MEMORY: a container with so many MiB says what it needs, and is not killed; sets `message`.
refuses() {
  run "${hardened[@]}" --memory "$1m" --memory-swap "$1m"
  [[ $(timeout 60 docker wait "$container") == 1 && $(inspect '{{.State.OOMKilled}}') == false ]] ||
    fail "$1 MiB are not refused: $(inspect '{{json .State}}')"
  message=$(docker logs "$container" 2>&1 | grep '^retnetd: memory: ') || fail "no message about memory"
  [[ $message == *"of the $1.0 MiB that /sys/fs/cgroup/"* ]] || fail "the message does not name the limit: $message"
}

test_memory() {
  local message need call calls=()
  refuses 24
  passed "a memory limit below the need is refused: $message"
  need=${message#retnetd: memory: }
  need=${need%%.*}
  refuses "$need"
  start "${hardened[@]}" --memory "$((need + 8))m" --memory-swap "$((need + 8))m"
  for _ in $(seq 16); do
    generate "$address" 200 --ignore-eos --file README.md >/dev/null &
    calls+=($!)
  done
  for call in "${calls[@]}"; do wait "$call" || fail "a call fails under the memory limit"; done
  [[ $(inspect '{{.State.Running}} {{.State.OOMKilled}} {{.RestartCount}}') == "true false 0" ]] ||
    fail "killed within $((need + 8)) MiB"
  passed "$((need + 8)) MiB, 8 above what it says it needs, hold with 16 long prompts at once"
}

test_mounted_checkpoint() {
  local call=(--token-ids "5,6,7" --ignore-eos --json) inside
  start "${hardened[@]}" -v "$checkpoint:/models/mounted:ro" -e RETNET_MODEL=/models/mounted
  serve_outside "$checkpoint"
  [[ $("$client" model --target "$address" --json) == *mounted* ]] || fail "another model than the mounted one is served"
  inside=$(generate "$address" 20 "${call[@]}" | token_ids)
  [[ -n $inside && $inside == "$(generate "$outside_address" 20 "${call[@]}" | token_ids)" ]] ||
    fail "the mounted checkpoint's tokens are not those of the server outside: $inside"
  passed "a mounted checkpoint is served: $inside"
}
token_ids() { sed -n 's/.*"token_ids":\[\([0-9,]*\)\].*/\1/p'; }

compose() {
  RETNET_IMAGE=$image RETNET_PORT=0 "${composer[@]}" -p "$project" -f docker/compose.yaml "$@" 2>>"$work/compose"
}

test_compose() {
  local text
  if docker compose version >/dev/null 2>&1; then
    composer=(docker compose)
  elif command -v docker-compose >/dev/null; then
    composer=(docker-compose)
  else
    echo "left out: the compose file (no docker compose, no docker-compose)"
    return
  fi
  compose up -d --no-build || fail "compose up: $(cat "$work/compose")"
  container=$(compose ps -q server)
  text=$(compose --profile client run --rm -T client) || fail "the client's call: $(cat "$work/compose")"
  [[ ${#text} -gt 100 ]] || fail "the client of the compose file says: $text"
  [[ $(generate "$(compose port server 50051)" 100 "$prompt") == "$(generate "$outside_address" 100 "$prompt")" ]] ||
    fail "the server of the compose file answers otherwise"
  [[ $(inspect '{{.HostConfig.ReadonlyRootfs}} {{.HostConfig.CapDrop}} {{.HostConfig.SecurityOpt}}') == \
    'true [ALL] [no-new-privileges:true]' ]] || fail "the compose file does not harden the server"
  compose stop || fail "compose stop: $(cat "$work/compose")"
  [[ $(inspect '{{.State.ExitCode}}') == 0 ]] || fail "the server of the compose file does not end with 0"
  passed "the compose file's server and its client: ${text%%.*}."
}

build_image
test_contents
if $cuda; then test_without_gpu; fi
test_stream
test_hardening
test_termination
# The limits are those of the programs without CUDA's libraries, and the compose file is of the other image.
if ! $cuda; then
  test_memory
  test_compose
fi
test_mounted_checkpoint
