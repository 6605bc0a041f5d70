#!/usr/bin/env bash
# take_torch.sh VENV OUT: copies torch's shared libraries out of a Python environment, and with them those of the wheels
# that a CUDA build of torch brings. The folders stay as they are: the libraries look for each other by relative paths.
set -euo pipefail
out=$2
mkdir -p "$out"
cd "$1"/lib/python3*/site-packages
folders=(torch/lib)
if [ -d nvidia ]; then folders+=(nvidia); fi
find "${folders[@]}" -name '*.so*' \( -type f -o -type l \) -print0 | xargs -0 cp -a --parents -t "$out"
