"""What a teacher says of passages: gathered by retrieving, handed to a student."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from datasets import Dataset

from arguments import RetrieverArguments
from loading.corpus import Corpus
from loading.teacher_scores import read_teacher_scores, write_teacher_scores
from models.cross_encoder import Pair, load_cross_encoder
from retrieval import create_retriever
from retrieval.comparison import Questions, questions_of
from retrieval.teaching import taught_scores, teacher_of
from runtime.errors import UserError
from runtime.text import comparable


@pytest.fixture
def questions(corpus: Corpus) -> Questions:
    """Three questions: of a passage that is found, of one that is not, and of one that nobody knows."""
    rows = [
        {"id": "a", "question": "세종대왕은 무엇을 만들었나?", "title": corpus.titles[1], "context": corpus.texts[1]},
        {"id": "b", "question": "세종대왕은 누구인가?", "title": corpus.titles[9], "context": corpus.texts[9]},
        {"id": "c", "question": "한강은 어디로 흐르나?", "title": "", "context": ""},
    ]
    for row in rows:
        row |= {"document_id": "", "answers": {"text": ["답"], "answer_start": [-1]}}
    return questions_of(Dataset.from_list(rows), corpus, seed=0)


def retrieved(questions: Questions, k: int, **flags: object):
    retriever = create_retriever(RetrieverArguments(analyzer="bigram", **flags))
    retriever.build(questions.corpus)
    return retriever, retriever.search(questions.examples["question"], k)


def test_scores_are_those_of_the_retriever(questions: Questions, tmp_path) -> None:
    retriever, results = retrieved(questions, 4)
    write_teacher_scores(tmp_path / "scores.jsonl", taught_scores(retriever, results, questions))
    read = read_teacher_scores(tmp_path / "scores.jsonl")
    assert list(read) == ["a", "b", "c"]
    for scores, ids, expected in zip(read.values(), results.ids, results.scores, strict=True):
        assert [passage.text for passage in scores.passages] == [questions.corpus.texts[row] for row in ids]
        assert scores.scores == expected.tolist()


def test_a_reranker_reads_the_right_passage_where_it_was_not_found(questions: Questions, reranker_path: str) -> None:
    retriever, results = retrieved(questions, 6, reranker=reranker_path, rerank_depth=3)
    found = dict(taught_scores(retriever, results, questions))
    assert [len(scores.passages) for scores in found.values()] == [3, 4, 3]  # what it has not read has no score
    assert questions.corpus.texts[1] in [passage.text for passage in found["a"].passages]
    assert found["b"].passages[-1].text == questions.corpus.texts[9]
    judge = load_cross_encoder(reranker_path)
    for scores in found.values():
        pairs = [Pair(scores.question, passage.title, passage.text) for passage in scores.passages]
        np.testing.assert_allclose(scores.scores, judge.score(pairs), atol=0.02)


def test_a_student_is_told_what_is_known(reranker_path: str, encoder_path: str) -> None:
    groups = [[Pair("?", "강", "한강은 강이다."), Pair("?", "", "달")], [Pair("!", "", "왕은  세종이다.")]]
    written = {"a": {comparable("한강은  강이다.\n"): 2.5}, "b": {comparable("달"): 1.0}}
    teacher = teacher_of(SimpleNamespace(teacher=None), written, "fp32")
    assert teacher is not None
    expected = torch.tensor([2.5, torch.nan, torch.nan])
    torch.testing.assert_close(teacher(["a", "b"], groups), expected, equal_nan=True)
    assert teacher_of(SimpleNamespace(teacher=None), {}, "fp32") is None
    reading = teacher_of(SimpleNamespace(teacher=reranker_path), {}, "fp32")
    assert reading is not None
    scores = load_cross_encoder(reranker_path).score([pair for group in groups for pair in group], precision="fp32")
    np.testing.assert_allclose(reading(["a", "b"], groups).numpy(), scores, atol=1e-5)
    with pytest.raises(UserError, match="holds no trained reranker"):
        teacher_of(SimpleNamespace(teacher=encoder_path), {}, "fp32")


def test_candidates_that_were_not_scored_teach_nothing(questions: Questions, characters_in_place: str) -> None:
    first = "SparseRetrieval_BM25P,analyzer=bigram"
    flags = {"retriever_dir": characters_in_place, "candidates": first, "candidate_depth": 3}
    retriever, results = retrieved(questions, 6, retriever_type="MultiVectorRetrieval", **flags)
    found = dict(taught_scores(retriever, results, questions))
    assert [len(scores.scores) for scores in found.values()] == [3, 3, 3]
