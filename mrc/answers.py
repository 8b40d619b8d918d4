"""Answers: the spans of all windows and passages of a question, weighed against each other."""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from datasets import Dataset

from mrc.decoding import best_spans


@dataclass(frozen=True)
class AnswerSettings:
    """How answers are read off logits; the values are the flags of the same names."""

    max_ans_len: int
    n_best_size: int
    retrieval_weight: float = 0.0
    version_2_with_negative: bool = False
    null_score_diff_threshold: float = 0.0


@dataclass
class Answer:
    """A candidate answer: ``context[start:end]`` (characters) of the passage ``document_id``, found at ``rank``.

    ``span_score`` is the sum of its start and end logits, ``retrieval_score`` its passage's, ``score`` their mix;
    ``probability`` is the softmax of the scores over the question's candidates, summed over equal texts.
    """

    text: str
    probability: float
    score: float
    span_score: float
    retrieval_score: float
    document_id: str
    rank: int
    start: int
    end: int


def find_answers(
    examples: Dataset, features: Dataset, predictions: Sequence[np.ndarray], settings: AnswerSettings
) -> dict[str, list[Answer]]:
    """Return for every question id its n best answers, best first, in the order of ``examples``.

    ``examples`` are reading examples (see ``mrc/passages.py``), several per question if it has several passages;
    ``predictions`` are start and end logits (features, tokens), or those of a beam (see ``mrc/reading.py``). With
    ``version_2_with_negative`` the empty answer is among them, and first if its score exceeds the best span's by
    more than the threshold.
    """
    windows: dict[int, list[int]] = defaultdict(list)
    for row, index in enumerate(features["example_index"]):
        windows[index].append(row)
    features = features.select_columns(["offset_mapping", "cls_index"])
    found: dict[str, list[Answer]] = {}
    null_scores: dict[str, float] = {}
    for index, example in enumerate(examples):
        candidates, null_score = _read_example(
            example,
            [(features[row], *(values[row] for values in predictions)) for row in windows[index]],
            settings,
        )
        found.setdefault(example["id"], []).extend(candidates)
        null_scores[example["id"]] = min(null_score, null_scores.get(example["id"], float("inf")))
    return {question: _weigh(candidates, null_scores[question], settings) for question, candidates in found.items()}


def predictions_of(answers: Mapping[str, list[Answer]]) -> dict[str, str]:
    """Return ``{id: text}`` of the best answers; an empty text where there is none."""
    return {question: candidates[0].text if candidates else "" for question, candidates in answers.items()}


def nbest_of(answers: Mapping[str, list[Answer]]) -> dict[str, list[dict[str, Any]]]:
    """Return all answers as plain dictionaries, for ``nbest_predictions.json``."""
    return {question: [asdict(candidate) for candidate in candidates] for question, candidates in answers.items()}


def _read_example(
    example: Mapping[str, Any],
    windows: Iterable[tuple[Any, ...]],
    settings: AnswerSettings,
) -> tuple[list[Answer], float]:
    """Return the best spans of one example, and its null score: the least over its windows (feature, *predictions)."""
    context, passages = example["context"], example["passages"]
    passage_starts = [passage["start"] for passage in passages]
    spans: dict[tuple[int, int], float] = {}
    null_score = float("inf")
    for feature, start_logits, end_logits, *beam in windows:
        offsets = feature["offset_mapping"]
        tokens = len(offsets)
        allowed = np.array([span is not None for span in offsets])  # (tokens,)
        segments = None
        if len(passages) > 1:
            # A token is where its last character is: its first can be a blank of the separator before the passage.
            characters = [0 if span is None else span[1] - 1 for span in offsets]
            segments = np.searchsorted(passage_starts, characters, side="right")  # (tokens,)
        best = best_spans(
            start_logits[:tokens],
            end_logits[..., :tokens],
            allowed,
            settings.max_ans_len,
            settings.n_best_size,
            segments,
            *beam,
        )
        for first, last, score in zip(*best, strict=True):
            # Tokens of this kind of vocabulary often carry the space before them.
            start, end = _strip(context, offsets[first][0], offsets[last][1])
            if start < end:  # overlapping windows find the same span twice: the better score counts
                spans[start, end] = max(float(score), spans.get((start, end), float("-inf")))
        cls_index = feature["cls_index"]
        no_end = end_logits[..., cls_index].flat[-1]  # given the start [CLS], which is the last of a beam
        null_score = min(null_score, float(start_logits[cls_index] + no_end))
    answers = []
    for (start, end), score in sorted(spans.items(), key=lambda item: -item[1])[: settings.n_best_size]:
        passage = passages[bisect_right(passage_starts, start) - 1]
        answers.append(
            Answer(
                text=context[start:end],
                probability=0.0,
                score=score,
                span_score=score,
                retrieval_score=passage["score"],
                document_id=passage["document_id"],
                rank=passage["rank"],
                start=start - passage["start"],
                end=end - passage["start"],
            )
        )
    return answers, null_score


def _strip(context: str, start: int, end: int) -> tuple[int, int]:
    while start < end and context[start].isspace():
        start += 1
    while start < end and context[end - 1].isspace():
        end -= 1
    return start, end


def _weigh(candidates: list[Answer], null_score: float, settings: AnswerSettings) -> list[Answer]:
    """Mix in the retriever, turn scores into probabilities, sum those of equal texts, keep the n best."""
    _mix_retrieval(candidates, settings.retrieval_weight)
    candidates.sort(key=lambda answer: (-answer.score, -answer.span_score, answer.rank, answer.start))
    no_answer = None
    if settings.version_2_with_negative:
        best_span_score = max((answer.span_score for answer in candidates), default=float("-inf"))
        no_answer = Answer("", 0.0, null_score, null_score, 0.0, "", 0, 0, 0)
        candidates.append(no_answer)
    if not candidates:
        return []
    scores = np.array([answer.score for answer in candidates])  # (candidates,)
    probabilities = np.exp(scores - scores.max())  # (candidates,)
    probabilities /= probabilities.sum()
    merged: dict[str, Answer] = {}
    for answer, probability in zip(candidates, probabilities.tolist(), strict=True):
        merged.setdefault(answer.text, answer).probability += probability
    ranked = sorted(merged.values(), key=lambda answer: -answer.probability)
    if no_answer is not None:
        ranked.remove(no_answer)
        says_none = null_score - best_span_score > settings.null_score_diff_threshold
        ranked = ranked[: max(settings.n_best_size - 1, 1)]
        ranked.insert(0 if says_none else len(ranked), no_answer)
    return ranked[: settings.n_best_size]


def _mix_retrieval(candidates: list[Answer], weight: float) -> None:
    """Set each candidate's score to ``(1 - weight) * span score + weight * retriever score``.

    Retrievers have scales of their own, so theirs are first put on the reader's: shifted and stretched to the mean
    and standard deviation of the best span scores of the question's passages. (The linear mix is that of Yang et al.
    2019, BERTserini.)
    """
    best: dict[int, float] = {}
    retrieval: dict[int, float] = {}
    for answer in candidates:
        best[answer.rank] = max(answer.span_score, best.get(answer.rank, float("-inf")))
        retrieval[answer.rank] = answer.retrieval_score
    if weight == 0 or len(best) < 2:
        return
    reader_scores = np.array(list(best.values()))  # (passages,)
    retriever_scores = np.array(list(retrieval.values()))  # (passages,)
    spread = retriever_scores.std()
    standard = (retriever_scores - retriever_scores.mean()) / spread if spread > 0 else retriever_scores * 0
    on_reader_scale = reader_scores.mean() + reader_scores.std() * standard  # (passages,)
    mixed = dict(zip(retrieval, on_reader_scale.tolist(), strict=True))
    for answer in candidates:
        answer.score = (1 - weight) * answer.span_score + weight * mixed[answer.rank]
