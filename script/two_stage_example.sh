#!/usr/bin/env bash
# Train a reader in two stages, a large data set first and the task's own second; flags given here go to both:
#
#     bash script/two_stage_example.sh
#     MODEL=saved/e5-small-ko FIRST=../korquad SECOND=data/mini_wiki bash script/two_stage_example.sh
#
# MODEL is the encoder, FIRST and SECOND the data of the stages, OUTPUT the folder for both runs.
set -euo pipefail
export HF_HUB_OFFLINE="${HF_HUB_OFFLINE:-0}" # klue/bert-base and KorQuAD come from the hub
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"

run python train_mrc.py \
  --model "${MODEL:-klue/bert-base}" \
  --dataset_path "${FIRST:-squad_kor_v1}" \
  --output_dir "${OUTPUT:-saved/two_stage}/first" \
  --num_train_epochs 2 \
  --learning_rate 3e-5 \
  --do_eval \
  --eval_strategy epoch \
  --save_total_limit 1 \
  "$@"

# the second begins with the reader, its head included, that the first ended with
run python train_mrc.py \
  --model "${OUTPUT:-saved/two_stage}/first/best" \
  --dataset_path "${SECOND:-../data}" \
  --output_dir "${OUTPUT:-saved/two_stage}/second" \
  --num_train_epochs 3 \
  --learning_rate 2e-5 \
  --do_eval \
  --eval_strategy epoch \
  --save_total_limit 3 \
  "$@"
