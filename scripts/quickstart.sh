#!/usr/bin/env bash
# From a clone to a story: installs what is missing, builds, starts the server on the default model, streams a
# text that continues the prompt, and stops the server.
#
#   quickstart.sh ["PROMPT"] [OPTION OF `retnet generate`...]
#   quickstart.sh --serve [OPTION OF `retnetd`...]      leaves the server running on 127.0.0.1:50051
set -euo pipefail
cd "$(dirname "$0")/.."

case ${1:-} in
  -h | --help)
    sed -n '2,6s/^# \{0,1\}//p' "$0"
    exit 0
    ;;
esac

scripts/install_dependencies.sh build
log=$(mktemp)
echo "building (the first time takes a few minutes) ..." >&2
if ! { cmake --preset release -DRETNET_TESTS=OFF && cmake --build build --target retnetd retnet; } >"$log" 2>&1; then
  cat "$log" >&2
  exit 1
fi
rm -f "$log"

if [[ ${1:-} == --serve ]]; then
  shift
  exec build/retnetd --model models/demo --listen 127.0.0.1:50051 "$@"
fi

prompt=${1:-Once upon a time}
[[ $# -eq 0 ]] || shift
output=$(mktemp)
build/retnetd --model models/demo --listen 127.0.0.1:0 >"$output" 2>"$output.log" &
server=$!
stop() {
  kill "$server" 2>/dev/null || true
  wait "$server" 2>/dev/null || true
  rm -f "$output" "$output.log"
}
trap stop EXIT
until address=$(sed -n 's/^listening on //p' "$output") && [[ -n $address ]]; do
  if ! kill -0 "$server" 2>/dev/null; then
    cat "$output.log" >&2
    exit 1
  fi
  sleep 0.05
done
printf '%s' "$prompt"
build/retnet generate --target "$address" "$@" -- "$prompt"
