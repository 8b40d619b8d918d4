"""Hard negatives: passages that a retriever ranks high for a question and that do not hold its answer."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from loading.corpus import Corpus
from loading.retrieval_examples import RetrievalExample, wrong_rows
from models.cross_encoder import Pair, check_cross_encoder, load_cross_encoder
from models.encoder import hash_model
from retrieval import load_or_build
from retrieval.arguments import MiningArguments
from retrieval.base import Retriever, identity
from retrieval.training import corpus_passages
from runtime.checksums import fault_of_file, sealed_file
from runtime.files import read_json
from runtime.hashing import hash_json
from runtime.log import get_logger
from runtime.output import find_model
from runtime.progress import progress_bar
from runtime.text import FOLD_VERSION

logger = get_logger(__name__)

_BLOCK = 512  # questions searched at once
_JUDGED = 64  # questions whose passages a cross-encoder reads at once


def mine_hard_negatives(
    examples: Sequence[RetrievalExample], corpus: Corpus, retriever: Retriever, depth: int
) -> list[list[int]]:
    """Return for every question the rows of ``corpus`` among its ``depth`` best that are wrong, best first.

    Wrong is what :func:`loading.retrieval_examples.wrong_rows` says. ``retriever`` is ready over ``corpus``.
    """
    mined: list[list[int]] = []
    with progress_bar(total=len(examples), desc="Mine hard negatives", unit="question", delay=1) as progress:
        for start in range(0, len(examples), _BLOCK):
            block = examples[start : start + _BLOCK]
            found = retriever.search([example.question for example in block], depth)
            mined += [
                wrong_rows(example, rows, corpus) for example, rows in zip(block, found.ids.tolist(), strict=True)
            ]
            progress.update(len(block))
    return mined


def without_false_negatives(
    examples: Sequence[RetrievalExample], mined: Sequence[list[int]], corpus: Corpus, judge: str, margin: float
) -> list[list[int]]:
    """Return of every question's ``mined`` rows those that the cross-encoder ``judge`` scores at least ``margin`` below
    the best of the question's positives (Qu et al. 2021, RocketQA: denoised hard negatives)."""
    cross_encoder, passages = load_cross_encoder(judge), corpus_passages(corpus)
    kept: list[list[int]] = []
    total = sum(len(example.positives) + len(rows) for example, rows in zip(examples, mined, strict=True))
    with progress_bar(total=total, desc="Judge hard negatives", unit="pair", delay=1) as progress:
        for start in range(0, len(examples), _JUDGED):
            block = list(zip(examples[start : start + _JUDGED], mined[start : start + _JUDGED], strict=True))
            pairs = [
                Pair(example.question, passage.title, passage.text)
                for example, rows in block
                for passage in (*example.positives, *(passages[row] for row in rows))
            ]
            scores = iter(cross_encoder.score(pairs, progress.update).tolist())
            for example, rows in block:
                most = max(next(scores) for _ in example.positives) - margin
                kept.append([row for row in rows if next(scores) <= most])
    return kept


def find_hard_negatives(
    examples: Sequence[RetrievalExample],
    corpus: Corpus,
    retriever: Retriever,
    arguments: MiningArguments,
    index_dir: str | Path,
) -> list[list[int]]:
    """Return what :func:`mine_hard_negatives` gives, from ``<index_dir>/negatives-<key>.json`` if that is whole;
    with ``--negatives_judge`` what :func:`without_false_negatives` leaves of it.

    The key is over all that the result depends on: the retriever, corpus, questions, answers, gold passages, depth and
    judge. ``retriever`` need not be ready.
    """
    asked = [(example.question, example.answers, example.positives) for example in examples]
    depth, judge, judged = arguments.mining_depth, arguments.negatives_judge, []
    if judge is not None:
        judge = find_model(judge)
        check_cross_encoder(judge)
        judged = [hash_model(judge), arguments.negatives_margin]
    key = hash_json([FOLD_VERSION, identity(retriever, corpus), asked, corpus.also_known_as, depth, *judged])[:16]
    path = Path(index_dir) / f"negatives-{key}.json"
    if path.exists():
        if (fault := fault_of_file(path)) is None:
            logger.info("hard negatives: read from %s", path)
            return read_json(path)
        logger.warning("hard negatives %s are damaged and are mined again: %s", path, fault)
    mined = mine_hard_negatives(examples, corpus, load_or_build(retriever, corpus, index_dir), depth)
    if judge is not None:
        before = sum(map(len, mined))
        mined = without_false_negatives(examples, mined, corpus, judge, arguments.negatives_margin)
        left_out = before - sum(map(len, mined))
        logger.info("--negatives_judge: %d of %d passages may be right, and are no negatives", left_out, before)
    with sealed_file(path) as staging:
        staging.write_text(json.dumps(mined), encoding="utf-8")
    logger.info(
        "hard negatives: %d of %d questions have some, %.1f on average; saved in %s",
        sum(map(bool, mined)), len(mined), sum(map(len, mined)) / max(1, len(mined)), path,
    )  # fmt: skip
    return mined


def with_hard_negatives(
    examples: Sequence[RetrievalExample],
    corpus: Corpus,
    retriever: Retriever,
    arguments: MiningArguments,
    index_dir: str | Path,
) -> list[RetrievalExample]:
    """Return ``examples`` with what :func:`find_hard_negatives` finds behind the negatives that they have."""
    mined = find_hard_negatives(examples, corpus, retriever, arguments, index_dir)
    passages = corpus_passages(corpus)
    return [
        example._replace(negatives=[*example.negatives, *(passages[row] for row in rows)])
        for example, rows in zip(examples, mined, strict=True)
    ]


def with_missing_negatives(
    examples: Sequence[RetrievalExample],
    corpus: Corpus,
    retriever: Retriever,
    arguments: MiningArguments,
    index_dir: str | Path,
) -> list[RetrievalExample]:
    """Return ``examples`` as :func:`with_hard_negatives` does, but mine only for those that have no negatives."""
    without = [example for example in examples if not example.negatives]
    mined = iter(with_hard_negatives(without, corpus, retriever, arguments, index_dir) if without else ())
    return [example if example.negatives else next(mined) for example in examples]
