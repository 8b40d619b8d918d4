"""Encoders in int8: near what torch computes, made once, made again for other weights, refused where it cannot be."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sentence_transformers import SparseEncoder as TheirSparseEncoder
from sentence_transformers.base.modules import Router, Transformer
from sentence_transformers.sparse_encoder.modules import SparseStaticEmbedding, SpladePooling
from tiny_data import PASSAGES, QUESTIONS
from tiny_models import tiny_bert, tiny_bert_config
from transformers import BertForMaskedLM, PreTrainedTokenizerFast

from models import load_reader, load_tokenizer, save_reader
from models import quantized as module
from models.arguments import EncoderArguments
from models.cross_encoder import Pair, load_cross_encoder
from models.encoder import hash_model, load_bi_encoder
from models.inputs import ModelInputs
from models.quantized import quantize_modules, quantized, quantized_pair
from models.sparse_encoder import load_sparse_encoder
from models.token_encoder import (
    hash_token_encoder,
    load_token_encoder,
    load_token_encoder_to_train,
    save_token_encoder,
)
from runtime.errors import UserError

QUESTION_TEXTS = [question for _, question, _ in QUESTIONS]
PASSAGE_TEXTS = [PASSAGES[passage][1] for passage, _, _ in QUESTIONS]


@pytest.fixture(autouse=True)
def quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    """Need both packages, and quantise to the ranges of a few pairs."""
    pytest.importorskip("openvino")
    pytest.importorskip("nncf")
    monkeypatch.setattr(module, "_MEASURED", 4)


@torch.no_grad()
def logits_of(model: Any, inputs: ModelInputs) -> np.ndarray:
    """Return start and end logits of pairs of several lengths in one batch, without those of padding."""
    batch = inputs.pad(inputs.tokenize(QUESTION_TEXTS, PASSAGE_TEXTS, truncation=True, max_length=128), multiple=32)
    output = model(**batch)
    return torch.stack([output.start_logits, output.end_logits])[:, batch["attention_mask"].bool()].numpy()


def test_a_reader_reads_nearly_as_in_torch_and_is_quantised_once(
    encoder_path: str, tmp_path: Path, log_lines: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, copy = tmp_path / "reader", tmp_path / "copy"
    torch.manual_seed(0)
    save_reader(folder, load_reader(encoder_path, "lstm"), load_tokenizer(encoder_path))
    reader = load_reader(str(folder), trained=True)
    inputs = ModelInputs(reader, load_tokenizer(encoder_path))
    expected = logits_of(reader, inputs)
    first = logits_of(quantized(reader, inputs, "fp32"), inputs)
    assert np.corrcoef(first.ravel(), expected.ravel())[0, 1] > 0.99
    assert np.abs(first - expected).max() > 0  # it is no longer torch that computes
    assert sum("the encoder is quantised" in line for line in log_lines) == 1

    with monkeypatch.context() as patch:
        patch.setattr(module, "_quantize", None)
        again = load_reader(str(folder.rename(copy)), trained=True)
        np.testing.assert_array_equal(logits_of(quantized(again, inputs, "fp32"), inputs), first)

    # another process was at it, and is waited for
    kept = (copy / "openvino").rename(tmp_path / "kept")

    @contextmanager
    def turn_of_another(lock: Path) -> Iterator[None]:
        assert lock == copy / ".openvino.lock"
        shutil.copytree(kept, copy / "openvino")
        yield

    with monkeypatch.context() as patch:
        patch.setattr(module, "turn_at", turn_of_another)
        patch.setattr(module, "_quantize", None)
        again = load_reader(str(copy), trained=True)
        np.testing.assert_array_equal(logits_of(quantized(again, inputs, "fp32"), inputs), first)

    # what is not near torch is refused, and nothing half-made is left
    shutil.rmtree(copy / "openvino")
    monkeypatch.setattr(module, "_quantize", lambda openvino, *_: openvino.Core().read_model(kept / "encoder.xml"))
    monkeypatch.setattr(module, "_cosine", lambda *_: float("nan"))
    with pytest.raises(UserError, match=r"in int8 its states are others \(cosine nan.*: leave out --backend"):
        quantized(load_reader(str(copy), trained=True), inputs, "fp32")
    assert not [*copy.glob("*openvino*")]


def test_other_weights_and_damaged_files_are_quantised_again(
    encoder_path: str, bert_tokenizer: Any, tmp_path: Path, log_lines: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = shutil.copytree(encoder_path, tmp_path / "encoder")

    def vectors() -> np.ndarray:
        bi_encoder = load_bi_encoder(folder, EncoderArguments(passage_max_len=64), shared=True)
        bi_encoder = quantized_pair(bi_encoder, "fp32")
        assert bi_encoder.p_encoder is bi_encoder.q_encoder
        with torch.no_grad():
            return bi_encoder.embed_questions(bi_encoder.pad(bi_encoder.tokenize_questions(QUESTION_TEXTS))).numpy()

    first = vectors()
    other = tiny_bert(bert_tokenizer)
    torch.nn.init.normal_(other.encoder.layer[0].output.dense.weight)
    other.save_pretrained(folder)
    assert np.abs(vectors() - first).max() > 0.1
    assert any("made of other weights" in line for line in log_lines)

    kept = folder / "openvino" / "encoder.bin"
    kept.write_bytes(b"0" + kept.read_bytes()[1:])
    monkeypatch.setattr(module, "_quantize", lambda *_: pytest.fail("quantised again"))
    with pytest.raises(pytest.fail.Exception, match="quantised again"):
        vectors()
    assert any("encoder.bin is not as it was written" in line for line in log_lines)


def test_a_reranker_scores_nearly_as_in_torch(reranker_path: str, tmp_path: Path) -> None:
    folder = str(shutil.copytree(reranker_path, tmp_path / "reranker"))
    pairs = [Pair(question, "", text) for question, text in zip(QUESTION_TEXTS, PASSAGE_TEXTS, strict=True)]
    expected = load_cross_encoder(folder).score(pairs, precision="fp32")
    scores = load_cross_encoder(folder, "openvino").score(pairs)
    assert np.corrcoef(scores, expected)[0, 1] > 0.9 and np.abs(scores - expected).max() > 0


def test_what_cannot_be_quantised_is_refused_in_a_sentence(
    reader_path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = shutil.copytree(reader_path, tmp_path / "reader")
    reader = load_reader(str(folder))
    inputs = ModelInputs(reader, load_tokenizer(reader_path))

    def refusal() -> str:
        with pytest.raises(UserError) as raised:
            quantized(reader, inputs, "fp32")
        assert "\n" not in str(raised.value)
        return str(raised.value)

    def broken(*_: Any) -> None:
        raise RuntimeError("no such operation\nand its trace")

    with monkeypatch.context() as patch:
        patch.setattr(module, "default_device", lambda: torch.device("cuda"))
        assert "has a faster GPU: leave out --backend, or hide the GPU with CUDA_VISIBLE_DEVICES=" in refusal()
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "nncf", None)
        assert "--backend openvino needs nncf" in refusal() and "pip install openvino nncf" in refusal()
    with monkeypatch.context() as patch:
        patch.setattr(module, "_quantize", broken)
        assert refusal().endswith(f"{folder}, a bert, in int8 (no such operation): leave out --backend")
    with monkeypatch.context() as patch:
        patch.setattr(inputs, "names", [*inputs.names, "global_attention_mask"])
        assert "its attention depends on the length of the text" in refusal()
    assert not (folder / "openvino").exists()  # nothing half-made
    reader.name_or_path = "owner/reader"
    assert "hf download owner/reader --local-dir saved/reader" in refusal()


def test_token_vectors_and_sparse_weights_are_near_those_of_torch(
    encoder_path: str, bert_tokenizer: PreTrainedTokenizerFast, tmp_path: Path, log_lines: list[str]
) -> None:
    tokens, sparse = tmp_path / "tokens", tmp_path / "sparse"
    torch.manual_seed(0)
    save_token_encoder(load_token_encoder_to_train(encoder_path, EncoderArguments(passage_max_len=64), 8, None), tokens)
    lm = BertForMaskedLM(tiny_bert_config(bert_tokenizer))
    lm.save_pretrained(tmp_path / "lm")
    bert_tokenizer.save_pretrained(tmp_path / "lm")
    table = SparseStaticEmbedding(bert_tokenizer, torch.linspace(0, 2, len(bert_tokenizer)))
    route = [Transformer(str(tmp_path / "lm"), transformer_task="fill-mask"), SpladePooling("max")]
    routed = TheirSparseEncoder(modules=[Router.for_query_document([table], route)], device="cpu")
    routed.save_pretrained(str(sparse), create_model_card=False)

    pairs = [("", text) for text in PASSAGE_TEXTS]
    identity = hash_token_encoder(tokens), hash_model(str(sparse), modules=True)
    for load, texts in (
        (lambda: load_token_encoder(tokens), lambda model: np.concatenate(model.encode_passages(pairs, 2, "fp32"))),
        (
            lambda: load_token_encoder(tokens),
            lambda model: np.concatenate(model.encode_questions(QUESTION_TEXTS, 2, "fp32")),
        ),
        (
            lambda: load_sparse_encoder(str(sparse), 64, 64, torch.device("cpu")),
            lambda model: model.encode_passages(pairs, 2, "fp32").toarray(),
        ),
    ):
        model, int8 = load(), load()
        quantize_modules(int8.model, "fp32")
        expected, vectors = texts(model), texts(int8)
        assert np.corrcoef(vectors.ravel(), expected.ravel())[0, 1] > 0.99 and np.abs(vectors - expected).max() > 0
    assert sum("the encoder is quantised" in line for line in log_lines) == 2
    assert (hash_token_encoder(tokens), hash_model(str(sparse), modules=True)) == identity  # int8 is made of it
    named = sparse.rename(tmp_path / "openvino")  # a folder that happens to have that name
    assert hash_model(str(named), modules=True) == identity[1] != hash_model(str(named / "openvino"), modules=True)
