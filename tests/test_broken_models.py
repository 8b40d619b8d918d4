"""Models that give no numbers are refused by name, by every command that uses them, and nothing is written of them."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

import inference
import retrieve
import train_dpr
import train_mrc
import train_mrc_v2
import train_reranker
from arguments import DatasetArguments, RetrieverArguments
from loading.corpus import Corpus, load_corpus
from models import load_reader, load_tokenizer
from models.average import average_readers
from models.cross_encoder import Pair, load_cross_encoder
from models.encoder import load_bi_encoder, save_bi_encoder
from processor import QAProcessor
from reading.batching import FeatureCollator
from reading.logits import read_features
from retrieval.dense import DenseRetrieval
from retrieval.milvus import MilvusRetrieval
from runtime.errors import UserError

NAN, HUGE = float("nan"), 3e38
HOLDS, GIVES = r"holds weights that are not finite numbers \(1 of \d+, the first: {}\)", "gives {} that are not finite"
READER = {"nan": ("qa_outputs.weight", NAN), "backbone nan": ("bert.encoder.layer.1.output.dense.weight", NAN)}
READER |= {"infinite": ("qa_outputs.weight", HUGE)}


def with_weight(folder: str | Path, copy: Path, name: str, value: float, rows: slice = slice(None)) -> str:
    """Copy a model with ``value`` in (some rows of) one of its weights."""
    shutil.copytree(folder, copy)
    weights = load_file(copy / "model.safetensors")
    weights[name][rows] = value
    save_file(weights, copy / "model.safetensors", metadata={"format": "pt"})
    return str(copy)


@pytest.fixture
def command(dataset_path: str, tmp_path: Path) -> list[str]:
    """What inference.py and retrieve.py need beside their models."""
    words = f"--dataset_path {dataset_path} --output_dir {tmp_path}/out --index_dir {tmp_path}/index"
    return [*words.split(), "--precision", "fp32"]


def assert_refused(main: Callable[[list[str]], Any], words: list[str], told: str) -> None:
    with pytest.raises(UserError, match=told) as error:
        main(words)
    assert "\n" not in str(error.value)


# -------------------------------------------------------------------------------------------------------- the reader


@pytest.mark.parametrize("fault", READER)
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_reader_is_refused_by_inference(
    command: list[str], reader_path: str, tmp_path: Path, fault: str, precision: str
) -> None:
    name, value = READER[fault]
    reader = with_weight(reader_path, tmp_path / "reader", name, value)
    told = HOLDS.format(name) if fault != "infinite" else rf"{GIVES.format('logits')} numbers, \d+ times in \d+ \("
    flags = [
        "--do_predict",
        "--analyzer",
        "bigram",
        "--top_k_retrieval",
        "3",
        "--max_seq_len",
        "128",
        "--stride_len",
        "16",
    ]
    words = [*command, *flags, "--model", reader, "--precision", precision]
    assert_refused(inference.main, words, f"^--model {reader} {told}")
    assert not list((tmp_path / "out").rglob("*predictions.json"))


def test_one_question_without_numbers_is_enough_and_is_named(
    reader_path: str, dataset_path: str, tmp_path: Path
) -> None:
    """A token of one question only, whose row of the embeddings is too large for the layers above."""
    arguments = DatasetArguments(
        dataset_path=dataset_path, max_seq_len=128, stride_len=16, cache_dir=str(tmp_path / "cache")
    )
    tokenizer = load_tokenizer(reader_path)
    qa_processor = QAProcessor(arguments, tokenizer)
    features = qa_processor.get_eval_features()
    own = set(features[2]["input_ids"]).difference(*(features[row]["input_ids"] for row in (0, 1, 3, 4, 5)))
    row = next(iter(own))
    name = "bert.embeddings.word_embeddings.weight"
    reader = with_weight(reader_path, tmp_path / "reader", name, HUGE, slice(row, row + 1))
    model = load_reader(reader, trained=True)
    with pytest.raises(UserError, match=r"numbers, 1 times in 6 \(the first: validation-2\): train or copy the reader"):
        read_features(model, features, FeatureCollator(model, tokenizer), 4, "fp32")


@pytest.mark.parametrize("main", [train_mrc.main, train_mrc_v2.main])
def test_no_training_starts_from_a_broken_reader(
    training_command: list[str], reader_path: str, tmp_path: Path, main: Callable[[list[str]], Any]
) -> None:
    name = "bert.embeddings.LayerNorm.bias"
    reader = with_weight(reader_path, tmp_path / "reader", name, NAN)
    words = [*training_command, "--model", reader, *(["--do_train"] if main is train_mrc_v2.main else [])]
    assert_refused(main, words, f"^--model {reader} {HOLDS.format(name)}")
    assert not list(tmp_path.glob("run/*"))


def test_an_average_holds_only_numbers(reader_path: str, tmp_path: Path) -> None:
    broken = with_weight(reader_path, tmp_path / "broken", "qa_outputs.bias", NAN)
    with pytest.raises(UserError, match=f"{broken} {HOLDS.format('qa_outputs.bias')}"):
        average_readers([reader_path, broken], tmp_path / "average")
    huge = [with_weight(reader_path, tmp_path / str(n), "qa_outputs.bias", HUGE) for n in range(2)]
    with pytest.raises(UserError, match=f"the average {HOLDS.format('qa_outputs.bias')}"):
        average_readers(huge, tmp_path / "average")
    assert not (tmp_path / "average").exists()


# ----------------------------------------------------------------------------------------------------- the retriever


@pytest.fixture
def corpus(dataset_path: str) -> Corpus:
    return load_corpus(f"{dataset_path}/wikipedia_documents.json")


LAYER = "encoder.layer.1.output.LayerNorm.weight"


@pytest.mark.parametrize("retriever_class", [DenseRetrieval, MilvusRetrieval])
@pytest.mark.parametrize("value", [NAN, HUGE])
def test_an_encoder_is_refused_where_passages_are_encoded(
    encoder_path: str, corpus: Corpus, tmp_path: Path, retriever_class: Any, value: float
) -> None:
    encoder = with_weight(encoder_path, tmp_path / "encoder", LAYER, value)
    own = {"milvus_uri": str(tmp_path / "milvus.db"), "milvus_vectors": "dense"}
    arguments = RetrieverArguments(retriever_dir=encoder, passage_max_len=64, index_dir=str(tmp_path / "index"), **own)
    told = HOLDS.format(f"q_encoder.{LAYER}")
    if value == HUGE:
        told = r"gives vectors that are not finite numbers \(passages, shard 1 of 1\): copy or train the encoder again"
    with pytest.raises(UserError, match=f"^--retriever_dir {encoder} {told}"):
        retriever_class.from_arguments(arguments, None).build(corpus)
    assert not list((tmp_path / "index").rglob("*.npy"))


@pytest.mark.parametrize("retriever_class", [DenseRetrieval, MilvusRetrieval])
def test_an_encoder_of_questions_is_refused_too(
    encoder_path: str, corpus: Corpus, tmp_path: Path, retriever_class: Any
) -> None:
    bi_encoder = load_bi_encoder(encoder_path, RetrieverArguments(passage_max_len=64))
    with torch.no_grad():
        dict(bi_encoder.q_encoder.named_parameters())[LAYER].fill_(HUGE)
    save_bi_encoder(bi_encoder, tmp_path / "pair")
    own = {"milvus_uri": str(tmp_path / "milvus.db"), "milvus_vectors": "dense"}
    arguments = RetrieverArguments(retriever_dir=str(tmp_path / "pair"), index_dir=str(tmp_path / "index"), **own)
    retriever = retriever_class.from_arguments(arguments, None)
    retriever.build(corpus)
    with pytest.raises(UserError, match=rf"^--retriever_dir {tmp_path}/pair gives vectors that .* \(questions\): copy"):
        retriever.search(["서울의 강", "조선의 왕"], 2)


def test_products_that_are_no_numbers_name_the_encoders(encoder_path: str, corpus: Corpus) -> None:
    retriever = DenseRetrieval(RetrieverArguments(retriever_dir=encoder_path, passage_max_len=64))
    retriever.build(corpus)
    retriever.vectors = [np.where(np.arange(len(corpus))[:, None] == 3, np.float32(HUGE), retriever.vectors[0])]
    with pytest.raises(UserError, match=f"^--retriever_dir {encoder_path} gives question 0 scores that are not finite"):
        retriever.search(["서울의 강"], 2)


def test_the_pooler_that_no_vector_depends_on_may_be_anything(
    encoder_path: str, corpus: Corpus, tmp_path: Path
) -> None:
    shutil.copytree(encoder_path, tmp_path / "encoder")
    path = tmp_path / "encoder" / "model.safetensors"
    pooler = {"pooler.dense.weight": torch.full((32, 32), NAN), "pooler.dense.bias": torch.zeros(32)}
    save_file(load_file(path) | pooler, path, metadata={"format": "pt"})
    retriever = DenseRetrieval(RetrieverArguments(retriever_dir=str(tmp_path / "encoder"), passage_max_len=64))
    retriever.build(corpus)
    assert np.isfinite(retriever.search(["서울의 강"], 2).scores).all()


def test_retrieve_and_train_dpr_refuse_it_by_the_flag_that_names_it(
    command: list[str], encoder_path: str, dataset_path: str, tmp_path: Path
) -> None:
    encoder = with_weight(encoder_path, tmp_path / "encoder", LAYER, NAN)
    words = [*command[:-2], "--retriever_type", "DenseRetrieval", "--retriever_dir", encoder, "--passage_max_len", "64"]
    assert_refused(retrieve.main, words, f"^--retriever_dir {encoder} holds weights that are not finite")
    flags = f"--dataset_path {dataset_path} --retriever_dir {tmp_path}/run --dpr_model {encoder} --analyzer bigram"
    flags += " --passage_max_len 64"
    assert_refused(train_dpr.main, flags.split(), f"^--dpr_model {encoder} holds weights that are not finite")
    assert not list(tmp_path.glob("run/*_encoder"))


# ------------------------------------------------------------------------------------------------------ the reranker


@pytest.mark.parametrize("value", [NAN, HUGE])
def test_a_reranker_is_refused(
    command: list[str], reader_path: str, reranker_path: str, dataset_path: str, tmp_path: Path, value: float
) -> None:
    reranker = with_weight(reranker_path, tmp_path / "reranker", "classifier.weight", value)
    told = HOLDS.format("classifier.weight") if value is NAN else GIVES.format("scores")
    flags = f"--do_predict --analyzer bigram --top_k_retrieval 3 --model {reader_path} --reranker {reranker}"
    words = [*command, *flags.split(), "--max_seq_len", "128", "--stride_len", "16"]
    assert_refused(inference.main, words, f"^--reranker {reranker} {told}")
    if value is not NAN:
        with pytest.raises(UserError, match=f"^--reranker {reranker} {told}"):
            load_cross_encoder(reranker).score([Pair("서울의 강", "서울", "한강이 흐른다.")])
        return
    flags = f"--dataset_path {dataset_path} --output_dir {tmp_path}/run --analyzer bigram --reranker_max_len 128"
    words = [*flags.split(), "--index_dir", f"{tmp_path}/index", "--reranker_model", reranker]
    assert_refused(train_reranker.main, words, f"^--reranker_model {reranker} {told}")
    assert not (tmp_path / "run" / "best").exists()
