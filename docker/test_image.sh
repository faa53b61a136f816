#!/usr/bin/env bash
# Builds the image and uses it as a person would: health, a streamed call through a published port, hardening, a memory
# limit, SIGTERM in mid-stream, a mounted checkpoint. Needs a Docker engine, and build/retnet as the client outside.
#
#   docker/test_image.sh [CHECKPOINT]     a checkpoint folder to mount; default: the tests' own
set -euo pipefail
cd "$(dirname "$0")/.."

image=retnet:test
checkpoint=$(realpath "${1:-tests/testdata/goldens/base}")
client=build/retnet
work=$(mktemp -d)
containers=()
cleanup() {
  [[ ${#containers[@]} -eq 0 ]] || docker rm -f "${containers[@]}" >/dev/null 2>&1 || true
  rm -rf "$work"
}
trap cleanup EXIT

fail() {
  echo "FAILED: $*" >&2
  [[ -z ${container:-} ]] || docker logs --tail 20 "$container" >&2 || true
  exit 1
}
passed() { echo "passed: $*"; }

# start OPTION...: a hardened container in the background; sets `container` and `address`.
start() {
  container=$(docker run -d --read-only --cap-drop=ALL --security-opt=no-new-privileges \
    -p 127.0.0.1::50051 "$@")
  containers+=("$container")
  address=$(docker port "$container" 50051/tcp | head -n 1)
}

wait_healthy() {
  for _ in $(seq 120); do
    case $(docker inspect --format '{{.State.Health.Status}} {{.State.Running}}' "$container") in
      healthy*) return ;;
      *false) fail "the container stopped before it was healthy" ;;
    esac
    sleep 0.5
  done
  fail "not healthy within a minute"
}

generate() { "$client" generate --target "$address" --temperature 0 --max-tokens "$@"; }

docker build -q --network=host --build-arg BASE="${BASE:-debian:bookworm-slim}" \
  -f docker/Dockerfile -t "$image" . >/dev/null
echo "image size: $(docker image inspect --format '{{.Size}}' "$image") bytes"
docker history --no-trunc=false --format '{{.Size}}\t{{.CreatedBy}}' "$image" | grep -v '^0B' || true

start "$image"
wait_healthy
passed "health becomes healthy"

build/retnetd --model models/demo --listen 127.0.0.1:0 >"$work/outside" 2>/dev/null &
outside=$!
until grep -q '^listening on' "$work/outside"; do
  kill -0 "$outside" 2>/dev/null || fail "build/retnetd does not start"
  sleep 0.1
done
expected=$("$client" generate --target "$(sed 's/^listening on //' "$work/outside")" \
  --temperature 0 --max-tokens 64 "Once upon a time")
kill "$outside"
wait "$outside" || true
[[ $(generate 64 "Once upon a time") == "$expected" ]] || fail "the text differs from the one outside"
passed "a streamed call through the published port gives the text of the server outside"

status=$(docker exec "$container" cat /proc/1/status)
grep -q '^CapEff:.*0000000000000000$' <<<"$status" || fail "process 1 has capabilities"
grep -q '^NoNewPrivs:.*1$' <<<"$status" || fail "new privileges can be had"
[[ $(docker exec "$container" cat /proc/1/comm) == retnetd ]] || fail "process 1 is not the server"
! grep -q '^Uid:[[:space:]]*0' <<<"$status" || fail "runs as root"
! docker exec "$container" sh -c 'echo x > /x' 2>/dev/null || fail "the root can be written"
passed "no capabilities, no new privileges, not root, a read-only root"

generate 2000 --ignore-eos "Once upon a time" >"$work/drained" &
stream=$!
until [[ -s $work/drained ]]; do sleep 0.02; done
docker kill --signal TERM "$container" >/dev/null
wait "$stream" || fail "SIGTERM broke a running stream"
[[ $(docker wait "$container") == 0 ]] || fail "exit status after SIGTERM is not 0"
passed "SIGTERM in mid-stream finishes the stream and exits 0"

container=$(docker run -d --memory 24m --memory-swap 24m "$image")
containers+=("$container")
[[ $(docker wait "$container") != 0 ]] || fail "24 MB of memory were enough"
docker logs "$container" 2>&1 | grep -qi memory || fail "no message about memory"
passed "a memory limit below the need fails with a message: $(docker logs "$container" 2>&1 | grep -i memory | tail -n 1)"
start --memory 256m --memory-swap 256m "$image"
wait_healthy
generate 16 "Once upon a time" >/dev/null || fail "256 MB of memory are not enough"
passed "a memory limit above the need holds"

start -v "$checkpoint:/models/mounted:ro" -e RETNET_MODEL=/models/mounted "$image"
wait_healthy
"$client" generate --target "$address" --token-ids 5,6,7 --max-tokens 4 --json >/dev/null ||
  fail "the mounted checkpoint is not served"
passed "a mounted checkpoint is served"
