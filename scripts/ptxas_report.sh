#!/usr/bin/env bash
# Compiles every CUDA source for real GPUs and prints of each kernel the registers, static shared memory and spills that
# ptxas reports, and how many blocks a multiprocessor holds by them and by the dynamic shared memory of the widest launch.
# Fails when a kernel spills, when fewer blocks fit than the line "occupancy" of its header claims, when a kernel has no
# such line, when one that may begin early touches memory before it has waited (kernels/cuda/runtime/launch.cuh), or when a source
# does not compile for one of the GPUs. Needs nvcc, not a GPU.
#
#   ptxas_report.sh [ARCHITECTURE]...      default: sm_80 sm_90
set -euo pipefail
shopt -s globstar
cd "$(dirname "$0")/.."

nvcc=$(command -v nvcc || echo /usr/local/cuda/bin/nvcc)
[[ $# -gt 0 ]] || set -- sm_80 sm_90
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# A line "NAME REGISTERS SHARED SPILLED" of each kernel of the report on standard input.
kernels() {
  c++filt | awk '
    /Compiling entry function/ {
      match($0, /'"'"'.*'"'"' for/)
      name = substr($0, RSTART + 1, RLENGTH - 6)
      gsub(/\(anonymous namespace\)::|retnet::|cuda::|^void | /, "", name)
      sub(/\(.*/, "", name)
    }
    /spill stores/ { spills = $5 + $9 }
    /Used [0-9]+ registers/ {
      shared = match($0, /[0-9]+ bytes smem/) ? substr($0, RSTART, RLENGTH - 11) : 0
      match($0, /Used [0-9]+/)
      print name, substr($0, RSTART + 5, RLENGTH - 5), shared, spills
    }'
}

# The kernels of the PTX on standard input that do not wait for those before them, or read or write global memory first.
# Copies of weights to shared memory are no reads here.
hasty() {
  awk '
    /\.entry/ { name = $0; sub(/.*\.entry /, "", name); sub(/\(.*/, "", name); waits = hasty = 0 }
    /griddepcontrol\.wait/ { waits = 1 }
    !waits && /^[ \t]*(@!?%p[0-9]+ )?(ld|st|atom|red)\./ && !/\.(param|shared|const|local)/ { hasty = 1 }
    /^}/ { if (name != "" && (!waits || hasty)) print name; name = "" }' | c++filt
}

# report ARCHITECTURE SOURCE: the lines of one source, and why it fails.
report() {
  local architecture=$1 source=$2 folder status=0 found
  folder=$work/$architecture/$(basename "$source" .cu)
  mkdir -p "$folder"
  "$nvcc" -std=c++20 -O2 -I. --expt-relaxed-constexpr -Xptxas -v -arch="$architecture" -cubin "$source" \
    -o "$folder/cubin" --keep --keep-dir "$folder" 2>"$folder/report" || { cat "$folder/report" >&2; return 1; }
  if [[ ${architecture#sm_} -ge 90 ]] && grep -q '^#include "kernels/cuda/runtime/launch.cuh"' "$source"; then
    found=$(hasty <"$folder/$(basename "$source" .cu).ptx")
    [[ -z $found ]] || { echo "$source on $architecture: does not wait before it touches memory: $found" >&2; status=1; }
  fi
  kernels <"$folder/report" | awk -v architecture="$architecture" -v source="${source##*/}" '
    # Registers go to warps in units of 256, shared memory to blocks in units of 128 bytes beside 1 KiB of the system.
    function ceil(x, unit) { return int((x + unit - 1) / unit) * unit }
    function min(a, b) { return a < b ? a : b }
    BEGIN {
      # Of a multiprocessor: KiB of shared memory, threads.
      split("sm_80 164 2048,sm_86 100 1536,sm_89 100 1536,sm_90 228 2048,sm_100 228 2048,sm_120 100 1536", rows, ",")
      for (i in rows) { split(rows[i], row, " "); memory[row[1]] = row[2] * 1024; threads_of[row[1]] = row[3] }
      if (!(architecture in memory)) { print "no limits are known of " architecture > "/dev/stderr"; bad = 1; exit }
    }
    NR == FNR { threads[$1] = $2; dynamic[$1] = $3; claim[$1, "sm_80"] = $4; claim[$1, "sm_90"] = $5; next }
    {
      if (!($1 in threads)) { print source ": " $1 " has no line \"occupancy\" in its header" > "/dev/stderr"; bad = 1; next }
      warps = int((threads[$1] + 31) / 32)
      blocks = min(int(65536 / (ceil($2 * 32, 256) * warps)), int(threads_of[architecture] / threads[$1]))
      blocks = min(blocks, int(memory[architecture] / ceil($3 + dynamic[$1] + 1024, 128)))
      printf "%-7s %-20s %-32s %4d registers %6d + %6d B shared %3d B spilled %3d blocks of %d\n", architecture, source, $1,
        $2, $3, dynamic[$1], $4, blocks, threads[$1]
      if ($4 > 0) { print "  it spills" > "/dev/stderr"; bad = 1 }
      if (blocks < claim[$1, architecture]) {
        print "  fewer blocks than the " claim[$1, architecture] " that its header claims" > "/dev/stderr"
        bad = 1
      }
    }
    END { exit bad }' "$work/claims" - || { echo "$source on $architecture: see above" >&2; status=1; }
  return "$status"
}

sed -n 's,^// *occupancy  *,,p' kernels/cuda/**/*.{h,cu,cuh} >"$work/claims"
reports=()
for architecture in "$@"; do
  for source in kernels/cuda/**/*.cu; do
    [[ $(jobs -rp | wc -l) -lt $(nproc) ]] || wait -n || true
    report "$architecture" "$source" >"$work/${#reports[@]}" 2>&1 &
    reports+=($!)
  done
done
status=0
for i in "${!reports[@]}"; do
  wait "${reports[i]}" || status=1
  cat "$work/$i"
done
exit "$status"
