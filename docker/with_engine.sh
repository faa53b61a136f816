#!/usr/bin/env bash
# Runs a command with a Docker engine of its own, on a Debian 12 that has no engine running or reaches no image registry.
#
#   docker/with_engine.sh [--cuda] COMMAND [ARGUMENT...]
#
# Installs what is missing from Debian's packages, starts dockerd on a private socket, makes the image debian:bookworm-slim
# from Debian's packages, runs COMMAND with DOCKER_HOST, DOCKER_BUILDKIT and PATH set for that engine, and stops it. The
# exit status is COMMAND's, or 75 when no engine could be had. --cuda also makes the image local/cuda-base:13.0: the same
# with the CUDA toolkit of /usr/local/cuda. Needs root. Downloads and images stay under ${DOCKER_ENGINE_DIR:-/tmp/docker-engine},
# so that a second use takes seconds.
#
# The engine is Debian's (20.10), without iptables rules and without a registry. Builds need --network=host, published
# ports work, nothing can be pulled, and a `# syntax=` line, RUN heredocs, COPY --link and HEALTHCHECK --start-interval
# are not understood.
set -euo pipefail

readonly no_engine=75
readonly base=debian:bookworm-slim
readonly cuda_base=local/cuda-base:13.0

usage() { sed -n '2,14s/^# \{0,1\}//p' "$0"; }

# give_up LOG: shows the end of a log, and says that there is no engine.
give_up() {
  tail -n 20 "$1" >&2
  echo "with_engine.sh: no Docker engine could be had; the log is $1" >&2
  exit "$no_engine"
}

# Packages of programs that are missing. An engine of another vendor is used where it is installed.
install_packages() {
  local program missing=()
  local -A package_of=([dockerd]=docker.io [iptables]=iptables [mmdebstrap]=mmdebstrap [docker-compose]=docker-compose)
  for program in "${!package_of[@]}"; do
    command -v "$program" >/dev/null || missing+=("${package_of[$program]}")
  done
  [[ ${#missing[@]} -gt 0 ]] || return 0
  { apt-get update -q &&
    DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends "${missing[@]}"; } \
    >"$folder/apt.log" 2>&1 </dev/null || give_up "$folder/apt.log"
}

# Debian's own minimal system without manuals and translations, as in the image of that name.
make_base() {
  local sources=/etc/apt/sources.list.d/debian.sources
  [[ -s $folder/base.tar ]] && return
  [[ -e $sources ]] || sources=/etc/apt/sources.list
  mmdebstrap --variant=minbase --aptopt='Acquire::Languages "none"' \
    --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/locale/*' \
    --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-include=/usr/share/doc/*/copyright' \
    bookworm "$folder/base.new.tar" "$sources" >"$folder/mmdebstrap.log" 2>&1 || give_up "$folder/mmdebstrap.log"
  mv "$folder/base.new.tar" "$folder/base.tar"
}

stop_engine() {
  kill "$daemon" 2>/dev/null || true
  wait "$daemon" 2>/dev/null || true
  umount "$folder/exec/netns/default" 2>/dev/null || true
}

# Sets `daemon`. Two minutes are enough for a slow disk.
start_engine() {
  dockerd -H "$DOCKER_HOST" --data-root "$folder/data" --exec-root "$folder/exec" --pidfile "$folder/dockerd.pid" \
    --storage-driver=overlay2 --iptables=false --ip6tables=false --bip=172.31.250.1/24 --mtu=1400 \
    >"$folder/dockerd.log" 2>&1 &
  daemon=$!
  trap stop_engine EXIT
  for _ in $(seq 240); do
    if docker info >/dev/null 2>&1; then return; fi
    kill -0 "$daemon" 2>/dev/null || break
    sleep 0.5
  done
  give_up "$folder/dockerd.log"
}

make_cuda_base() {
  local toolkit context=$folder/cuda-context
  toolkit=$(readlink -f /usr/local/cuda)
  mkdir -p "$context"
  cat >"$context/Dockerfile" <<EOF
FROM $base
ADD cuda.tar /usr/local/
ENV PATH=/usr/local/cuda/bin:\$PATH LD_LIBRARY_PATH=/usr/local/cuda/lib64
EOF
  tar -C "$(dirname "$toolkit")" --transform "s,^$(basename "$toolkit"),cuda," \
    --exclude='*cudnn*' --exclude='*cusolver*' --exclude='*cusparse*' --exclude='*cufft*' --exclude='*nccl*' \
    -cf "$context/cuda.tar" "$(basename "$toolkit")"
  docker build -q --network=host -t "$cuda_base" "$context" >/dev/null
  rm -f "$context/cuda.tar"
}

cuda=false
case ${1:-} in
  -h | --help)
    usage
    exit 0
    ;;
  --cuda)
    cuda=true
    shift
    ;;
esac
[[ $# -gt 0 ]] || { usage >&2; exit 2; }
[[ $EUID -eq 0 ]] || { echo "with_engine.sh: run it as root" >&2; exit 2; }

folder=${DOCKER_ENGINE_DIR:-/tmp/docker-engine}
mkdir -p "$folder/exec" "$folder/data" "$folder/bin"
install_packages
ln -sf /usr/bin/docker "$folder/bin/docker"  # Debian's client, whose BuildKit is inside the daemon
export PATH="$folder/bin:$PATH" DOCKER_HOST="unix://$folder/docker.sock" DOCKER_BUILDKIT=1

make_base
start_engine
docker image inspect "$base" >/dev/null 2>&1 ||
  docker import --change 'CMD ["bash"]' "$folder/base.tar" "$base" >/dev/null
if $cuda && ! docker image inspect "$cuda_base" >/dev/null 2>&1; then make_cuda_base; fi
"$@"
