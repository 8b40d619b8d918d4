"""MultiVectorRetrieval: MaxSim of what the encoder gives, and an index that is encoded once and never half."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from comparing import assert_same_ranking

import retrieval.multi_vector
from arguments import RetrieverArguments
from models.token_encoder import TokenEncoder, load_token_encoder
from retrieval import create_retriever, load_or_build
from runtime.errors import UserError

NAME = "MultiVectorRetrieval"
QUESTIONS = ["세종대왕은 무엇을 만들었나?", "서울을 지나는 강은?", "달은 무엇인가?", ""]


@pytest.fixture
def arguments(characters_in_place, tmp_path, monkeypatch) -> RetrieverArguments:
    monkeypatch.setattr("retrieval.encoding.SHARD_SIZE", 5)
    monkeypatch.setattr(retrieval.multi_vector, "_BLOCK", 2)
    return RetrieverArguments(
        retriever_type=NAME, retriever_dir=characters_in_place, index_dir=str(tmp_path / "index"), encode_batch_size=2
    )


@pytest.fixture
def encoded(monkeypatch) -> list[int]:
    """How many passages are encoded at a time."""
    sizes: list[int] = []
    encode = TokenEncoder.encode_passages

    def counting(self, pairs, *rest):
        sizes.append(len(pairs))
        return encode(self, pairs, *rest)

    monkeypatch.setattr(TokenEncoder, "encode_passages", counting)
    return sizes


def direct(arguments: RetrieverArguments, corpus) -> np.ndarray:
    """MaxSim (n, N), one pair of tokens after the other."""
    encoder = load_token_encoder(arguments.retriever_dir)
    asked = encoder.encode_questions(QUESTIONS, 4, "fp32")
    given = encoder.encode_passages(list(zip(corpus.titles, corpus.texts, strict=True)), 4, "fp32")
    return np.array([[sum(max(q @ p for p in passage) for q in question) for passage in given] for question in asked])


@pytest.mark.usefixtures("fp32")
@pytest.mark.parametrize(("form", "tolerance"), [("float16", 2e-3), ("int8", 5e-2), ("binary", 2e-3)])
def test_scores_are_a_direct_computation(form, tolerance, arguments, corpus):
    arguments = dataclasses.replace(arguments, token_vectors=form)
    expected = direct(arguments, corpus)
    for _ in ("built", "loaded"):
        results = load_or_build(create_retriever(arguments), corpus, arguments.index_dir).search(QUESTIONS, 12)
        np.testing.assert_allclose(results.scores, np.take_along_axis(expected, results.ids, axis=1), atol=tolerance)
        np.testing.assert_allclose(results.scores, -np.sort(-expected, axis=1), atol=tolerance)


@pytest.mark.usefixtures("fp32")
def test_bits_find_more_than_are_asked_for_and_are_scored_exactly(arguments, corpus, monkeypatch):
    monkeypatch.setattr(retrieval.multi_vector, "_LEAST_RESCORED", 3)
    exact = create_retriever(arguments)
    bits = create_retriever(dataclasses.replace(arguments, token_vectors="binary"))
    for retriever in (exact, bits):
        retriever.build(corpus)
    assert_same_ranking(bits.search(QUESTIONS[:3], 1), exact.search(QUESTIONS[:3], 1))
    asked = []
    monkeypatch.setattr(bits, "_score", lambda questions, ids: asked.append(ids.shape) or np.zeros(ids.shape, "f4"))
    bits.search(QUESTIONS, 2)
    assert asked == [(4, 8)]  # of four times two


def test_pooled_tokens_need_less(arguments, corpus):
    sizes = []
    for pooling in (1, 2, 3):
        retriever = create_retriever(dataclasses.replace(arguments, token_pooling=pooling))
        load_or_build(retriever, corpus, arguments.index_dir)
        assert retriever.search([*corpus.titles[:4]], 1).ids[:, 0].tolist() == [0, 1, 2, 3]
        sizes.append(sum(len(shard.kept) for shard in retriever.shards))
    assert sizes[1] < 0.6 * sizes[0] and sizes[2] < 0.4 * sizes[0]


def test_candidates_are_re_ordered_and_the_others_follow(arguments, corpus):
    given = dataclasses.replace(
        arguments, candidates="SparseRetrieval_BM25P,analyzer=bigram", candidate_depth=4, analyzer="bigram"
    )
    retriever = load_or_build(create_retriever(given), corpus, arguments.index_dir)
    tokens = load_or_build(create_retriever(arguments), corpus, arguments.index_dir)  # of the same index
    first = load_or_build(
        create_retriever(dataclasses.replace(arguments, retriever_type="SparseRetrieval_BM25P", analyzer="bigram")),
        corpus,
        arguments.index_dir,
    ).search(QUESTIONS, 12)
    scores = tokens.score(QUESTIONS, first.ids)
    found = retriever.search(QUESTIONS, 12)
    for row, (ids, own) in enumerate(zip(first.ids, scores, strict=True)):
        order = sorted(range(4), key=lambda rank, own=own: (-own[rank], rank))
        assert found.ids[row].tolist() == [*ids[order], *ids[4:]]
        np.testing.assert_allclose(found.scores[row, :4], own[order], rtol=1e-6)
    assert (np.diff(found.scores, axis=1) <= 0).all()
    assert retriever.parameters()["candidate_depth"] == 4


def test_a_retriever_cannot_find_candidates_for_itself(arguments):
    with pytest.raises(UserError, match="--candidates MultiVectorRetrieval: it cannot find candidates for itself"):
        create_retriever(dataclasses.replace(arguments, candidates=NAME))


# -------------------------------------------------------------------------------------------------------------- index


def test_a_killed_build_goes_on_where_it_stopped(arguments, corpus, encoded, tmp_path, log_lines, monkeypatch):
    expected = load_or_build(create_retriever(arguments), corpus, tmp_path / "other").search(QUESTIONS, 12)
    encoded.clear()
    encode = TokenEncoder.encode_passages
    with monkeypatch.context() as patch:
        patch.setattr(TokenEncoder, "encode_passages", lambda *rest: encode(*rest) if len(encoded) < 2 else 1 / 0)
        with pytest.raises(ZeroDivisionError):
            load_or_build(create_retriever(arguments), corpus, arguments.index_dir)
    (work,) = (tmp_path / "index").iterdir()
    assert sorted(path.name for path in work.glob("*.npy")) == [
        f"00000{shard}-{name}.npy" for shard in (0, 1) for name in ("kept", "lengths")
    ]
    (work / "000001-lengths.npy").write_bytes(b"half")

    encoded.clear()
    log_lines.clear()
    retriever = load_or_build(create_retriever(arguments), corpus, arguments.index_dir)
    assert log_lines[0] == f"INFO resumed: 1 of 3 shards are there, in {work}"
    assert encoded == [5, 2]
    (folder,) = (tmp_path / "index").iterdir()
    assert sorted(path.name for path in folder.iterdir()) == [
        "checksums.json", "lengths.npy", "manifest.json", "tokens.npy"
    ]  # fmt: skip
    for found in (retriever, load_or_build(create_retriever(arguments), corpus, arguments.index_dir)):
        assert_same_ranking(found.search(QUESTIONS, 12), expected)
    assert encoded == [5, 2]


def test_without_a_folder_for_work_nothing_is_written(arguments, corpus, tmp_path):
    retriever = retrieval.multi_vector.MultiVectorRetrieval(arguments)
    retriever.build(corpus)
    retriever.search(QUESTIONS, 3)
    assert not (tmp_path / "index").exists()


def test_an_index_that_is_described_or_loaded_needs_no_model(arguments, corpus, monkeypatch):
    load_or_build(create_retriever(arguments), corpus, arguments.index_dir)
    monkeypatch.setattr("models.token_encoder.load_token_encoder", None)
    retriever = load_or_build(create_retriever(arguments), corpus, arguments.index_dir)
    assert retriever.parameters()["token_vectors"] == "float16"
    with pytest.raises(TypeError):
        retriever.search(QUESTIONS, 1)
