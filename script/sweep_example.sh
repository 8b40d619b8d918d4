#!/usr/bin/env bash
# Compare learning rates and heads on the competition data, two seeds each; flags given here come last and win:
#
#     bash script/sweep_example.sh
#     bash script/sweep_example.sh --seeds 42 --output_dir saved/sweep_once
#
# What is varied, and what all trials have in common, is in script/sweep_example.yaml. The same call again goes on.
set -euo pipefail
export HF_HUB_OFFLINE="${HF_HUB_OFFLINE:-0}" # klue/bert-base comes from the hub
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"

run python -m tools.sweep --config script/sweep_example.yaml "$@"
