#!/usr/bin/env bash
# Answer a question, or ask for questions where none is given; words and flags given here come last and win:
#
#     bash script/ask_example.sh "조선의 제4대 국왕은 누구인가?"
#     bash script/ask_example.sh "첨성대는 돌을 몇 단으로 쌓았는가?" --model saved/quickstart --dataset_path data/mini_wiki
set -euo pipefail
export HF_HUB_OFFLINE="${HF_HUB_OFFLINE:-0}"
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"

run python ask.py \
  --model saved/mrc_example/best \
  --dataset_path ../data \
  --retriever_type SparseRetrieval_BM25P \
  --top_k_retrieval 5 \
  "$@"
