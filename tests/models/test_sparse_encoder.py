"""Sparse encoders of sentence-transformers here and there: the library itself is the oracle."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from sentence_transformers import SparseEncoder as TheirSparseEncoder
from sentence_transformers.base.modules import Router, Transformer
from sentence_transformers.sparse_encoder.modules import SparseStaticEmbedding, SpladePooling
from tiny_models import tiny_bert_config
from transformers import BertForMaskedLM, PreTrainedTokenizerFast

from models.encoder import hash_model
from models.sparse_encoder import load_sparse_encoder
from runtime.errors import NotFiniteError, UserError

TEXTS = ["세종은 조선의 왕이다.", "서울은 대한민국의 수도이다. 한강이 서울의 가운데를 흐른다.", "수성"]
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def masked_lm(bert_tokenizer: PreTrainedTokenizerFast, tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("masked_lm")
    config = tiny_bert_config(bert_tokenizer)
    config.initializer_range = 0.5
    torch.manual_seed(0)
    BertForMaskedLM(config).save_pretrained(folder)
    bert_tokenizer.save_pretrained(folder)
    return str(folder)


def splade(source: str, folder: Path, pooling: str = "max", table: bool = False) -> str:
    """Save a sparse encoder with sentence-transformers, its questions perhaps weighted by a ``table``."""
    transformer = Transformer(source, transformer_task="fill-mask")
    modules = [transformer, SpladePooling(pooling)]
    if table:
        weights = torch.linspace(0, 2, len(transformer.tokenizer))
        modules = [Router.for_query_document([SparseStaticEmbedding(transformer.tokenizer, weights)], modules)]
    prompts = {"query": "" if table else "왕 ", "document": "수도 "}
    model = TheirSparseEncoder(modules=modules, prompts=prompts, device="cpu")
    model.save_pretrained(str(folder), create_model_card=False)
    return str(folder)


@pytest.mark.parametrize(("pooling", "table"), [("max", False), ("sum", False), ("max", True)])
def test_weights_are_those_of_the_library(masked_lm: str, tmp_path: Path, pooling: str, table: bool) -> None:
    folder = splade(masked_lm, tmp_path / "splade", pooling, table)
    ours, theirs = load_sparse_encoder(folder, 64, 64, CPU), TheirSparseEncoder(folder, device="cpu")
    questions = ours.encode_questions(TEXTS, 2, "fp32")
    passages = ours.encode_passages([("", text) for text in TEXTS], 2, "fp32")
    np.testing.assert_allclose(questions.toarray(), theirs.encode_query(TEXTS).to_dense(), atol=1e-5)
    np.testing.assert_allclose(passages.toarray(), theirs.encode_document(TEXTS).to_dense(), atol=1e-5)
    assert 0 < passages.nnz < np.prod(passages.shape)
    (titled,) = ours.encode_passages([("세종", TEXTS[0])], 2, "fp32").toarray()
    np.testing.assert_allclose(titled, theirs.encode_document(f"세종: {TEXTS[0]}").to_dense(), atol=1e-5)
    assert ours.encode_questions([], 2, "fp32").shape == (0, len(ours.tokenizer))


def test_questions_and_passages_are_cut_at_lengths_of_their_own(masked_lm: str, tmp_path: Path) -> None:
    folder = splade(masked_lm, tmp_path / "splade")
    ours, theirs = load_sparse_encoder(folder, 5, 9, CPU), TheirSparseEncoder(folder, device="cpu")
    theirs.max_seq_length = 5
    expected = theirs.encode_query(TEXTS).to_dense()
    np.testing.assert_allclose(ours.encode_questions(TEXTS, 2, "fp32").toarray(), expected, atol=1e-5)
    theirs.max_seq_length = 9
    expected = theirs.encode_document(TEXTS).to_dense()
    found = ours.encode_passages([("", text) for text in TEXTS], 2, "fp32")
    np.testing.assert_allclose(found.toarray(), expected, atol=1e-5)
    limit = theirs[0].model.config.max_position_embeddings
    load_sparse_encoder(folder, 64, limit, CPU)
    with pytest.raises(UserError, match=rf"--passage_max_len {limit + 1} is more than .*splade can read \({limit} tok"):
        load_sparse_encoder(folder, 64, limit + 1, CPU)


def test_a_text_that_spells_control_tokens_is_text(masked_lm: str, tmp_path: Path) -> None:
    ours = load_sparse_encoder(splade(masked_lm, tmp_path / "splade", table=True), 64, 64, CPU)
    cls, sep, mask = (ours.tokenizer.convert_tokens_to_ids(token) for token in ("[CLS]", "[SEP]", "[MASK]"))
    row = ours.encode_questions(["[MASK] 왕 [SEP]"], 2, "fp32").toarray()[0]
    assert row[[cls, sep, mask]].tolist() == [0, 0, 0] and row.any()


def test_what_is_no_sparse_encoder_is_refused(masked_lm: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match=r"--sparse_encoder .*masked_lm0? is no SparseEncoder of sentence-transformers"):
        load_sparse_encoder(masked_lm, 64, 64, CPU)
    folder = Path(splade(masked_lm, tmp_path / "splade"))
    before = hash_model(str(folder), modules=True)
    pooling = folder / "1_SpladePooling" / "config.json"
    pooling.write_text(json.dumps(json.loads(pooling.read_text()) | {"pooling_strategy": "sum"}))
    assert hash_model(str(folder), modules=True) != before
    path = folder / "config_sentence_transformers.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"similarity_fn_name": "cosine"}))
    with pytest.raises(UserError, match="splade compares vectors by cosine; here it is by dot"):
        load_sparse_encoder(str(folder), 64, 64, CPU)
    monkeypatch.setitem(sys.modules, "sentence_transformers", None)
    with pytest.raises(UserError, match=r'pip install "sentence-transformers>=6\.2,<7"'):
        load_sparse_encoder(str(folder), 64, 64, CPU)


def test_weights_that_are_no_numbers_are_refused(masked_lm: str, tmp_path: Path) -> None:
    ours = load_sparse_encoder(splade(masked_lm, tmp_path / "splade"), 64, 64, CPU)
    with torch.no_grad():
        next(ours.model.parameters()).fill_(torch.inf)
    with pytest.raises(NotFiniteError, match=r"weights that are not finite numbers \(questions\)"):
        ours.encode_questions(TEXTS, 2, "fp32")
