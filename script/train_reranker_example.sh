#!/usr/bin/env bash
# Train a reranker and measure what it adds to BM25+; flags given here go to the training and come last and win:
#
#     bash script/train_reranker_example.sh
#     MODEL=saved/e5-small-ko DATA=data/mini_wiki bash script/train_reranker_example.sh --num_train_epochs 1
#
# MODEL is the encoder to start from, DATA the data set with its corpus, OUTPUT the folder for the run.
set -euo pipefail
export HF_HUB_OFFLINE="${HF_HUB_OFFLINE:-0}" # klue/bert-base comes from the hub
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"

# Without dropout the fused attention trains on the CPU too, and without the word embeddings a step is far shorter.
run python train_reranker.py \
  --reranker_model "${MODEL:-klue/bert-base}" \
  --dataset_path "${DATA:-../data}" \
  --output_dir "${OUTPUT:-saved/reranker_example}" \
  --hard_negatives 4 \
  --per_device_train_batch_size 8 \
  --num_train_epochs 2 \
  --learning_rate 3e-5 \
  --warmup_ratio 0.1 \
  --reranker_max_len 320 \
  --reranker_dropout 0 \
  --reranker_freeze_embeddings true \
  --do_eval \
  --max_eval_samples 200 \
  --eval_steps 100 \
  "$@"

run python retrieve.py \
  --retriever_type SparseRetrieval_BM25P SparseRetrieval_BM25P,reranker="${OUTPUT:-saved/reranker_example}/best" \
  --dataset_path "${DATA:-../data}" \
  --output_dir "${OUTPUT:-saved/reranker_example}/retrieval"
