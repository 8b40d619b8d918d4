"""Answers: the spans of all windows and passages of a question, weighed against each other."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from datasets import Dataset

from reading.arguments import AnswerArguments
from reading.decoding import best_spans
from reading.passages import passage_texts
from reading.postprocessing import Passage, postprocess, rules_in
from runtime.text import seen_characters

_WINDOWS_AT_ONCE = 512
_NOWHERE = -1


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


class FoundSpan(NamedTuple):
    """A span and the sum of its logits: ``text`` is ``context[start:end]`` of the passage at ``rank``."""

    text: str
    rank: int
    start: int
    end: int
    score: float


class Reading(NamedTuple):
    """What was found in one reading example: its best spans, best first, and the score of "no answer".

    ``passages`` are what it is made of, by rank, and ``sources`` say where these came from (see
    ``reading/passages.py``). "No answer" scores the least over the windows, or with ``shared_normalization`` the most.
    """

    passages: dict[int, Passage]
    sources: dict[int, Mapping[str, Any]]
    spans: list[FoundSpan]
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
    columns = examples.select_columns(["id", "context", "passages"])[:]
    contexts, passages = columns["context"], columns["passages"]
    spans, null_scores = _find_spans(contexts, passages, features, predictions, settings)
    found: dict[str, list[Reading]] = {}
    passage_of: dict[str, Passage] = {}  # a passage is often read for several questions, and analysed once
    for index, name in enumerate(columns["id"]):
        sources = {passage["rank"]: passage for passage in passages[index]}
        parts = zip(passages[index], passage_texts(contexts[index], passages[index]), strict=True)
        texts = {passage["rank"]: passage_of.setdefault(text, Passage(text)) for passage, text in parts}
        in_passages = _in_passages(spans[index], contexts[index], passages[index])
        found.setdefault(name, []).append(Reading(texts, sources, in_passages, null_scores[index]))
    return found


def nbest_of(answers: Mapping[str, list[Answer]]) -> dict[str, list[dict[str, Any]]]:
    """Return all answers as plain dictionaries, for ``nbest_predictions.json``."""
    return {question: [asdict(candidate) for candidate in candidates] for question, candidates in answers.items()}


def _find_spans(
    contexts: Sequence[str],
    passages: Sequence[Sequence[Mapping[str, Any]]],
    features: Dataset,
    predictions: Sequence[np.ndarray],
    settings: AnswerArguments,
) -> tuple[list[list[tuple[int, int, float]]], list[float]]:
    """Return the best spans of every reading example, best first, and the score of its "no answer"."""
    example_of = np.array(features.with_format("arrow")["example_index"], dtype=np.int64)  # (windows,)
    columns = features.select_columns(["offset_mapping", "cls_index"]).with_format("arrow")
    worst, better = (-np.inf, np.maximum) if settings.shared_normalization else (np.inf, np.minimum)
    null_scores = np.full(len(contexts), worst)  # (examples,)
    nothing = np.zeros(0, dtype=np.int64)  # of no window
    parts = [(nothing, nothing, nothing, np.zeros(0, dtype=np.float32))]
    for first in range(0, len(example_of), _WINDOWS_AT_ONCE):
        window = slice(first, first + _WINDOWS_AT_ONCE)
        rows, examples = columns[window], example_of[window]
        starts, ends = _padded_offsets(rows["offset_mapping"].combine_chunks())  # (windows, tokens) each
        start_logits, end_logits, *beam = (values[window] for values in predictions)
        best = best_spans(
            start_logits[:, : starts.shape[1]],
            end_logits[..., : starts.shape[1]],
            starts != _NOWHERE,
            settings.max_ans_len,
            settings.n_best_size,
            _segments(ends, [passages[index] for index in examples]),
            *beam,
        )
        cls_index = rows["cls_index"].to_numpy()[:, None]  # (windows, 1)
        of_cls = end_logits[:, -1] if beam else end_logits  # (windows, tokens): [CLS] is the last start of a beam
        null = np.take_along_axis(start_logits, cls_index, 1) + np.take_along_axis(of_cls, cls_index, 1)
        better.at(null_scores, examples, null[:, 0])
        places = (examples[best.rows], starts[best.rows, best.starts], ends[best.rows, best.ends])  # (spans,) each
        parts.append((*_without_blanks(contexts, *places), best.scores))
    null_scores[np.isinf(null_scores)] = -np.inf  # of what no window was read
    return _best_per_example(parts, len(contexts), settings.n_best_size), null_scores.tolist()


def _padded_offsets(offsets: pa.ListArray) -> tuple[np.ndarray, np.ndarray]:
    """Return where the tokens of windows start and end, (windows, tokens) each; no place for those outside a context.

    ``offsets`` are a list for every window, of a pair or nothing for every token.
    """
    lengths = offsets.value_lengths().to_numpy()  # (windows,)
    inside = np.arange(lengths.max(initial=0)) < lengths[:, None]  # (windows, tokens)
    pairs = offsets.flatten().cast(pa.list_(pa.int32()))  # of no type where all are outside
    known = pairs.is_valid().to_numpy(zero_copy_only=False)  # (all tokens,)
    inside_context = inside.copy()  # (windows, tokens)
    inside_context[inside] = known
    first, numbers = pairs.offsets.to_numpy()[:-1][known], pairs.values.to_numpy()  # (tokens of contexts,), (numbers,)
    starts, ends = (np.full(inside.shape, _NOWHERE) for _ in range(2))  # (windows, tokens) each
    starts[inside_context], ends[inside_context] = numbers[first], numbers[first + 1]
    return starts, ends


def _segments(ends: np.ndarray, passages: Sequence[Sequence[Mapping[str, Any]]]) -> np.ndarray | None:
    """Return which passage of its window each token is in, (windows, tokens); None where all have a single one.

    A token is where its last character is: its first can be a blank of the separator before the passage.
    """
    if all(len(of_window) == 1 for of_window in passages):
        return None
    segments = np.zeros(ends.shape, dtype=np.int64)  # (windows, tokens)
    for row, of_window in enumerate(passages):
        starts = [passage["start"] for passage in of_window]
        segments[row] = np.searchsorted(starts, ends[row] - 1, side="right")  # (tokens,)
    return np.maximum.accumulate(segments, axis=1)  # tokens outside the context are wherever the one before them is


def _without_blanks(
    contexts: Sequence[str], examples: np.ndarray, starts: np.ndarray, ends: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the spans without the blanks at their ends, which tokens of some vocabularies carry.

    Those that are nothing else are empty. All arrays are (spans,): the example, and the characters of its context.
    """
    read, which = np.unique(examples, return_inverse=True)  # (read,), (spans,)
    texts = [contexts[index] for index in read]
    bases = np.cumsum([0, *map(len, texts)])[which]  # (spans,)
    seen = np.concatenate([[-1], seen_characters("".join(texts)), [np.iinfo(np.int64).max]])  # (seen + 2,)
    first = seen[np.searchsorted(seen, starts + bases)]  # (spans,)
    last = seen[np.searchsorted(seen, ends + bases) - 1]  # (spans,)
    empty = first > last  # (spans,)
    return examples, np.where(empty, starts, first - bases), np.where(empty, starts, last + 1 - bases)


def _best_per_example(
    parts: Sequence[tuple[np.ndarray, ...]], examples: int, n_best: int
) -> list[list[tuple[int, int, float]]]:
    """Return start, end and score of the best spans of every example, best first, of equals the first.

    ``parts`` are example, start, end and score of all spans, (spans,) each, some windows at a time. Overlapping windows
    find the same span twice: the better score counts.
    """
    index, starts, ends, scores = map(np.concatenate, zip(*parts, strict=True))  # (spans,) each
    order = np.lexsort((ends, starts, index))  # (spans,): equal ones side by side, in the order in which they came
    order = order[starts[order] < ends[order]]
    spans = np.stack([index, starts, ends])[:, order]  # (3, spans)
    border = np.flatnonzero(np.append(True, (spans[:, 1:] != spans[:, :-1]).any(axis=0))[: len(order)])  # (distinct,)
    scores = np.maximum.reduceat(scores[order], border) if len(border) else scores[:0]  # (spans,) -> (distinct,)
    index, starts, ends = spans[:, border]  # (distinct,) each
    order = np.lexsort((order[border], -scores, index))  # (distinct,)
    index = index[order]
    best = np.arange(len(order)) - np.searchsorted(index, index) < n_best  # (distinct,)
    order, index = order[best], index[best]
    found = list(zip(starts[order].tolist(), ends[order].tolist(), scores[order].tolist(), strict=True))
    borders = np.searchsorted(index, np.arange(examples + 1)).tolist()
    return [found[first:last] for first, last in pairwise(borders)]


def _in_passages(
    spans: Sequence[tuple[int, int, float]], context: str, passages: Sequence[Mapping[str, Any]]
) -> list[FoundSpan]:
    """Return what stands in a reading example at these starts and ends, with these scores."""
    borders, found = [passage["start"] for passage in passages], []
    for start, end, score in spans:
        passage = passages[bisect_right(borders, start) - 1]
        begin = passage["start"]
        found.append(FoundSpan(context[start:end], passage["rank"], start - begin, end - begin, score))
    return found


def weigh(readings: Sequence[Reading], settings: AnswerArguments, retrieval_weight: float) -> list[Answer]:
    """Return one question's n best answers, best first.

    Spans of all its ``readings`` are made comparable, the retriever is mixed in, scores become probabilities, those of
    equal texts are summed, and the rules of ``settings.postprocess`` tidy the n best. The readings stay as they are.
    """
    passages = {rank: passage for reading in readings for rank, passage in reading.passages.items()}
    return postprocess(_ranked(readings, settings, retrieval_weight), passages, rules_in(settings.postprocess))


def _ranked(readings: Sequence[Reading], settings: AnswerArguments, retrieval_weight: float) -> list[Answer]:
    sources = {rank: source for reading in readings for rank, source in reading.sources.items()}
    spans = comparable_spans(readings, settings)
    preference = _preferences({span.rank: sources[span.rank]["score"] for _, span in spans}, retrieval_weight)
    scored = [(score + preference.get(span.rank, 0.0), score, span) for score, span in spans]
    scored.sort(key=lambda candidate: (-candidate[0], candidate[2].rank, candidate[2].start))
    scores = [score for score, *_ in scored]
    if settings.version_2_with_negative:
        scores.append(0.0)
    if not scores:
        return []
    powers = np.exp(np.array(scores) - max(scores))  # (candidates,)
    probabilities = (powers / powers.sum()).tolist()
    merged: dict[str, Answer] = {}
    for (score, span_score, (text, rank, start, end, _)), probability in zip(scored, probabilities, strict=False):
        if text in merged:
            merged[text].probability += probability
        else:
            source = sources[rank]
            merged[text] = Answer(
                text, probability, score, span_score, source["score"], source["document_id"], rank, start, end,
                passage_start=source.get("passage_start", 0),
            )  # fmt: skip
    ranked = sorted(merged.values(), key=lambda answer: -answer.probability)
    if settings.version_2_with_negative:
        no_answer = Answer("", probabilities[-1], 0.0, 0.0, 0.0, "", 0, 0, 0)
        best_span_score = max((score for score, _ in spans), default=float("-inf"))
        says_none = -best_span_score > settings.null_score_diff_threshold
        last = min(len(ranked), max(1, settings.n_best_size - 1))
        ranked.insert(0 if says_none else last, no_answer)
    return ranked[: settings.n_best_size]


def comparable_spans(readings: Sequence[Reading], settings: AnswerArguments) -> list[tuple[float, FoundSpan]]:
    """Return all spans of one question's ``readings``, each with its score above "no answer"'s.

    That is the passage's own, or with ``shared_normalization``, where the logits of all passages are on one scale, the
    highest of all passages.
    """
    highest = max((reading.null_score for reading in readings), default=0.0)
    return [
        (span.score - (highest if settings.shared_normalization else reading.null_score), span)
        for reading in readings
        for span in reading.spans
    ]


def _preferences(retrieval: Mapping[int, float], weight: float) -> dict[int, float]:
    """Return what the retriever adds to the scores of each passage, by rank: ``weight`` times its standardised score.

    Retrievers have scales of their own: over the passages of the question theirs are brought to mean 0 and standard
    deviation 1, so that ``weight`` is what one standard deviation is worth in logits. (A linear mix of reader and
    retriever as in Yang et al. 2019, BERTserini.) Nothing is added where there is nothing to prefer.
    """
    scores = np.array(list(retrieval.values()))  # (passages,)
    if weight == 0 or len(scores) < 2 or scores.std() == 0:
        return {}
    standardised = ((scores - scores.mean()) / scores.std()).tolist()
    return {rank: weight * value for rank, value in zip(retrieval, standardised, strict=True)}
