"""Retrieval by learned sparse vectors; what holds for every retriever is in test_retrievers.py."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from comparing import assert_same_ranking
from sentence_transformers import SparseEncoder as TheirSparseEncoder

from arguments import RetrieverArguments
from models.sparse_encoder import SparseEncoder
from retrieval import create_retriever, load_or_build
from runtime.errors import UserError

QUESTIONS = ["세종은 무엇을 만들었나?", "한강은 어디로 흐르나?", "달"]


@pytest.fixture
def arguments(sparse_characters, tmp_path, monkeypatch, fp32):
    """Flags over a corpus that fills three shards: 5, 5 and 2 passages."""
    monkeypatch.setattr("retrieval.encoding.SHARD_SIZE", 5)
    return RetrieverArguments(
        retriever_type="SparseEncoderRetrieval",
        sparse_encoder=sparse_characters,
        passage_max_len=64,
        index_dir=str(tmp_path / "index"),
    )


@pytest.mark.filterwarnings("ignore:Sparse CSR tensor support")  # the library's own, once a process
def test_scores_are_inner_products_of_what_the_library_gives(arguments, corpus):
    retriever = load_or_build(create_retriever(arguments), corpus, arguments.index_dir)
    model = TheirSparseEncoder(arguments.sparse_encoder, device="cpu")
    model.max_seq_length = 64
    titled = [f"{title}: {text}" if title else text for title, text in zip(corpus.titles, corpus.texts, strict=True)]
    expected = model.similarity(model.encode_query(QUESTIONS), model.encode_document(titled)).numpy()
    found = retriever.search(QUESTIONS, 12)
    np.testing.assert_allclose(found.scores, np.take_along_axis(expected, found.ids, axis=1), rtol=1e-5)
    assert (np.diff(found.scores, axis=1) <= 0).all() and found.ids[:, 0].tolist() == [1, 2, 6]


def test_a_killed_build_goes_on_where_it_stopped(arguments, corpus, tmp_path, log_lines, monkeypatch):
    expected = load_or_build(create_retriever(arguments), corpus, tmp_path / "other").search(QUESTIONS, 12)
    encoded, encode = [], SparseEncoder.encode_passages

    def counted(self, pairs, *options):
        encoded.append(len(pairs))
        return encode(self, pairs, *options) if len(encoded) != 2 else 1 / 0

    monkeypatch.setattr(SparseEncoder, "encode_passages", counted)
    with pytest.raises(ZeroDivisionError):
        load_or_build(create_retriever(arguments), corpus, arguments.index_dir)
    (work,) = (tmp_path / "index").iterdir()
    assert sorted(path.name for path in work.glob("*.npy")) == [
        f"000000-{name}.npy" for name in ("data", "indices", "indptr", "shape")
    ]
    log_lines.clear()
    retriever = load_or_build(create_retriever(arguments), corpus, arguments.index_dir)
    assert log_lines[0] == f"INFO resumed: 1 of 3 shards are there, in {work}"
    assert encoded == [5, 5, 5, 2]
    (folder,) = (tmp_path / "index").iterdir()
    assert sorted(path.name for path in folder.iterdir()) == ["checksums.json", "manifest.json", "weights.npz"]
    for found in (retriever, load_or_build(create_retriever(arguments), corpus, arguments.index_dir)):
        assert_same_ranking(found.search(QUESTIONS, 12), expected)


def test_a_damaged_shard_is_encoded_once_more(arguments, corpus):
    create_retriever(arguments).build(corpus)  # and not saved
    retriever = create_retriever(arguments)
    (work,) = Path(arguments.index_dir).iterdir()
    shard = work / "000001-data.npy"
    shard.write_bytes(shard.read_bytes()[:-9])
    expected = create_retriever(arguments)
    expected.index_dir = None
    expected.build(corpus)
    retriever.build(corpus)
    assert (retriever.weights != expected.weights).nnz == 0


def test_terms_and_weights_are_shown(arguments, corpus):
    retriever = load_or_build(create_retriever(arguments), corpus, arguments.index_dir)
    model = TheirSparseEncoder(arguments.sparse_encoder, device="cpu")
    (vector,) = model.encode_document([f"{corpus.titles[6]}: {corpus.texts[6]}"])
    expected = dict(model.decode(vector))
    found = retriever.passage_terms(6)
    assert dict(found) == pytest.approx(expected)
    assert [weight for _, weight in found] == sorted(expected.values(), reverse=True)

    found = retriever.search(["달과 지구"], 12)
    explanation = retriever.explain("달과 지구", found.ids[0].tolist(), 12)
    assert set(explanation.cuts["SparseEncoderRetrieval"]) >= set("달과지구")
    sums = [sum(part.score for part in parts) for parts in explanation.parts]
    np.testing.assert_allclose(sums, found.scores[0], rtol=1e-5)
    assert {part.name for part in explanation.parts[0]} >= set("달지구")
    asked, own = map(float, explanation.parts[0][0].detail.split(" × "))
    assert asked * own == pytest.approx(explanation.parts[0][0].score, rel=0.02)


def test_an_encoder_must_be_named(arguments, corpus, tmp_path):
    with pytest.raises(UserError, match="SparseEncoderRetrieval needs an encoder that weighs terms: add --sparse_enc"):
        create_retriever(RetrieverArguments(retriever_type="SparseEncoderRetrieval"))
    load_or_build(create_retriever(arguments), corpus, arguments.index_dir)
    (folder,) = (tmp_path / "index").iterdir()
    other = create_retriever(RetrieverArguments(**{**vars(arguments), "passage_max_len": 32}))
    with pytest.raises(UserError, match="parameters passage_max_len is 64 there and 32 here"):
        other.load(folder, corpus)
