"""Encoders in int8: near what torch computes, made once, made again for other weights, refused where it cannot be."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_data import PASSAGES, QUESTIONS
from tiny_models import tiny_bert

from models import load_reader, load_tokenizer, save_reader
from models import quantized as module
from models.arguments import EncoderArguments
from models.cross_encoder import Pair, load_cross_encoder
from models.encoder import load_bi_encoder
from models.inputs import ModelInputs
from models.quantized import quantized, quantized_pair
from runtime.errors import UserError

QUESTION_TEXTS = [question for _, question, _ in QUESTIONS]
PASSAGE_TEXTS = [PASSAGES[passage][1] for passage, _, _ in QUESTIONS]


@pytest.fixture(autouse=True)
def quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    """Need both packages, and quantise to the ranges of a few pairs."""
    pytest.importorskip("openvino")
    pytest.importorskip("nncf")
    monkeypatch.setattr(module, "_MEASURED", 4)


def reader_in(folder: Path, encoder_path: str, head: str) -> Any:
    """Save a reader with a new head, and return it as loaded from there."""
    torch.manual_seed(0)
    save_reader(folder, load_reader(encoder_path, head), load_tokenizer(encoder_path))
    return load_reader(str(folder), trained=True).eval()


@torch.no_grad()
def logits_of(model: Any, inputs: ModelInputs) -> np.ndarray:
    """Return start and end logits of pairs of several lengths in one batch, without those of padding."""
    batch = inputs.pad(inputs.tokenize(QUESTION_TEXTS, PASSAGE_TEXTS, truncation=True, max_length=128), multiple=32)
    output = model(**batch)
    return torch.stack([output.start_logits, output.end_logits])[:, batch["attention_mask"].bool()].numpy()


@pytest.mark.parametrize("head", ["linear", "lstm"])
def test_a_reader_of_any_head_reads_nearly_as_in_torch_and_is_quantised_once(
    head: str, encoder_path: str, tmp_path: Path, log_lines: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    reader = reader_in(tmp_path / "reader", encoder_path, head)
    inputs = ModelInputs(reader, load_tokenizer(encoder_path))
    expected = logits_of(reader, inputs)
    first = logits_of(quantized(reader, inputs, "fp32"), inputs)
    assert np.corrcoef(first.ravel(), expected.ravel())[0, 1] > 0.99
    assert np.abs(first - expected).max() > 0  # it is no longer torch that computes
    assert sum("the encoder is quantised" in line for line in log_lines) == 1

    monkeypatch.setattr(module, "_quantize", None)
    again = load_reader(str(tmp_path / "reader"), trained=True).eval()
    np.testing.assert_array_equal(logits_of(quantized(again, inputs, "fp32"), inputs), first)


def test_other_weights_and_damaged_files_are_quantised_again(
    encoder_path: str, bert_tokenizer: Any, tmp_path: Path, log_lines: list[str]
) -> None:
    folder = shutil.copytree(encoder_path, tmp_path / "encoder")

    def vectors() -> np.ndarray:
        bi_encoder = quantized_pair(load_bi_encoder(folder, EncoderArguments(passage_max_len=64), shared=True), "fp32")
        assert bi_encoder.p_encoder is bi_encoder.q_encoder
        with torch.no_grad():
            return bi_encoder.embed_questions(bi_encoder.pad(bi_encoder.tokenize_questions(QUESTION_TEXTS))).numpy()

    first = vectors()
    kept = folder / "openvino" / "encoder.bin"
    kept.write_bytes(b"0" + kept.read_bytes()[1:])
    np.testing.assert_array_equal(vectors(), first)
    assert any("encoder.bin is not as it was written" in line for line in log_lines)

    other = tiny_bert(bert_tokenizer)
    torch.nn.init.normal_(other.encoder.layer[0].output.dense.weight)
    other.save_pretrained(folder)
    assert np.abs(vectors() - first).max() > 0.1
    assert any("made of other weights" in line for line in log_lines)


def test_a_reranker_scores_nearly_as_in_torch(reranker_path: str, tmp_path: Path) -> None:
    folder = str(shutil.copytree(reranker_path, tmp_path / "reranker"))
    pairs = [Pair(question, "", text) for question, text in zip(QUESTION_TEXTS, PASSAGE_TEXTS, strict=True)]
    expected = load_cross_encoder(folder).score(pairs, precision="fp32")
    scores = load_cross_encoder(folder, "openvino").score(pairs)
    assert np.corrcoef(scores, expected)[0, 1] > 0.9 and np.abs(scores - expected).max() > 0


def test_what_cannot_be_quantised_is_refused_in_a_sentence(
    encoder_path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader = reader_in(tmp_path / "reader", encoder_path, "linear")
    inputs = ModelInputs(reader, load_tokenizer(encoder_path))

    def refusal() -> str:
        with pytest.raises(UserError) as raised:
            quantized(reader, inputs, "fp32")
        assert "\n" not in str(raised.value)
        return str(raised.value)

    with monkeypatch.context() as patch:
        patch.setattr(module, "default_device", lambda: torch.device("cuda"))
        assert "has a faster GPU: leave out --backend, or hide the GPU with CUDA_VISIBLE_DEVICES=" in refusal()
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "nncf", None)
        assert "--backend openvino needs nncf" in refusal() and "pip install openvino nncf" in refusal()
    with monkeypatch.context() as patch:
        patch.setattr(module, "_cosine", lambda *_: float("nan"))
        assert "in int8 its states are others (cosine nan)): leave out --backend" in refusal()
    with monkeypatch.context() as patch:
        patch.setattr(inputs, "names", [*inputs.names, "global_attention_mask"])
        assert "its attention depends on the length of the text" in refusal()
    assert not (tmp_path / "reader" / "openvino").exists()  # nothing half-made
    reader.name_or_path = "owner/reader"
    assert "hf download owner/reader --local-dir saved/reader" in refusal()
