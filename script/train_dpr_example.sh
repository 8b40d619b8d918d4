#!/usr/bin/env bash
# Train a dense retriever on the embedded sample, on a CPU and without a model hub, and answer with it if
# script/quickstart.sh has trained a reader; flags given here go to train_dpr.py, come last and win:
#
#     bash script/train_dpr_example.sh
#     bash script/train_dpr_example.sh --hard_negatives 2 --dpr_epochs 5
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"

encoder=saved/e5-small-ko
reader=saved/quickstart/best
retriever=saved/dpr_example

run python script/build_offline_encoder.py --out "$encoder" --prune_vocab

run python train_dpr.py \
  --dpr_model "$encoder" \
  --dataset_path data/mini_wiki \
  --retriever_dir "$retriever" \
  --temperature 0.02 \
  --hard_negatives 1 \
  --dpr_train_batch 32 \
  --chunk_size 8 \
  --dpr_epochs 2 \
  --dpr_learning_rate 2e-5 \
  --warmup_ratio 0.1 \
  --dpr_dropout 0 \
  --dpr_freeze_embeddings true \
  --dpr_eval_steps 15 \
  --resume_from_checkpoint true \
  "$@"

# how often the passage is found, before and after
run python retrieve.py \
  --retriever_type "DenseRetrieval,retriever_dir=$encoder" "DenseRetrieval,retriever_dir=$retriever" \
  --dataset_path data/mini_wiki \
  --output_dir outputs/dpr_example/retrieval

if [ -d "$reader" ]; then
  run python inference.py \
    --do_predict \
    --model "$reader" \
    --dataset_path data/mini_wiki \
    --output_dir outputs/dpr_example \
    --retriever_type DenseRetrieval \
    --retriever_dir "$retriever" \
    --top_k_retrieval 10
else
  echo "no reader in $reader to answer with: bash script/quickstart.sh trains one"
fi
