"""What a reranker in training is measured by: the passages that a retriever found, in the order that it gives them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from accelerate import Accelerator
from forgetting import forget_accelerator
from tiny_data import PASSAGES, QUESTIONS

from arguments import RetrieverArguments
from loading.corpus import Corpus
from loading.retrieval_examples import Passage, RetrievalExample
from models.cross_encoder import Pair
from retrieval import create_retriever
from retrieval.reranking_evaluation import RerankingEvaluation
from runtime.errors import NotFiniteError
from runtime.processes import open_accelerator

DEPTH = 3


@pytest.fixture
def accelerator() -> Iterator[Accelerator]:
    yield open_accelerator("fp32")
    forget_accelerator()


@pytest.fixture
def evaluation(tmp_path: Path) -> RerankingEvaluation:
    corpus = Corpus([str(row) for row in range(len(PASSAGES))], *map(list, zip(*PASSAGES, strict=True)))
    examples = [
        RetrievalExample(str(number), question, [answer], Passage(*PASSAGES[row]), [])
        for number, (row, question, answer) in enumerate(QUESTIONS)
    ]
    retriever = create_retriever(RetrieverArguments(analyzer="bigram"))
    return RerankingEvaluation(corpus, examples, retriever, DEPTH, tmp_path, batch_size=4, precision="fp32")


def scoring(score: Callable[[Pair], float]) -> Any:
    """A cross-encoder that gives each pair this score."""

    def scores(pairs: Sequence[Pair], progress: Callable[[int], Any], *_: Any) -> np.ndarray:
        progress(len(pairs))
        return np.array([score(pair) for pair in pairs], np.float32)

    return SimpleNamespace(score=scores)


def right(pair: Pair) -> float:
    golds = {question: PASSAGES[row][1] for row, question, _ in QUESTIONS}
    return float(golds[pair.question] == pair.text)


def test_the_order_of_the_scores_is_measured(evaluation: RerankingEvaluation, accelerator: Accelerator) -> None:
    assert evaluation.before == {"before_recall@1": 100.0, "before_mrr@10": 100.0}  # BM25 finds all of the sample
    best = evaluation.evaluate(scoring(right), accelerator)
    assert best == {"eval_recall@1": 100.0, "eval_mrr@10": 100.0}
    worst = evaluation.evaluate(scoring(lambda pair: -right(pair)), accelerator)
    assert worst == {"eval_recall@1": 0.0, "eval_mrr@10": pytest.approx(100 / DEPTH)}


def test_scores_that_are_no_numbers_end_it(evaluation: RerankingEvaluation, accelerator: Accelerator) -> None:
    def broken(*_: Any) -> np.ndarray:
        raise NotFiniteError("the reranker", "gives scores that are not finite numbers")

    with pytest.raises(NotFiniteError):
        evaluation.evaluate(SimpleNamespace(score=broken), accelerator)
