#!/usr/bin/env bash
# Run the tests; further arguments go to pytest:
#
#     bash script/test.sh
#     bash script/test.sh tests/reading -k features
#     bash script/test.sh --device cuda          # on a GPU, with the tests of what only exists there
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"

run python -m pytest -q "$@"
