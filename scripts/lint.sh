#!/usr/bin/env bash
# Checks the product code with clang: every member marked ABSL_GUARDED_BY is touched with its lock
# held, and .clang-tidy finds nothing. Needs the configured folder build (scripts/test.sh makes it).
#
#   lint.sh             all of client, engine, kernels, models and server, except the code of one
#                       instruction set and CUDA's
#   lint.sh FILE.cc...  these alone
set -euo pipefail
cd "$(dirname "$0")/.."

case ${1:-} in
  -h | --help)
    sed -n '2,7s/^# \{0,1\}//p' "$0"
    exit 0
    ;;
esac
if [[ ! -f build/compile_commands.json || ! -d build/proto/generated/retnet ]]; then
  echo "lint.sh: build/compile_commands.json or the generated code is missing: run scripts/test.sh first" >&2
  exit 1
fi
scripts/install_dependencies.sh lint

# A check that lets this file pass would let every removed lock pass.
refusal=$(clang-tidy-14 --quiet tests/lint/unguarded.cc -- -std=c++20 -I. -Wthread-safety 2>&1) &&
  refusal="it was accepted"
if [[ $refusal != *"writing variable 'count_' requires holding mutex 'mu_'"* ]]; then
  echo "lint.sh: tests/lint/unguarded.cc must be refused for its missing lock, but: $refusal" >&2
  exit 1
fi

# Prints what was found; nothing for a clean file.
check_file() {
  local found
  found=$(clang-tidy-14 --quiet -p build --extra-arg=-Wthread-safety "$1" 2>&1) && return
  printf '%s\n' "$found"
  return 1
}
export -f check_file

files=("$@")
if [[ ${#files[@]} -eq 0 ]]; then
  # bfloat16_dot.cc names its instruction set by a pragma that clang does not know.
  mapfile -t files < <(git ls-files 'client/*.cc' 'engine/*.cc' 'kernels/*.cc' 'models/*.cc' 'server/*.cc' \
    ':!kernels/cuda' ':!models/retnet_cuda.cc' ':!kernels/cpu/bfloat16_dot.cc')
fi
# shellcheck disable=SC2016 # the inner shell expands it
printf '%s\0' "${files[@]}" | xargs -0 -P "$(nproc)" -n 1 bash -c 'check_file "$1"' check_file || {
  echo "lint.sh: findings are above" >&2
  exit 1
}
echo "${#files[@]} files: locks and clang-tidy find nothing"
