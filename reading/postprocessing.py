"""Post-processing: rules that tidy an answer in its passage, and the registry of them.

A rule moves the borders of an answer, so that it stays a part of its passage, or looks at all answers of a question.
Where a word ends and its particle begins is seen by Kiwi in the whole passage, which is analysed when a rule first
asks. Nothing here imports torch or Transformers: command lines are read before them.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

from reading.nfc import compose
from runtime.errors import UserError
from runtime.kiwi import kiwi
from runtime.text import inner_span, is_blank

if TYPE_CHECKING:
    from reading.answers import Answer

Span = tuple[int, int]

# Answers with less than this share of the likeliest one's probability stay as they were read: an analysis costs more
# than they matter. A share, so that it does not matter whether "no answer" has probability too.
_WORTH = 0.01


class Morpheme(NamedTuple):
    """``text[start:end]`` and what it is, in the Sejong tag set of Kiwi."""

    tag: str
    start: int
    end: int


class Passage:
    """A text that answers stand in, and its morphemes."""

    def __init__(self, text: str) -> None:
        self.text = text

    @cached_property
    def morphemes(self) -> list[Morpheme]:
        """Kiwi's analysis, which costs some milliseconds when it is first asked for."""
        composed = compose(self.text)  # Kiwi takes loose jamo for unknown words
        found = kiwi("--postprocess").tokenize(composed.text)
        return [
            Morpheme(re.split("[-_]", token.tag)[0], *composed.original_span(token.start, token.end)) for token in found
        ]

    def within(self, start: int, end: int) -> list[Morpheme]:
        """Return the morphemes that have a character in ``text[start:end]``."""
        first = bisect_left(self.morphemes, start, key=lambda morpheme: morpheme.end)
        last = bisect_left(self.morphemes, end, key=lambda morpheme: morpheme.start)
        return [morpheme for morpheme in self.morphemes[first:last] if morpheme.end > start]


# ---------------------------------------------------------------------------------------------------------- the borders

_PUNCTUATION = ",.:;·ㆍ…"
_INITIAL = re.compile(r"(?<![A-Za-z])[A-Za-z]\.$")  # as in U.S. or J. R. R.


def edges(passage: Passage, start: int, end: int) -> Span:
    """Leave out punctuation and what cannot be seen at the ends; a number keeps its point, an initial its full stop."""
    text = passage.text
    while start < end and _is_edge(text[start]) and not (text[start] in ",." and text[start + 1 : start + 2].isdigit()):
        start += 1
    while start < end and _is_edge(text[end - 1]) and not _INITIAL.search(text, start, end):
        end -= 1
    return start, end


def _is_edge(character: str) -> bool:
    return is_blank(character) or character in _PUNCTUATION


_NUMBERS = {"SN", "NR"}
_UNITS = {"NNB", "NNG", "SL", "SW", "XSN"}
_NUMBER_BEFORE = re.compile(r"(?<![A-Za-z\d.,])\d[\d.,]*$")
_NUMERAL = re.compile(r"[\d십백천만억조]$")


def units(passage: Passage, start: int, end: int) -> Span:
    """Take in the rest of a number that is cut, and the unit that follows it: 1443 of 1443년, 년 6월 of 1950년 6월."""
    text = passage.text
    number = _NUMBER_BEFORE.search(text, 0, start)
    if number and _morpheme_at(passage, start, _NUMBERS | {"NNB"}):
        start = number.start()
    if _NUMERAL.search(text, start, end) and _morpheme_at(passage, end - 1, _NUMBERS):
        while part := _morpheme_at(passage, end, _NUMBERS | _UNITS):
            end = part.end
    return start, end


def _morpheme_at(passage: Passage, place: int, tags: Collection[str]) -> Morpheme | None:
    """Return the morpheme that holds the character at ``place``, if it has one of these ``tags``."""
    found = passage.within(place, place + 1)
    return found[0] if found and found[0].tag in tags else None


# What a word ends in: particles, or the copula with its endings, as in 왕이다 and 왕이라는; and what may be before it,
# so that no verb loses its ending.
_TAIL = re.compile(r"(( J\w+)* VCP( E\w+)*)?( J\w+)*$")
_NOMINAL = {
    "NNG", "NNP", "NNB", "NR", "NP", "XSN", "XR", "ETN", "SN", "SL", "SH", "SW", "SSC", "SS", "UN", "W", "Z"
}  # fmt: skip


def particles(passage: Passage, start: int, end: int) -> Span:
    """Leave out the particles, or the copula with its endings, that the last word of the answer ends in.

    Kiwi tells 세종이 (Sejong and a particle) from 고양이 (a cat). Words that are no nouns, numerals or foreign ones
    stay whole, and so does an answer that is nothing else.
    """
    if not passage.text[end - 1 : end].isalpha():
        return start, end
    found = passage.within(start, end)
    tail = _TAIL.search("".join(f" {morpheme.tag}" for morpheme in found))
    kept = len(found) - (tail.group().count(" ") if tail else 0)
    if not 0 < kept < len(found) or found[kept - 1].tag not in _NOMINAL or found[kept - 1].end != found[kept].start:
        return start, end
    return start, found[kept].start


_CLOSING_OF = {
    "(": ")", "[": "]", "{": "}", "<": ">", "《": "》", "〈": "〉", "「": "」", "『": "』", "【": "】",
    "“": "”", "‘": "’",
}  # fmt: skip
_OPENING_OF = {closing: opening for opening, closing in _CLOSING_OF.items()}
_ASIDES = "([{"
_STRAIGHT = {'"': re.compile('"'), "'": re.compile("(?<![A-Za-z])'|'(?![A-Za-z])")}  # not that of king's


def brackets(passage: Passage, start: int, end: int) -> Span:
    """Repair brackets and quotes of which the answer holds only one half, and leave out those around all of it.

    A half at an end is left out. One inside is completed if the other half is the next character, except that what is
    put in (round, square or curly) brackets behind the answer says more of it, and is left out as a whole.
    """
    text = passage.text
    while start < end and (place := _lone(text, start, end)) is not None:
        half = text[place]
        if place == start:
            start += 1
        elif place == end - 1:
            end -= 1
        elif half in _ASIDES:
            end = place
        elif half not in _OPENING_OF and text[end : end + 1] == _CLOSING_OF.get(half, half):
            end += 1
        elif half not in _CLOSING_OF and text[start - 1 : start] == _OPENING_OF.get(half, half):
            start -= 1
        else:
            break
    while end - start > 2 and _encloses(text, start, end):
        start, end = start + 1, end - 1
    return inner_span(text, start, end)


def _lone(text: str, start: int, end: int) -> int | None:
    """Return the place of a bracket or quote in ``text[start:end]`` whose other half is outside; None without one."""
    opened: list[int] = []
    for place in range(start, end):
        if text[place] in _CLOSING_OF:
            opened.append(place)
        elif text[place] in _OPENING_OF and (not opened or text[opened.pop()] != _OPENING_OF[text[place]]):
            return place
    if opened:
        return opened[-1]
    for quote in _STRAIGHT.values():
        places = [match.start() for match in quote.finditer(text, start, end)]
        if len(places) % 2:
            return places[0] if places[0] == start else places[-1]
    return None


def _encloses(text: str, start: int, end: int) -> bool:
    """Whether the first and the last character of ``text[start:end]`` are halves of one pair."""
    first, last = text[start], text[end - 1]
    if first in _STRAIGHT:
        return first == last and first not in text[start + 1 : end - 1]
    return _CLOSING_OF.get(first) == last and _lone(text, start + 1, end - 1) is None


# ------------------------------------------------------------------------------------------------- the answers together


def nested(answers: Sequence[Answer]) -> list[Answer]:
    """Add the probability of an answer that lies in, or around, a likelier one to that one, and leave it out."""
    kept: list[Answer] = []
    for answer in answers:
        for likelier in kept:
            if likelier.rank == answer.rank and _one_holds_the_other(likelier, answer):
                likelier.probability += answer.probability
                break
        else:
            kept.append(answer)
    return kept


def _one_holds_the_other(first: Answer, second: Answer) -> bool:
    start, end = min(first.start, second.start), max(first.end, second.end)
    return (start, end) in ((first.start, first.end), (second.start, second.end))


# ----------------------------------------------------------------------------------------------------------------- all


class Rule(NamedTuple):
    """What a rule looks at: the borders of one answer in its passage, or all answers of a question, best first."""

    borders: Callable[[Passage, int, int], Span] | None = None
    answers: Callable[[Sequence[Answer]], list[Answer]] | None = None


RULES: dict[str, Rule] = {
    "edges": Rule(borders=edges),
    "units": Rule(borders=units),
    "particles": Rule(borders=particles),
    "brackets": Rule(borders=brackets),
    "nested": Rule(answers=nested),
}
DEFAULT_RULES = "edges,units,particles,brackets"  # docs/postprocessing.md: those that lose no exact match


def rules_in(names: str) -> list[str]:
    """Return the rules that ``--postprocess`` names, in the order of :data:`RULES`, in which they are applied.

    ``all`` and ``none`` are understood. Raises :class:`UserError` for an unknown name.
    """
    if names in ("all", "none"):
        return list(RULES) if names == "all" else []
    if fault := fault_of(names):
        raise UserError(f"--postprocess {names} {fault}")
    return [name for name in RULES if name in names.split(",")]


def fault_of(names: str) -> str | None:
    """Return what is wrong with a value of ``--postprocess``; None if it can be read."""
    if names in ("all", "none"):
        return None
    unknown = [name for name in names.split(",") if name not in RULES]
    return f"names no rule {unknown[0]!r}: choose from {', '.join(RULES)}, or give all or none" if unknown else None


def postprocess(answers: Sequence[Answer], passages: Mapping[int, Passage], rules: Sequence[str]) -> list[Answer]:
    """Return the answers of one question, best first, after these ``rules``; ``passages`` are those of each rank.

    Answers that have become one text are merged, their probabilities added. "No answer" stays first or last.
    """
    if not rules:
        return list(answers)
    least = _WORTH * max((answer.probability for answer in answers if answer.text), default=0.0)
    found = _merged([_tidied(answer, passages, rules, least) for answer in answers if answer.text])
    for name in rules:
        if (together := RULES[name].answers) is not None:
            found = _merged(together(found))
    none = [answer for answer in answers if not answer.text]
    return none + found if answers and not answers[0].text else found + none


def _merged(answers: Sequence[Answer]) -> list[Answer]:
    """Return each text once, with the place of its likeliest answer and the probability of all, the likeliest first."""
    merged: dict[str, Answer] = {}
    for answer in answers:
        if (likelier := merged.setdefault(answer.text, answer)) is not answer:
            likelier.probability += answer.probability
    return sorted(merged.values(), key=lambda answer: -answer.probability)


def _tidied(answer: Answer, passages: Mapping[int, Passage], rules: Sequence[str], least: float) -> Answer:
    """Return a copy of the answer with the borders that the rules give it; what leaves nothing is passed over.

    One that is less likely than ``least`` keeps its own.
    """
    start, end = answer.start, answer.end
    if answer.probability >= least:
        passage = passages[answer.rank]
        for name in rules:
            if (move := RULES[name].borders) is not None:
                moved = move(passage, start, end)
                start, end = moved if moved[0] < moved[1] else (start, end)
        return replace(answer, text=passage.text[start:end], start=start, end=end)
    return replace(answer)
