#!/usr/bin/env bash
# Builds for the GPU that is here, measures decode and prefill steps of whole models on it, and prints tables in Markdown.
# Exits 3 where there is no GPU.
#
#   gpu_report.sh [CONFIG.json]...      default: the shape of retnet-1.3B, random bf16 weights (2.6 GB in TMPDIR)
set -euo pipefail
cd "$(dirname "$0")/../.."

if ! nvidia-smi -L >/dev/null 2>&1; then
  echo "gpu_report.sh: there is no NVIDIA GPU here (nvidia-smi lists none): nothing was measured" >&2
  exit 3
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

scripts/install_dependencies.sh build test >&2
capability=$(nvidia-smi --query-gpu=compute_cap --format=csv,noheader | head -n 1 | tr -d .)
cmake --preset bench -B build-gpu-bench -DRETNET_CUDA=ON -DRETNET_TESTS=OFF \
  -DCMAKE_CUDA_ARCHITECTURES="$capability-real" >&2
cmake --build build-gpu-bench --target make_checkpoint model_bench >&2

nvidia-smi --query-gpu=name,driver_version,clocks.max.sm,power.limit --format=csv,noheader | head -n 1
[[ $# -gt 0 ]] || set -- ""
for config in "$@"; do
  echo
  build-gpu-bench/make_checkpoint "$work/model" ${config:+"$(cat "$config")"} >&2
  build-gpu-bench/model_bench "$work/model" cuda --benchmark_repetitions=5 --benchmark_report_aggregates_only=true \
    --benchmark_format=json >"$work/report.json"
  python3 tests/bench/gpu_report.py <"$work/report.json"
  rm -rf "$work/model"
done
