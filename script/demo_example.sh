#!/usr/bin/env bash
# Ask questions on a web page, at the address that is printed; flags given here come last and win:
#
#     bash script/demo_example.sh
#     bash script/demo_example.sh --model saved/quickstart --dataset_path data/mini_wiki --port 0
set -euo pipefail
export HF_HUB_OFFLINE="${HF_HUB_OFFLINE:-0}"
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"

run python -m tools.demo \
  --model saved/mrc_example/best \
  --dataset_path ../data \
  --retriever_type SparseRetrieval_BM25P SparseRetrieval_TFIDF \
  --top_k_retrieval 5 \
  "$@"
