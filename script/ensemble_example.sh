#!/usr/bin/env bash
# Let three readers vote: choose weights on the validation questions, then vote on the test questions; flags given here
# go to both votes:
#
#     bash script/ensemble_example.sh
#     DEV="outputs/x_dev outputs/y_dev outputs/z_dev" WEIGHTS="2 1 1" bash script/ensemble_example.sh --method hard
#
# DEV and TEST are folders that inference.py wrote with --do_eval and with --do_predict, of the same readers in the same
# order. WEIGHTS are what the last line of the first vote names: run the script again with them.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"

run python -m tools.ensemble \
  --members ${DEV:-outputs/a_dev outputs/b_dev outputs/c_dev} \
  --gold "${DATA:-../data}" \
  --tune \
  --output_dir "${OUTPUT:-outputs/voted}_dev" \
  "$@"

run python -m tools.ensemble \
  --members ${TEST:-outputs/a outputs/b outputs/c} \
  --weights ${WEIGHTS:-1 1 1} \
  --output_dir "${OUTPUT:-outputs/voted}" \
  "$@"
