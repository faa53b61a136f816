#!/usr/bin/env bash
# Compiles every CUDA source for real GPUs and prints of each kernel the registers, shared memory and spills that ptxas
# reports. Fails when a kernel spills, or when a source does not compile for one of the GPUs. Needs nvcc, not a GPU.
#
#   ptxas_report.sh [ARCHITECTURE]...      default: sm_80 sm_90
set -euo pipefail
cd "$(dirname "$0")/.."

nvcc=$(command -v nvcc || echo /usr/local/cuda/bin/nvcc)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
for architecture in "${@:-sm_80 sm_90}"; do echo "$architecture"; done | tr ' ' '\n' >"$work/architectures"

status=0
while read -r architecture; do
  for source in kernels/cuda/*.cu; do
    "$nvcc" -std=c++20 -O2 -I. --expt-relaxed-constexpr -Xptxas -v -arch="$architecture" -c "$source" -o "$work/object" \
      2>"$work/report" || { cat "$work/report" >&2; exit 1; }
    c++filt <"$work/report" | awk -v where="$architecture ${source##*/}" '
      /Compiling entry function/ { match($0, /'"'"'.*'"'"' for/); name = substr($0, RSTART + 1, RLENGTH - 6) }
      /spill stores/ { spills = $5 + $9 }
      /Used [0-9]+ registers/ {
        shared = match($0, /[0-9]+ bytes smem/) ? substr($0, RSTART, RLENGTH - 11) : 0
        match($0, /Used [0-9]+/)
        printf "%-24s %4d registers %6d B shared %4d B spilled  %s\n", where, substr($0, RSTART + 5, RLENGTH - 5), shared, spills, name
        failed = failed || spills > 0
      }
      END { exit failed }' || { echo "$source: a kernel spills on $architecture" >&2; status=1; }
  done
done <"$work/architectures"
exit "$status"
