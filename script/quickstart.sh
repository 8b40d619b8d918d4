#!/usr/bin/env bash
# From a fresh checkout to scored answers on the embedded sample, on a CPU and without a model hub:
#
#     bash script/quickstart.sh
#
# What an earlier call completed is reused; remove saved/quickstart to train and answer again.
set -euo pipefail
SECONDS=0
requirements=requirements.txt
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"
timings=("environment=$SECONDS")

# stage NAME PRODUCT BASIS COMMAND...: run the command unless PRODUCT is there and newer than BASIS; note the seconds.
stage() {
  local name=$1 product=$2 basis=$3 start=$SECONDS
  shift 3
  printf '\n== %s\n' "$name"
  if [ "$product" -nt "$basis" ]; then
    echo "$product is there: reused"
    timings+=("$name=reused")
  else
    run "$@"
    timings+=("$name=$((SECONDS - start))")
  fi
}

encoder=saved/e5-small-ko
reader=saved/quickstart/best
answers=outputs/quickstart

printf '\n== encoder\n'
start=$SECONDS
run python script/build_offline_encoder.py --out "$encoder" --prune_vocab
timings+=("encoder=$((SECONDS - start))")

stage training "$reader" "$encoder" \
  python train_mrc.py \
  --model "$encoder" \
  --dataset_path data/mini_wiki \
  --output_dir saved/quickstart \
  --num_train_epochs 2 \
  --learning_rate 3e-4 \
  --per_device_train_batch_size 12 \
  --max_seq_len 384 \
  --backbone_dropout 0 \
  --freeze_embedding_layer_weight True \
  --reinit_layers 1 \
  --do_eval \
  --eval_strategy epoch \
  --seed 42 \
  --resume_from_checkpoint true

stage answering "$answers/metrics.json" "$reader" \
  python inference.py \
  --do_eval \
  --model "$reader" \
  --dataset_path data/mini_wiki/test_answers.json \
  --output_dir "$answers" \
  --top_k_retrieval 10

printf '\n== result: 144 questions about passages that the reader has not seen\n'
run python script/quickstart_table.py "$answers/metrics.json" "${timings[@]}"
