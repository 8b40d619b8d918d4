"""Votes: several readers' answers to the same questions become one.

Texts that are equal after KorQuAD's normalisation (:func:`reading.metrics.normalize_korean`) are one choice. A member
is anything that answers: our n-best answers, or one text per question from another program.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations_with_replacement
from pathlib import Path
from typing import Any, NamedTuple, TypeGuard

import numpy as np

from reading.metrics import normalize_korean, score_examples
from reading.predictions import predictions_of
from runtime.errors import DataError, Problem, UserError
from runtime.files import read_users_json
from runtime.log import get_logger
from runtime.text import is_encodable

logger = get_logger(__name__)

METHODS = ("soft", "hard", "logits")
VOTED_FILES = ("nbest_predictions.json", "predictions.json")  # read of a member, the first that is there
_LARGEST = 1e30  # score or probability that is taken for one
_HALF = "holds half of a surrogate pair, which is no character"
_ROUNDING = 1e-6  # by which a sum of probabilities may exceed 1


class Candidate(NamedTuple):
    """One answer of a member; ``place`` is document id, start and end (characters), and None for a bare text."""

    text: str
    key: str  # the normalised text
    probability: float
    place: tuple[str, int, int] | None = None
    span_score: float = 0.0


class Member(NamedTuple):
    """Who votes: every question's candidates, best first; a question without any is an abstention."""

    name: str
    candidates: dict[str, list[Candidate]]


class Choice(NamedTuple):
    """What was voted for: ``votes`` is the weight of the members whose best answer it is."""

    text: str
    probability: float
    votes: float


class Step(NamedTuple):
    """The members (rows) that were added to an ensemble, and the exact match (percent) with them."""

    added: tuple[int, ...]
    exact_match: float


# -------------------------------------------------------------------------------------------------------------- members


def read_members(paths: Sequence[str]) -> list[Member]:
    """Read the members; all have to answer the same questions. :class:`DataError` lists what is wrong, one line each.

    A path is a folder with ``nbest_predictions.json`` or, where that is missing, ``predictions.json``, or such a file.
    """
    members, problems = [], []
    for path in paths:
        try:
            members.append(read_member(path))
        except DataError as error:
            problems += error.problems
    if not problems:
        problems = [problem for member in members[1:] for problem in _foreign(member, members[0])]
    if problems:
        raise DataError(
            problems, "Every one of --members has to answer the same questions: correct or leave out these."
        )
    return members


def read_member(path: str) -> Member:
    """Read one member; :class:`DataError` with one problem when it is missing or broken."""
    file = Path(path)
    if file.is_dir():
        found = [file / name for name in VOTED_FILES if (file / name).is_file()]
        if not found:
            raise DataError([Problem(path, "", f"the folder has no {' and no '.join(VOTED_FILES)}")])
        file = found[0]
    content = read_users_json(file)
    if not isinstance(content, dict):
        raise DataError([Problem(str(file), "", "must hold one mapping, of each id to a text or to a list of answers")])
    if not content:
        raise DataError([Problem(str(file), "", "answers no question")])
    candidates, faults = {}, []
    for question, entry in content.items():
        fault = _fault_of(entry) if is_encodable(question) else f"the id {_HALF}"
        if fault is None:
            candidates[question] = _candidates_of(entry)
        else:
            faults.append((question, fault))
    if faults:
        (question, fault), *others = faults
        more = f" (and so on: {len(faults)} of {len(content)} ids are wrong)" if others else ""
        raise DataError([Problem(str(file), f"id {question!r}", fault + more)])
    return Member(path, candidates)


def _fault_of(entry: Any) -> str | None:
    """Return what is wrong with a question's text or list of answers."""
    if isinstance(entry, str):
        return None if is_encodable(entry) else f"the answer {_HALF}"
    if not isinstance(entry, list):
        return f"the answer must be a text or a list of answers, not {str(entry)[:40]}"
    for number, answer in enumerate(entry, start=1):
        if not isinstance(answer, dict) or not isinstance(answer.get("text"), str):
            return f"answer {number} has no text"
        if not is_encodable(answer["text"]):
            return f"answer {number} {_HALF}"
        probability = answer.get("probability")
        if not _is_number(probability) or not 0 <= probability <= 1 + _ROUNDING:
            return f"answer {number} needs a probability from 0 to 1, not {str(probability)[:40]}"
    return None


def _is_number(value: Any) -> TypeGuard[float]:
    """Whether ``value`` is a number that means something: not nan, not infinity."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= _LARGEST


def _candidates_of(entry: Any) -> list[Candidate]:
    if isinstance(entry, str):
        return [Candidate(entry, normalize_korean(entry), 1.0)]
    candidates = []
    for answer in entry:
        text, (start, end) = answer["text"], (answer.get("start"), answer.get("end"))
        document, score = answer.get("document_id"), answer.get("span_score")
        offset = answer.get("passage_start", 0)
        where: dict[str, Any] = {}
        whole = all(isinstance(number, int) for number in (start, end, offset))
        if isinstance(document, str) and whole and _is_number(score):
            where = {"place": (document, offset + start, offset + end), "span_score": float(score)}
        candidates.append(Candidate(text, normalize_korean(text), float(answer["probability"]), **where))
    return candidates


def _foreign(member: Member, first: Member) -> Iterable[Problem]:
    """Yield the problem with a member that answers other questions than the first."""
    missing = [question for question in first.candidates if question not in member.candidates]
    unknown = [question for question in member.candidates if question not in first.candidates]
    if len(missing) == len(first.candidates):
        yield Problem(member.name, "", f"answers none of the questions of {first.name}")
    elif missing:
        count = f"{len(missing)} of the {len(first.candidates)} questions of {first.name}"
        yield Problem(member.name, "", f"does not answer {count} (the first: {missing[0]!r})")
    elif unknown:
        count = f"{len(unknown)} questions that {first.name} does not"
        yield Problem(member.name, "", f"answers {count} (the first: {unknown[0]!r})")


def check_spans(members: Sequence[Member]) -> None:
    """Raise :class:`UserError` unless span scores can be summed: all are of the same documents, cut at the same places.

    That two tokenizers are one cannot be seen from spans alone. Seen are answers without spans, spans that hold
    another text than the same span of the first member, and members that share a span with the first for less than
    half of the questions.
    """
    way_out = "--method logits sums scores of the same spans, of one corpus and one tokenizer: use --method soft"
    for member in members:
        for question, candidates in member.candidates.items():
            if any(candidate.place is None for candidate in candidates):
                raise UserError(f"{member.name} has no span scores and offsets (id {question!r}): {way_out}")
    first = members[0]
    for member in members[1:]:
        shared, both = 0, 0
        for question, candidates in member.candidates.items():
            theirs = {one.place: one.text for one in candidates if one.text}
            ours = {one.place: one.text for one in first.candidates[question] if one.text}
            common = [place for place in theirs if place in ours]
            for place in common:
                if theirs[place] != ours[place]:
                    document, start, end = place or ("", 0, 0)
                    raise UserError(
                        f"{member.name} and {first.name} disagree on what characters {start} to {end} of document "
                        f"{document!r} are (id {question!r}: {theirs[place]!r}, {ours[place]!r}): {way_out}"
                    )
            shared += bool(common)
            both += bool(theirs and ours)
        if 2 * shared < both:
            few = f"for {shared} of {both} questions only"
            raise UserError(f"{member.name} shares a span (document, start, end) with {first.name} {few}: {way_out}")


# --------------------------------------------------------------------------------------------------------------- voting


def vote(members: Sequence[Member], weights: Sequence[float], method: str) -> dict[str, list[Choice]]:
    """Return every question's choices, best first, in the order of the first member.

    ``method`` decides by what: ``soft`` the sum of the members' probabilities, ``hard`` the number of members whose
    best answer it is, ``logits`` the sum of the members' span scores, of each the best for that text, and the lowest
    that it lists where it lists no such text. All are weighted. Ties go to the higher summed probability, then to the
    shorter text, then to what the first member lists first. Of texts with one key, the one with the most weight is
    shown. A member that is alone in having a weight keeps its order.

    The probability of a choice is the weighted mean of the members', with ``logits`` the softmax of the weighted mean
    of the span scores.
    """
    voting = [(member, weight) for member, weight in zip(members, weights, strict=True) if weight > 0]
    return {
        question: _choices([(member.candidates[question], weight) for member, weight in voting], method)
        for question in members[0].candidates
    }


def _choices(ballots: Sequence[tuple[list[Candidate], float]], method: str) -> list[Choice]:
    """Return the choices of one question from the candidates and the weight of each member."""
    masses: dict[str, list[float]] = defaultdict(list)
    votes: dict[str, list[float]] = defaultdict(list)
    spellings: dict[str, dict[str, _Spelling]] = defaultdict(dict)
    for candidates, weight in ballots:
        for rank, candidate in enumerate(candidates):
            spelling = spellings[candidate.key].setdefault(candidate.text, _Spelling([], []))
            masses[candidate.key].append(weight * candidate.probability)
            spelling.masses.append(weight * candidate.probability)
            if rank == 0:
                votes[candidate.key].append(weight)
                spelling.votes.append(weight)
    total = _sum(weight for _, weight in ballots)
    mass = {key: _sum(values) for key, values in masses.items()}
    count = {key: _sum(votes[key]) for key in mass}
    text = {key: _shown(found, method) for key, found in spellings.items()}
    scores = _span_scores(ballots, mass) if method == "logits" else {}
    strength = {"soft": mass, "hard": count, "logits": scores}[method]
    order = list(mass)  # as the members list them, the first member first
    if len(ballots) > 1:
        order.sort(key=lambda key: (-strength[key], -mass[key], len(text[key])))
    probability = {key: value / total for key, value in mass.items()}
    if scores:
        highest = max(scores.values())
        softmax = {key: math.exp((score - highest) / total) for key, score in scores.items()}
        probability = {key: value / sum(softmax.values()) for key, value in softmax.items()}
    return [Choice(text[key], probability[key], count[key]) for key in order]


def _sum(values: Iterable[float]) -> float:
    """Return the sum to 12 digits: what is equal on paper is equal here, in whatever order it is added."""
    return float(f"{sum(values):.12g}")


class _Spelling(NamedTuple):
    masses: list[float]
    votes: list[float]


def _shown(spellings: Mapping[str, _Spelling], method: str) -> str:
    """Return the text with the most weight, by the same rules as choices are decided."""

    def rank(text: str) -> tuple[float, float, int]:
        masses, votes = spellings[text]
        return (-_sum(votes) if method == "hard" else 0.0, -_sum(masses), len(text))

    return min(spellings, key=rank) if len(spellings) > 1 else next(iter(spellings))


def _span_scores(ballots: Sequence[tuple[list[Candidate], float]], keys: Iterable[str]) -> dict[str, float]:
    """Return the weighted sum of each key's span scores; a member that abstains has none."""
    best: list[tuple[dict[str, float], float, float]] = []
    for candidates, weight in ballots:
        own: dict[str, float] = {}
        for candidate in candidates:
            own[candidate.key] = max(candidate.span_score, own.get(candidate.key, -math.inf))
        if own:
            best.append((own, min(one.span_score for one in candidates), weight))
    return {key: _sum(weight * own.get(key, lowest) for own, lowest, weight in best) for key in keys}


# --------------------------------------------------------------------------------------------------------------- tuning


def select(members: Sequence[Member], method: str, references: Mapping[str, Sequence[str]]) -> list[Step]:
    """Choose members greedily by exact match: first the best, then whichever gains most, until none gains.

    Where no single member gains, two are tried at once: a second vote can only tie with the first, a third decides.
    A member may be added again: how often it was is its weight. Of equal gains, the first is taken. The result is
    never worse on ``references`` (id to gold answers) than the best member. Source: Caruana et al. 2004, Ensemble
    Selection from Libraries of Models, sections 2.1 and 2.2, where one is added at a time.
    """

    def exact_match(predictions: Mapping[str, str]) -> float:
        return 100 * float(score_examples(predictions, references, "korquad").exact_match.mean())

    def best_of(additions: Iterable[tuple[int, ...]]) -> Step:
        trials = []
        for added in additions:
            counts = weights_of([*steps, Step(added, 0.0)], len(members))
            trials.append(Step(added, exact_match(predictions_of(vote(members, counts, method)))))
        return max(trials, key=lambda step: step.exact_match)

    alone = [Step((index,), exact_match(predictions_of(member.candidates))) for index, member in enumerate(members)]
    steps = [max(alone, key=lambda step: step.exact_match)]
    while True:
        for size in (1, 2):
            best = best_of(combinations_with_replacement(range(len(members)), size))
            if best.exact_match > steps[-1].exact_match:
                steps.append(best)
                logger.info("with %s: exact match %.2f", " and ".join(members[i].name for i in best.added), best[1])
                break
        else:
            return steps


def weights_of(steps: Sequence[Step], members: int) -> list[int]:
    """Return how often each of so many members was added."""
    return [sum(step.added.count(index) for step in steps) for index in range(members)]


def error_correlations(members: Sequence[Member], references: Mapping[str, Sequence[str]]) -> list[list[float | None]]:
    """Return Pearson's correlation of every two members' errors (1 wrong, 0 right, by exact match).

    None where a member is always right or always wrong: then there is none.
    """
    wrong = np.array(
        [1 - score_examples(predictions_of(one.candidates), references, "korquad").exact_match for one in members]
    )  # (members, questions)
    with np.errstate(invalid="ignore", divide="ignore"):
        correlations = np.atleast_2d(np.corrcoef(wrong))  # (members, members)
    return [[None if np.isnan(value) else float(value) for value in row] for row in correlations]
