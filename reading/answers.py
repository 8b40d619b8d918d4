"""Answers: the spans of all windows and passages of a question, weighed against each other."""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np
from datasets import Dataset

from reading.arguments import AnswerArguments
from reading.decoding import best_spans
from reading.passages import passage_texts
from reading.postprocessing import Passage, postprocess, rules_in
from runtime.text import inner_span


@dataclass
class Answer:
    """A candidate answer: ``context[start:end]`` (characters) of the passage ``document_id``, found at ``rank``.

    ``span_score`` is the sum of its start and end logits above that of "no answer here" (``[CLS]``), which makes
    spans of different passages comparable; with ``shared_normalization`` they are, and it is above the highest
    "no answer" of the question's passages. ``retrieval_score`` is its passage's, ``score`` their mix; ``probability``
    is the softmax of the scores over the question's candidates, summed over equal texts. Where the passage is a chunk,
    its text starts at ``passage_start`` of the document's.
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
    passage_start: int = field(default=0, kw_only=True)


class Reading(NamedTuple):
    """What was found in one reading example: its best spans, whose scores are sums of logits, and "no answer"'s.

    ``passages`` are what it is made of, by rank. "No answer" scores the least over the windows, or with
    ``shared_normalization`` the most.
    """

    passages: dict[int, Passage]
    spans: list[Answer]
    null_score: float

    @property
    def rank(self) -> int:
        """The rank of the first passage."""
        return next(iter(self.passages))


def find_answers(
    examples: Dataset,
    features: Dataset,
    predictions: Sequence[np.ndarray],
    settings: AnswerArguments,
    retrieval_weight: float = 0.0,
) -> dict[str, list[Answer]]:
    """Return for every question id its n best answers, best first, in the order of ``examples``.

    ``examples`` are reading examples (see ``reading/passages.py``), several per question if it has several passages;
    ``predictions`` are start and end logits (features, tokens), or those of a beam (see ``reading/logits.py``);
    ``retrieval_weight`` mixes in the retriever's scores. With
    ``version_2_with_negative`` the empty answer, whose score is 0, is among them, and first if that exceeds the best
    span score by more than the threshold. The rules of ``postprocess`` tidy what is left of them.
    """
    readings = find_readings(examples, features, predictions, settings)
    return {question: weigh(found, settings, retrieval_weight) for question, found in readings.items()}


def find_readings(
    examples: Dataset, features: Dataset, predictions: Sequence[np.ndarray], settings: AnswerArguments
) -> dict[str, list[Reading]]:
    """Return for every question id what was found in each of its reading examples, for :func:`weigh`."""
    windows: dict[int, list[int]] = defaultdict(list)
    for row, index in enumerate(features["example_index"]):
        windows[index].append(row)
    features = features.select_columns(["offset_mapping", "cls_index"])
    found: dict[str, list[Reading]] = {}
    texts: dict[str, Passage] = {}  # a passage is often read for several questions, and analysed once
    for index, example in enumerate(examples):
        read = [(features[row], *(values[row] for values in predictions)) for row in windows[index]]
        passages = {
            passage["rank"]: texts.setdefault(text, Passage(text))
            for passage, text in zip(example["passages"], passage_texts(example), strict=True)
        }
        found.setdefault(example["id"], []).append(_read_example(example, passages, read, settings))
    return found


def predictions_of(answers: Mapping[str, list[Answer]]) -> dict[str, str]:
    """Return ``{id: text}`` of the best answers; an empty text where there is none."""
    return {question: candidates[0].text if candidates else "" for question, candidates in answers.items()}


def nbest_of(answers: Mapping[str, list[Answer]]) -> dict[str, list[dict[str, Any]]]:
    """Return all answers as plain dictionaries, for ``nbest_predictions.json``."""
    return {question: [asdict(candidate) for candidate in candidates] for question, candidates in answers.items()}


def _read_example(
    example: Mapping[str, Any],
    texts: dict[int, Passage],
    windows: Iterable[tuple[Any, ...]],
    settings: AnswerArguments,
) -> Reading:
    context, passages = example["context"], example["passages"]
    passage_starts = [passage["start"] for passage in passages]
    spans: dict[tuple[int, int], float] = {}
    null_scores: list[float] = []
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
            start, end = inner_span(context, offsets[first][0], offsets[last][1])
            if start < end:  # overlapping windows find the same span twice: the better score counts
                spans[start, end] = max(float(score), spans.get((start, end), float("-inf")))
        cls_index = feature["cls_index"]
        no_end = end_logits[..., cls_index].flat[-1]  # given the start [CLS], which is the last of a beam
        null_scores.append(float(start_logits[cls_index] + no_end))
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
                passage_start=passage.get("passage_start", 0),
            )
        )
    null_score = (max if settings.shared_normalization else min)(null_scores, default=float("-inf"))
    return Reading(texts, answers, null_score)


def weigh(readings: Sequence[Reading], settings: AnswerArguments, retrieval_weight: float) -> list[Answer]:
    """Return one question's n best answers, best first.

    Spans of all its ``readings`` are made comparable, the retriever is mixed in, scores become probabilities, those of
    equal texts are summed, and the rules of ``settings.postprocess`` tidy the n best. The readings stay as they are.
    """
    passages = {rank: passage for reading in readings for rank, passage in reading.passages.items()}
    return postprocess(_ranked(readings, settings, retrieval_weight), passages, rules_in(settings.postprocess))


def _ranked(readings: Sequence[Reading], settings: AnswerArguments, retrieval_weight: float) -> list[Answer]:
    spans = comparable_spans(readings, settings)
    candidates = [replace(answer, score=score, span_score=score) for score, answer in spans]
    _mix_retrieval(candidates, retrieval_weight)
    candidates.sort(key=lambda answer: (-answer.score, answer.rank, answer.start))
    no_answer = Answer("", 0.0, 0.0, 0.0, 0.0, "", 0, 0, 0)
    best_span_score = max((answer.span_score for answer in candidates), default=float("-inf"))
    if settings.version_2_with_negative:
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
    if settings.version_2_with_negative:
        ranked.remove(no_answer)
        says_none = -best_span_score > settings.null_score_diff_threshold
        last = min(len(ranked), max(1, settings.n_best_size - 1))
        ranked.insert(0 if says_none else last, no_answer)
    return ranked[: settings.n_best_size]


def comparable_spans(readings: Sequence[Reading], settings: AnswerArguments) -> list[tuple[float, Answer]]:
    """Return all spans of one question's ``readings``, each with its score above "no answer"'s.

    That is the passage's own, or with ``shared_normalization``, where the logits of all passages are on one scale, the
    highest of all passages.
    """
    highest = max((reading.null_score for reading in readings), default=0.0)
    return [
        (answer.score - (highest if settings.shared_normalization else reading.null_score), answer)
        for reading in readings
        for answer in reading.spans
    ]


def _mix_retrieval(candidates: list[Answer], weight: float) -> None:
    """Add to each candidate's score ``weight`` times its passage's standardised retriever score.

    Retrievers have scales of their own: over the passages of the question theirs are brought to mean 0 and standard
    deviation 1, so that ``weight`` is what one standard deviation is worth in logits. (A linear mix of reader and
    retriever as in Yang et al. 2019, BERTserini.)
    """
    retrieval = {answer.rank: answer.retrieval_score for answer in candidates}
    scores = np.array(list(retrieval.values()))  # (passages,)
    if weight == 0 or len(scores) < 2 or scores.std() == 0:
        return
    standardised = dict(zip(retrieval, ((scores - scores.mean()) / scores.std()).tolist(), strict=True))
    for answer in candidates:
        answer.score = answer.span_score + weight * standardised[answer.rank]
