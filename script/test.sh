#!/usr/bin/env bash
# Run the tests on the CPU; further arguments go to pytest: bash script/test.sh tests/mrc -k loading
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"

export CUDA_VISIBLE_DEVICES=""
run python -m pytest -q "$@"
