"""What goes wrong: where each answer was found, how far it is from the gold answer, and which stage lost it.

A question is read in stages: passages are retrieved, one of them is chosen, in it a sentence, in that the span. Its
loss counts for the first stage that failed, so that the losses of all stages add up to what exact match lacks.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from loading.statistics import QUESTION_WORDS, question_word
from reading.metrics import METRICS
from reading.voting import Candidate
from runtime.kiwi import kiwi
from runtime.statistics import percent
from runtime.text import is_blank

if TYPE_CHECKING:
    import datasets

KINDS = {
    "exact": "equal to a gold answer",
    "particle only": "right but for particles or endings at its end, or at the gold answer's",
    "too long": "holds the gold answer and more",
    "too short": "a part of the gold answer",
    "same sentence": "another span of the sentence that answers",
    "elsewhere": "another sentence or passage",
    "no answer": "empty where there is an answer, or the other way round",
}
"""How an answer differs from the gold answers."""

STAGES = {
    "retrieval": "no passage retrieved is the gold passage or holds a gold answer",
    "passage": "the answer was taken from a passage without a gold answer",
    "sentence": "it was taken from another sentence of a right passage",
    "boundary": "it is another span of the right sentence",
    "no answer": "the answer is empty where there is one, or the other way round",
}
"""What can lose a question, in the order of reading."""

_BOUNDARY = ("particle only", "too long", "too short", "same sentence")

Span = tuple[int, int]


class Passage(NamedTuple):
    """A passage that was read for a question; its ``text`` is the document's from character ``start`` on."""

    document_id: str
    title: str
    text: str
    rank: int
    start: int = 0


class Place(NamedTuple):
    """Where an answer was found, ``passage.text[start:end]``, and the gold answers in that passage."""

    passage: Passage
    start: int
    end: int
    gold_spans: list[Span]


class Finding(NamedTuple):
    """What became of one question: a key of :data:`KINDS`, one of :data:`STAGES` or None, and the answer's place.

    ``probability`` is the reader's, None where it gave none.
    """

    kind: str
    stage: str | None
    place: Place | None
    probability: float | None


class Bin(NamedTuple):
    """The answers whose probability is in ``(low, high]``: how many, their mean probability, the share that is right.

    The first bin holds 0 too; the last two are in percent, and 0 where there is no answer.
    """

    low: float
    high: float
    answers: int
    confidence: float
    accuracy: float


def diagnose(
    example: Mapping[str, Any],
    prediction: str,
    candidates: Sequence[Candidate],
    passages: Sequence[Passage],
    right: bool,
    retrieved: bool,
    metric: str = "korquad",
) -> Finding:
    """Return what became of ``example``, answered with ``prediction``, the best of ``candidates``, from ``passages``.

    ``right`` is its exact match by ``metric``; ``retrieved`` whether one of the passages is the gold passage or holds a
    gold answer.
    """
    golds = example["answers"]["text"]
    place = locate(prediction, candidates, passages, example)
    kind = kind_of(prediction, golds, right, place, metric)
    stage = stage_of(kind, prediction, bool(golds), retrieved, place)
    named = [candidate.probability for candidate in candidates if candidate.text == prediction]
    return Finding(kind, stage, place, named[0] if named else None)


# -------------------------------------------------------------------------------------------------------------- places


def gold_spans(text: str, example: Mapping[str, Any]) -> list[Span]:
    """Return where gold answers are in ``text``: as annotated in its own context, else wherever they occur."""
    answers = example["answers"]
    if text == example["context"]:
        spans = [
            (start, start + len(gold)) for gold, start in zip(answers["text"], answers["answer_start"], strict=True)
        ]
    else:
        golds = [gold for gold in dict.fromkeys(answers["text"]) if not is_blank(gold)]
        spans = [match.span() for gold in golds for match in re.finditer(re.escape(gold), text)]
    return sorted(set(spans))


def locate(
    prediction: str, candidates: Sequence[Candidate], passages: Sequence[Passage], example: Mapping[str, Any]
) -> Place | None:
    """Return where ``prediction`` was found in ``passages``, which are in the order of their ranks.

    That is the place of the best of ``candidates`` with this text, or, for answers without one, the first passage that
    holds the text. None where no passage does.
    """
    if is_blank(prediction):
        return None
    for candidate in candidates:
        if candidate.text == prediction and candidate.place is not None:
            document_id, start, _ = candidate.place
            for passage in passages:
                begin = start - passage.start
                if passage.document_id == document_id and begin >= 0 and passage.text.startswith(prediction, begin):
                    return Place(passage, begin, begin + len(prediction), gold_spans(passage.text, example))
    for passage in passages:
        if (start := passage.text.find(prediction)) >= 0:
            return Place(passage, start, start + len(prediction), gold_spans(passage.text, example))
    return None


def sentences_at(text: str, start: int, end: int) -> Span:
    """Return the characters of the sentences that ``text[start:end]`` is in; white space parts them after ``.!?…``."""
    breaks = list(_SENTENCE_BREAK.finditer(text))
    first = max((found.end() for found in breaks if found.end() <= start), default=0)
    last = min((found.start() for found in breaks if found.start() >= end), default=len(text))
    return first, last


_SENTENCE_BREAK = re.compile(r"""(?:(?<=[.!?。…])|(?<=[.!?。…]["'”’)\]]))\s+|\s*\n\s*""")


# --------------------------------------------------------------------------------------------------- kinds and stages


def kind_of(prediction: str, golds: Sequence[str], right: bool, place: Place | None, metric: str = "korquad") -> str:
    """Return the key of :data:`KINDS` for an answer to a question with these gold answers (none: unanswerable).

    ``right`` is its exact match; ``place`` where it was found, without which only its text is compared.
    """
    if right:
        return "exact"
    if not golds or is_blank(prediction):
        return "no answer"
    normalize = METRICS[metric].normalize
    if any(differ_by_particles(normalize(prediction), normalize(gold)) for gold in golds):
        return "particle only"
    if place is None:
        return "elsewhere"
    near = [gold for gold in place.gold_spans if _overlap(gold, (place.start, place.end))]
    if any(place.start <= start and end <= place.end for start, end in near):
        return "too long"
    if any(start <= place.start and place.end <= end for start, end in near):
        return "too short"
    own = sentences_at(place.passage.text, place.start, place.end)
    theirs = (sentences_at(place.passage.text, *gold) for gold in place.gold_spans)
    return "same sentence" if any(_overlap(own, gold) for gold in theirs) else "elsewhere"


def stage_of(kind: str, prediction: str, answerable: bool, retrieved: bool, place: Place | None) -> str | None:
    """Return the key of :data:`STAGES` that lost a question, None for a right answer.

    ``kind`` is what :func:`kind_of` says; ``retrieved`` whether a passage that was read is the gold passage or holds a
    gold answer.
    """
    if kind == "exact":
        return None
    if not answerable:
        return "no answer"
    if not retrieved:
        return "retrieval"
    if is_blank(prediction):
        return "no answer"
    if kind in _BOUNDARY:
        return "boundary"
    return "sentence" if place is not None and place.gold_spans else "passage"


def waterfall(stages: Sequence[str | None]) -> list[tuple[str, float, float]]:
    """Return for each of :data:`STAGES` the points of exact match that it lost, and exact match had it never failed.

    In percent, the second with all stages before it as perfect, and with whatever comes after it as good for the
    questions that it lost: an upper bound, 100 at the last stage.
    """
    exact_match, rows = percent([stage is None for stage in stages]), []
    for name in STAGES:
        lost = percent([stage == name for stage in stages])
        exact_match += lost
        rows.append((name, lost, exact_match))
    return rows


def differ_by_particles(first: str, second: str) -> bool:
    """Whether one of two normalised texts is the other with particles (조사) or a copula (이다) at its end.

    Kiwi says what is one: 서울에서 is 서울 and 에서, the 도 of 경기도 is a part of its name.
    """
    shorter, longer = sorted((first, second), key=len)
    return 0 < len(shorter) < len(longer) and longer.startswith(shorter) and _is_particles(longer, len(shorter))


def _is_particles(text: str, start: int) -> bool:
    """Whether a morpheme of ``text`` begins at ``start``, and it and all that follow it are particles or a copula."""
    tokens = [token for token in kiwi("tools.report").tokenize(text) if token.start >= start]
    return bool(tokens) and tokens[0].start == start and all(_PARTICLES.match(token.tag) for token in tokens)


_PARTICLES = re.compile("J|VCP|E[PFCT]")


def _overlap(first: Span, second: Span) -> bool:
    return first[0] < second[1] and second[0] < first[1]


# -------------------------------------------------------------------------------------------------------------- groups

_LENGTHS = {"1–2": 2, "3–4": 4, "5–8": 8, "9–16": 16, "17 and more": np.inf}
_RANKS = {"1": 1, "2–5": 5, "6–10": 10, "11 and more": np.inf}


def question_groups(
    examples: datasets.Dataset, ranks: Mapping[str, tuple[float, float]] | None
) -> dict[str, dict[str, np.ndarray]]:
    """Return, under a title each, ways to part questions into groups, boolean (n,); no group is empty.

    By question word; by length (characters, the shortest gold answer's) and place in its passage, of questions with an
    answer; and, with ``ranks`` (see :class:`reading.comparison.Member`), by the rank of the gold passage.
    """
    answers = list(examples["answers"])
    lengths = np.array([min(map(len, found["text"]), default=0) for found in answers])  # (n,)
    places = np.array(
        [
            found["answer_start"][0] / max(1, len(context)) if found["text"] else np.nan
            for found, context in zip(answers, examples["context"], strict=True)
        ]
    )  # (n,)
    words = np.array([question_word(question) for question in examples["question"]], dtype=object)  # (n,)
    thirds = {"first third": 1 / 3, "middle third": 2 / 3, "last third": np.inf}
    parted = {
        "question word": {word: words == word for word in QUESTION_WORDS},
        "answer length (characters)": _up_to(_LENGTHS, np.where(lengths > 0, lengths, np.nan)),
        "place of the answer in its passage": _up_to(thirds, places),
    }
    if ranks is not None:
        nowhere = (np.nan, np.nan)
        found_at = np.array([ranks.get(example_id, nowhere)[0] for example_id in examples["id"]])  # (n,)
        parted["rank of the gold passage"] = _up_to(_RANKS, found_at) | {"not retrieved": np.isnan(found_at)}
    return {title: {name: group for name, group in groups.items() if group.any()} for title, groups in parted.items()}


def _up_to(bounds: Mapping[str, float], values: np.ndarray) -> dict[str, np.ndarray]:
    """Return the groups of ``values`` (n,) up to each bound, above the one before; NaN is in none."""
    below, groups = -np.inf, {}
    for name, bound in bounds.items():
        groups[name] = (below < values) & (values <= bound)  # (n,)
        below = bound
    return groups


# --------------------------------------------------------------------------------------------------------- calibration


def calibration(probabilities: Iterable[float], right: Iterable[float], bins: int = 10) -> list[Bin]:
    """Return so many equal bins of the probabilities that a reader gave its answers, with how often these are right.

    Source: Guo et al. 2017, On Calibration of Modern Neural Networks, https://arxiv.org/abs/1706.04599, section 2.
    """
    probability, is_right = np.array(list(probabilities)), np.array(list(right), dtype=np.float64)  # (n,)
    bin_of = np.clip(np.ceil(probability * bins) - 1, 0, bins - 1)  # (n,)
    found = []
    for number in range(bins):
        within = bin_of == number  # (n,)
        means = (percent(probability[within]), percent(is_right[within])) if within.any() else (0.0, 0.0)
        found.append(Bin(number / bins, (number + 1) / bins, int(within.sum()), *means))
    return found


def calibration_error(bins: Sequence[Bin]) -> float:
    """Return the expected calibration error in percent: the mean distance of confidence from accuracy."""
    total = sum(one.answers for one in bins)
    return sum(one.answers * abs(one.confidence - one.accuracy) for one in bins) / max(1, total)
