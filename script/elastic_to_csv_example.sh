#!/usr/bin/env bash
# Search an Elasticsearch server once, and read the passages where there is none; flags given here go to the search:
#
#     bash script/elastic_to_csv_example.sh
#     URL=https://search.example:9200 INDEX=team-corpus DATA=data/mini_wiki bash script/elastic_to_csv_example.sh
#
# The server needs nori (bin/elasticsearch-plugin install analysis-nori); credentials come from ELASTIC_API_KEY, or
# ELASTIC_USER and ELASTIC_PASSWORD. The table, OUTPUT/retrieved_passages.csv, is all that the second half needs of it.
set -euo pipefail
export HF_HUB_OFFLINE="${HF_HUB_OFFLINE:-0}"
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"

run python retrieve.py \
  --retriever_type ElasticRetrieval \
  --elastic_url "${URL:-http://localhost:9200}" \
  --elastic_index "${INDEX:-odqa-corpus}" \
  --dataset_path "${DATA:-../data}" \
  --split test \
  --top_k 50 \
  --write csv \
  --output_dir "${OUTPUT:-outputs/elastic}" \
  "$@"

# on any machine: as many of the passages as wanted, up to those in the table
run python inference.py \
  --do_predict \
  --model "${MODEL:-saved/mrc_example/best}" \
  --dataset_path "${DATA:-../data}" \
  --retriever_type get_retrieved_df \
  --retrieved_df_path "${OUTPUT:-outputs/elastic}/retrieved_passages.csv" \
  --top_k_retrieval 20 \
  --output_dir "${OUTPUT:-outputs/elastic}/answers"
