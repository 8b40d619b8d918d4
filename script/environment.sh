# Sourced by the other scripts: goes to the root of the checkout, makes .venv there, installs the requirements once, in
# the versions of constraints.txt, and puts .venv first on PATH. When one of these files changes they are installed again,
# and so is what was interrupted. script/update_constraints.py moves to the versions of today. A script that needs no extra
# sets requirements=requirements.txt before.

# Print a command as it can be typed, then execute it.
run() {
  printf '$'
  printf ' %q' "$@"
  printf '\n'
  "$@"
}

environment_fingerprint() {
  cat requirements.txt requirements-dev.txt constraints.txt | cksum
  .venv/bin/python --version 2>&1 || true
}

prepare_environment() {
  local wanted=${requirements:-requirements-dev.txt} stamp downloads="$PWD/.venv/downloads"
  for stamp in ".venv/$wanted.stamp" .venv/requirements-dev.txt.stamp; do # the second holds all of the first
    if [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$(environment_fingerprint)" ]; then
      return
    fi
  done
  rm -f .venv/*.stamp
  if ! .venv/bin/python -m pip --version >/dev/null 2>&1; then
    "${PYTHON:-python3}" -c 'import sys; sys.exit(sys.version_info < (3, 10) and "error: Python 3.10 or newer is needed: PYTHON=python3.11 bash ...")'
    run "${PYTHON:-python3}" -m venv --clear .venv
  fi
  echo "installing the requirements into .venv (some minutes, once)"
  # Downloads are kept until everything is installed: an interrupted install does not fetch them again.
  PIP_CACHE_DIR="${PIP_CACHE_DIR:-$downloads}" PIP_DISABLE_PIP_VERSION_CHECK=1 \
    run .venv/bin/python -m pip install --quiet --requirement "$wanted" --constraint constraints.txt
  rm -rf "$downloads"
  environment_fingerprint >".venv/$wanted.stamp"
}

CDPATH='' cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.."
prepare_environment
export PATH="$PWD/.venv/bin:$PATH"
# What is on this machine is enough; 0 lets the hub be asked.
export HF_HUB_OFFLINE="${HF_HUB_OFFLINE:-1}"
# Said outright, so that the library neither guesses nor warns when a process forks.
export TOKENIZERS_PARALLELISM="${TOKENIZERS_PARALLELISM:-true}"
