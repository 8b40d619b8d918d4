#!/usr/bin/env bash
# Measure retrievers side by side on the sample: sparse with three analysers, dense with the offline encoder as it is,
# and a hybrid whose weights are tuned. Flags given here come last and win:
#
#     bash script/retrieve_example.sh
#     bash script/retrieve_example.sh --dataset_path ../korquad --context_path corpus.jsonl
#
# ENCODER is the encoder of the dense retriever; the offline one is built first if it is not there.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"

encoder="${ENCODER:-saved/e5-small-ko}"
if [ ! -e "$encoder" ]; then
  run python script/build_offline_encoder.py --out "$encoder" --prune_vocab
fi

run python retrieve.py \
  --dataset_path data/mini_wiki \
  --retriever_type \
  SparseRetrieval_TFIDF \
  SparseRetrieval_BM25P \
  SparseRetrieval_BM25P,analyzer=bigram \
  "SparseRetrieval_BM25P,analyzer=wordpiece,analyzer_model=$encoder" \
  DenseRetrieval \
  HybridRetrieval \
  --retriever_dir "$encoder" \
  --hybrid_retrievers SparseRetrieval_BM25P DenseRetrieval \
  --tune_fusion \
  --top_k 100 \
  --write csv trec \
  --output_dir outputs/retrieve_example \
  "$@"
