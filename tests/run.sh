#!/usr/bin/env bash
# The one test command: installs and builds what is missing, runs every test, and ends with `N passed, N failed, N skipped`.
#   tests/run.sh [--sanitizers] [LABEL...]     labels: unit parity e2e chaos fuzz deploy house; all of them by default
# With CI=true a skipped test is a failure. Exit code 0 only when nothing failed.
set -euo pipefail
cd "$(dirname "$0")/.."
. deploy/lib.sh

sanitizers=
labels=()
for word in "$@"; do
  case $word in
    --sanitizers) sanitizers=1 ;;  # docs/adr/0004-sanitizers.md
    unit | parity | e2e | chaos | fuzz | deploy | house) labels+=("$word") ;;
    *) sed -n '3p' "$0" | sed 's/^# */usage: /' >&2; exit 2 ;;
  esac
done
[ ${#labels[@]} -gt 0 ] || labels=(house unit fuzz deploy parity e2e chaos)

install_packages tests/packages.txt
command -v npx >/dev/null || install_packages tests/packages-node.txt
TENON_BUILD_ALL=1 deploy/install.sh
venv=build/venv
mapfile -t pins < <(sed -e 's/#.*//' -e '/^[[:space:]]*$/d' tests/requirements.txt)
if ! has_pins "$venv" "${pins[@]}"; then
  say "Fetching the tests' Python packages"
  pip_install "$venv" -r tests/requirements.txt
fi

# AdapterHub's library pins another transformers: it gets an environment of its own, with the torch of the first.
peer=build/venv-adapters
mapfile -t peer_pins < <(sed -e 's/#.*//' -e '/^[[:space:]]*$/d' tests/requirements-adapters.txt)
if ! has_pins "$peer" "${peer_pins[@]}"; then
  say "Fetching the adapters library for comparison"
  python3 -m venv $peer
  pip_install "$peer" -r tests/requirements-adapters.txt
  "$venv"/bin/python -c 'import sysconfig; print(sysconfig.get_paths()["purelib"])' \
    >"$("$peer"/bin/python -c 'import sysconfig; print(sysconfig.get_paths()["purelib"])')/torch.pth"
fi

# Threads that wait for others sleep: tests that run side by side would spin each other out of the cores.
export OMP_WAIT_POLICY=passive
export TENON_BUILD_BIN="$PWD/build/release/bin"
export TENON_SHARED="${TENON_SHARED:-$PWD/../shared}"
results=build/test-results
rm -rf $results
mkdir -p $results

# run_label BUILD LABEL JOBS: ctest goes on after a failure; the tally at the end counts.
run_label() {
  say "Tests: $2 ($(basename "$1"))"
  ctest --test-dir "$1" -L "^$2\$" -j "$3" --output-on-failure --no-tests=ignore --test-output-size-passed 10000000 \
    --test-output-size-failed 10000000 --output-junit "$PWD/$results/$(basename "$1")-$2.xml" </dev/null || true
  # A label whose tests are gone, or a ctest that fell over, must not look like success.
  grep -qs '<testcase' "$results/$(basename "$1")-$2.xml" || fail "no test of the label $2 was run in $1"
}
for label in "${labels[@]}"; do
  case $label in
    unit | fuzz | house | parity | e2e) run_label build/release "$label" "$(nproc)" ;;
    # Killed processes and leases that run out: one at a time.
    *) run_label build/release "$label" 1 ;;
  esac
done

if [ -n "$sanitizers" ]; then
  say "Building with the preset asan: all that is not torch"
  cmake --preset asan >build/configure-asan.log 2>&1 || { cat build/configure-asan.log >&2; fail "CMake failed"; }
  cmake --build --preset asan -j "$(nproc)"
  run_label build/asan unit "$(nproc)"
  run_label build/asan fuzz "$(nproc)"
fi

exec "$venv"/bin/python tests/tally.py $results
