#!/usr/bin/env bash
# Check the style and the types of the code, then run the tests, a process on each core. With arguments, which go to
# pytest, only the tests run, in one process:
#
#     bash script/test.sh
#     bash script/test.sh tests/reading -k features
#     bash script/test.sh --device cuda          # on a GPU, with the tests of what only exists there
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"

if [ $# -eq 0 ]; then
  run python -m ruff check
  run python -m ruff format --check
  run python -m mypy
  # in the order of the files: the one that takes longest is among the first
  set -- --numprocesses auto --maxprocesses 8 --dist loadfile --no-loadscope-reorder
fi
run python -m pytest -q "$@"
