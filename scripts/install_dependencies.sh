#!/usr/bin/env bash
# Installs what building, testing and running need, from Debian's packages. Asks nothing, needs root or sudo only
# when something is missing, and does nothing when all is there.
#
#   install_dependencies.sh [build|test|lint|fuzz|cuda-test|runtime]...     default: build
set -euo pipefail

build=(
  g++ cmake ninja-build ccache pkg-config
  libgrpc++-dev protobuf-compiler-grpc protobuf-compiler libprotobuf-dev libabsl-dev
  libsentencepiece-dev libhwy-dev nlohmann-json3-dev libspdlog-dev libcli11-dev
  libhiredis-dev libicu-dev libmicrohttpd-dev libssl-dev libxxhash-dev libzstd-dev prometheus-cpp-dev
)
# The converter's test runs Python with numpy; SIMDe executes the AVX-512 kernels where the processor cannot.
tests=(libgtest-dev libgmock-dev libsimde-dev libbenchmark-dev openssl python3 python3-numpy redis-server)
lint=(shellcheck clang-format-14 clang-tidy-14)
runtime=(libgrpc++1.51 libabsl20220623 libsentencepiece0 libhwy1 libspdlog1.10 libhiredis0.14 libicu72 libssl3 libxxhash0 libzstd1
  libmicrohttpd12 libprometheus-cpp-core1.0)
fuzz=(clang-14 libclang-rt-14-dev)
# What tests/cudasim, the emulator of CUDA, builds itself with. The CUDA toolkit is not Debian's.
cuda_test=(g++ python3 libboost-context-dev libzstd1)

packages=()
for group in "${@:-build}"; do
  case $group in
    build) packages+=("${build[@]}") ;;
    test) packages+=("${tests[@]}") ;;
    lint) packages+=("${lint[@]}") ;;
    runtime) packages+=("${runtime[@]}") ;;
    fuzz) packages+=("${fuzz[@]}") ;;
    cuda-test) packages+=("${cuda_test[@]}") ;;
    *)
      sed -n '2,5s/^# \{0,1\}//p' "$0" >&2
      exit 2
      ;;
  esac
done

missing=()
for package in "${packages[@]}"; do
  status=$(dpkg-query --show --showformat='${db:Status-Status}' "$package" 2>/dev/null || true)
  [[ $status == installed ]] || missing+=("$package")
done
[[ ${#missing[@]} -gt 0 ]] || exit 0

as_root=()
if [[ $EUID -ne 0 ]]; then
  if ! command -v sudo >/dev/null; then
    echo "install_dependencies.sh: run it as root, or install sudo: missing ${missing[*]}" >&2
    exit 1
  fi
  as_root=(sudo)
fi
echo "installing ${missing[*]}" >&2
log=$(mktemp)
trap 'rm -f "$log"' EXIT
if ! { "${as_root[@]}" apt-get update -q &&
  "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
    apt-get install -q -y --no-install-recommends "${missing[@]}"; } >"$log" 2>&1 </dev/null; then
  cat "$log" >&2
  echo "install_dependencies.sh: apt-get failed; its output is above" >&2
  exit 1
fi
