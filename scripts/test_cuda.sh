#!/usr/bin/env bash
# All that proves the CUDA backend without a GPU, most of which does not fit in CI: hours on two cores. Needs nvcc, and
# executes what it compiles under tests/cudasim. Runs every part, and names at the end those that failed.
#
#   test_cuda.sh [PART]...      default: all, in this order
#     architectures   the server compiles for every GPU that it is meant for, as docs/gpu.md builds it
#     ptxas           what ptxas says of every kernel on them: no spills, occupancy as claimed
#     emulator        the emulator's own tests
#     tests           all CUDA tests, as `test.sh --cuda` runs them
#     capability      the same, compiled for compute capability 9.0 and on such a device, where kernels overlap
#     races           the same with race detection, each test for as long as it takes
set -euo pipefail
cd "$(dirname "$0")/.."

architectures="80-real;86-real;89-real;90-real;100-real;120"
usage() { sed -n '2,11s/^# \{0,1\}//p' "$0"; }

configure() {
  local folder=$1
  shift
  cmake --preset release -B "$folder" -DRETNET_CUDA=ON "$@"
}

part() {
  case $1 in
    architectures)
      configure build-cuda-all -DRETNET_TESTS=OFF -DCMAKE_CUDA_ARCHITECTURES="$architectures"
      cmake --build build-cuda-all --target retnetd
      ;;
    ptxas) scripts/ptxas_report.sh sm_80 sm_86 sm_89 sm_90 sm_100 sm_120 ;;
    emulator)
      scripts/install_dependencies.sh cuda-test
      tests/cudasim/selftest
      ;;
    tests) scripts/test.sh --cuda ;;
    capability)
      configure build-cuda-90 -DRETNET_TESTS=ON -DCMAKE_CUDA_ARCHITECTURES=90-virtual
      cmake --build build-cuda-90 --target cuda_tests
      CUDASIM_CC=9.0 ctest --test-dir build-cuda-90 --parallel "$(nproc)" -L cuda --output-on-failure
      ;;
    races)
      configure build-cuda -DRETNET_TESTS=ON -DRETNET_TEST_TIMEOUT=86400
      cmake --build build-cuda --target cuda_tests
      # Programs with faults of their own are races' own test.
      CUDASIM_RACE=1 ctest --test-dir build-cuda --parallel "$(nproc)" -L cuda --exclude-regex seeded_fault_ --output-on-failure
      ;;
    *)
      usage >&2
      exit 2
      ;;
  esac
}

[[ ${1:-} != -h && ${1:-} != --help ]] || { usage; exit 0; }
[[ $# -gt 0 ]] || set -- architectures ptxas emulator tests capability races
if [[ $# -eq 1 ]]; then
  part "$1"
  exit
fi
failed=()
for name in "$@"; do
  echo "== $name"
  scripts/test_cuda.sh "$name" || failed+=("$name")
done
[[ ${#failed[@]} -eq 0 ]] || { echo "failed: ${failed[*]}" >&2; exit 1; }
