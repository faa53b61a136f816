#!/usr/bin/env bash
# Installs what is missing, builds everything and runs every test.
#
#   test.sh                                 all tests
#   test.sh --sanitize address,undefined    all tests under these sanitizers, in a build folder of their own
#   test.sh --sanitize thread               engine and server tests; a planted race must be caught
#   test.sh --cuda                          the CUDA backend's tests, on a GPU or else under tests/cudasim; needs nvcc
#   test.sh -- OPTION...                    options for ctest, for example -R Retention
set -euo pipefail
cd "$(dirname "$0")/.."

# What this machine or this build could not run, so that green is not taken for more than it is.
left_out() {
  grep -qw avx2 /proc/cpuinfo || echo "left out: AVX2 kernels (not on this processor)"
  grep -qw avx512f /proc/cpuinfo || echo "left out: AVX-512 kernels (not on this processor)"
  grep -qw avx512_bf16 /proc/cpuinfo ||
    echo "left out: AVX-512-bf16 kernels natively (not on this processor; executed through SIMDe)"
  $cuda || echo "left out: the CUDA backend (test.sh --cuda)"
  [[ $1 != thread ]] || echo "left out: all but the engine's and the server's tests"
}

usage() { sed -n '2,8s/^# \{0,1\}//p' "$0"; }
sanitize=
cuda=false
while [[ $# -gt 0 ]]; do
  case $1 in
    --sanitize)
      sanitize=${2:?$(usage)}
      shift 2
      ;;
    --cuda)
      cuda=true
      shift
      ;;
    --)
      shift
      break
      ;;
    -h | --help)
      usage
      exit 0
      ;;
    *)
      usage >&2
      exit 2
      ;;
  esac
done

folder=build
options=(-DRETNET_TESTS=ON)
selection=()
if [[ -n $sanitize ]]; then
  folder=build-${sanitize//,/-}
  options+=("-DRETNET_SANITIZE=$sanitize")
fi
if $cuda; then
  folder+=-cuda
  options+=(-DRETNET_CUDA=ON)
  selection=(-L cuda)
  scripts/install_dependencies.sh cuda-test
fi
[[ $sanitize != thread ]] || selection=(-L 'engine|server')
[[ ${CI:-} != true ]] || options+=(-DRETNET_WERROR=ON)

scripts/install_dependencies.sh build test
cmake --preset release -B "$folder" "${options[@]}" >"$folder.configure.log" 2>&1 || {
  cat "$folder.configure.log" >&2
  exit 1
}
rm -f "$folder.configure.log"
if [[ $sanitize == thread ]]; then
  cmake --build "$folder" --target thread_tests
elif $cuda; then
  cmake --build "$folder" --target cuda_tests
else
  cmake --build "$folder"
fi
# What a test finds free on a GPU is sized by what is free there: one at a time.
parallel=$(nproc)
if $cuda && [[ -e /dev/nvidiactl ]]; then parallel=1; fi
status=0
ctest --test-dir "$folder" --parallel "$parallel" --output-on-failure --no-tests=error "${selection[@]}" "$@" || status=$?
left_out "$sanitize"
exit "$status"
