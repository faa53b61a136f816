#!/usr/bin/env bash
# For the images' last stage: the packages that the programs run on, without a trace of having installed them.
set -euo pipefail
cd "$(dirname "$0")"

./install_dependencies.sh runtime
ldconfig
rm -rf /var/lib/apt/lists/* /var/cache/apt /var/cache/debconf /var/cache/ldconfig /var/log/apt /var/log/dpkg.log
mkdir /models
