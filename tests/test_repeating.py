"""The arguments.json of a run is a file of flags that repeats it, whatever flags the command would refuse."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from forgetting import forget_accelerator

import inference
import retrieve
import train_dpr
import train_mrc
import train_mrc_v2
import train_reranker

_TRAIN = "--dataset_path DATA --precision fp32 --max_seq_len 128 --stride_len 16 --cache_dir CACHE"
_READER = f"{_TRAIN} --model ENCODER --per_device_train_batch_size 4"
_READ = "--dataset_path DATA --index_dir INDEX --model READER --max_seq_len 128 --stride_len 16"
_KWARGS = '--lr_scheduler_type cosine_with_restarts --lr_scheduler_kwargs {"num_cycles":2}'
RUNS = {
    "loop": (train_mrc.main, f"{_READER} --max_steps 2"),
    "loop with all its parts": (
        train_mrc.main,
        f"{_READER} --max_steps 2 --do_eval --max_ans_len 5 --head cnn_sds --head_repeats 2 "
        "--augment negative_passage,mask_word --negative_passages_path TABLE --freeze_pretrained_weight first",
    ),
    "Trainer": (train_mrc_v2.main, f"{_READER} --max_steps 2 --do_train"),
    "Trainer with all its parts": (
        train_mrc_v2.main,
        f"{_READER} --num_train_epochs 1 --do_train --do_eval --freeze_type backbone --hub_token abc {_KWARGS}",
    ),
    "dense": (
        train_dpr.main,
        "--dpr_model ENCODER --dataset_path DATA --index_dir INDEX --max_steps 2 --precision fp32 --analyzer bigram "
        "--question_max_len 32 --passage_max_len 64",
    ),
    "reranker": (
        train_reranker.main,
        "--reranker_model ENCODER --dataset_path DATA --index_dir INDEX --max_steps 2 --precision fp32 --do_eval "
        "--reranker_max_len 96 --analyzer bigram --per_device_train_batch_size 2",
    ),
    "answers": (inference.main, f"{_READ} --do_eval --analyzer bigram --top_k 3"),
    "answers of a hybrid": (
        inference.main,
        f"{_READ} --do_predict --retriever_type HybridRetrieval --tfidf_features char --analyzer bigram "
        "--hybrid_retrievers SparseRetrieval_BM25P SparseRetrieval_TFIDF",
    ),
    "comparison": (
        retrieve.main,
        "--dataset_path DATA --index_dir INDEX --top_k 3 "
        "--retriever_type SparseRetrieval_BM25P,analyzer=bigram SparseRetrieval_TFIDF,analyzer=whitespace",
    ),
}


@pytest.mark.parametrize("name", RUNS)
def test_the_arguments_of_a_run_repeat_it(
    name: str, encoder_path: str, reader_path: str, dataset_path: str, passages_path: str, tmp_path: Path
) -> None:
    command: Callable[[list[str]], object]
    command, words = RUNS[name]
    places = {"ENCODER": encoder_path, "READER": reader_path, "DATA": dataset_path, "TABLE": passages_path}
    for place, path in (places | {"CACHE": tmp_path / "cache", "INDEX": tmp_path / "index"}).items():
        words = words.replace(f" {place}", f" {path}")
    folder = "--retriever_dir" if name == "dense" else "--output_dir"
    command([*words.split(), folder, str(tmp_path / "first")])
    forget_accelerator()
    record = tmp_path / "first" / "arguments.json"
    command(["--config", str(record), folder, str(tmp_path / "second")])
    first, second = (json.loads((tmp_path / run / "arguments.json").read_text()) for run in ("first", "second"))
    assert second == first | {folder.removeprefix("--"): str(tmp_path / "second")}
