#!/usr/bin/env bash
# Train a reader on the competition data; flags given here come last and win:
#
#     bash script/train_mrc_example.sh
#     bash script/train_mrc_example.sh --model saved/e5-small-ko --dataset_path data/mini_wiki
set -euo pipefail
export HF_HUB_OFFLINE="${HF_HUB_OFFLINE:-0}" # klue/bert-base comes from the hub
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"

run python train_mrc.py \
  --model klue/bert-base \
  --dataset_path ../data \
  --output_dir saved/mrc_example \
  --num_train_epochs 3 \
  --learning_rate 3e-5 \
  --per_device_train_batch_size 16 \
  --max_seq_len 384 \
  --stride_len 128 \
  --warmup_ratio 0.1 \
  --do_eval \
  --eval_strategy epoch \
  --save_total_limit 2 \
  "$@"
