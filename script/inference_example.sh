#!/usr/bin/env bash
# Answer the test questions of the competition data; flags given here come last and win:
#
#     bash script/inference_example.sh
#     bash script/inference_example.sh --model saved/quickstart/best --dataset_path data/mini_wiki
set -euo pipefail
export HF_HUB_OFFLINE="${HF_HUB_OFFLINE:-0}"
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"

run python inference.py \
  --do_predict \
  --model saved/mrc_example/best \
  --dataset_path ../data \
  --output_dir outputs/inference_example \
  --retriever_type SparseRetrieval_BM25P \
  --top_k_retrieval 20 \
  --max_seq_len 384 \
  --stride_len 128 \
  "$@"
