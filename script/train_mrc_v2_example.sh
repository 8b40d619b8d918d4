#!/usr/bin/env bash
# Train a reader on the competition data with the Hugging Face Trainer; flags given here come last and win:
#
#     bash script/train_mrc_v2_example.sh
#     bash script/train_mrc_v2_example.sh --model saved/e5-small-ko --dataset_path data/mini_wiki
#
# It reports to wandb: online when logged in, else offline.
set -euo pipefail
export HF_HUB_OFFLINE="${HF_HUB_OFFLINE:-0}" # klue/roberta-large comes from the hub
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"

freeze=roberta
case " $* " in *" --model "*) freeze=backbone ;; esac # the weights of another model have other names

run python train_mrc_v2.py \
  --do_train \
  --do_eval \
  --output_dir ./saved \
  --logging_dir ./logs \
  --seed 42 \
  --model klue/roberta-large \
  --num_train_epochs 7 \
  --learning_rate 3.4e-5 \
  --weight_decay 0.015 \
  --max_seq_len 512 \
  --max_ans_len 30 \
  --evaluation_strategy steps \
  --eval_steps 100 \
  --logging_steps 100 \
  --save_steps 200 \
  --save_total_limit 5 \
  --freeze_type "$freeze" \
  --freeze_epoch 1.0 \
  --label_smoothing_factor 0.02 \
  --wandb_project exp_trainer \
  --wandb_entity "${WANDB_ENTITY:-odqa}" \
  --run_name mrc_v2_example \
  --description "the backbone frozen for the first epoch" \
  "$@"
