"""Text as it is seen: what counts as blank, which spellings are one, and which texts are the same."""

from __future__ import annotations

import re
import sys
import unicodedata
from collections.abc import Collection
from functools import cache, lru_cache

import numpy as np

FOLD_VERSION = 1  # raise it when :func:`fold` gives another text, so that indexes of folded text are built again

_TEXTS_KEPT = 2**16  # whose folded form is kept: some 100 MB

_PLANES = (range(0x20000), range(0xE0000, 0xE1000))  # no other has control or format characters
_INVISIBLE = {
    code: category
    for plane in _PLANES
    for code in plane
    if (category := unicodedata.category(chr(code))) in ("Cc", "Cf")
}
_LAST_SPACE = 0x3000  # of Unicode's white space, the one of Chinese characters
_FILLERS = "\u115f\u1160\u2800\u3164\uffa0"  # letters of Hangul, and a Braille pattern, that show nothing
_MARKS = (0x34F, *range(0xFE00, 0xFE10), *range(0xE0100, 0xE01F0))  # say how to draw the character before them
_DOTS = "ㆍ・･•‧∙⋅⸱"  # what is written for the middle dot ·
# NFKC makes an old vowel of ㆍ, which some texts have as it is; after a consonant it is the vowel of a syllable.
_LONE_DOT = re.compile("(?<![\u1100-\u115f\ua960-\ua97c])\u119e")

# Format characters have no width, and what is beside them belongs together; controls and fillers take a place.
_UNSEEN = {code: None if category == "Cf" else " " for code, category in _INVISIBLE.items() if not chr(code).isspace()}
_UNSEEN |= dict.fromkeys(map(ord, _FILLERS), " ")
_ESCAPED = {code: repr(chr(code))[1:-1] for code in (*_INVISIBLE, 0x2028, 0x2029, *range(0xD800, 0xE000))}
_ESCAPED_BUT_LINES = {code: escape for code, escape in _ESCAPED.items() if chr(code) not in "\n\t"}
_FOLDED = _UNSEEN | dict.fromkeys(_MARKS) | dict.fromkeys(map(ord, _DOTS), "·")


def is_blank(text: str) -> bool:
    """Whether nothing in ``text`` can be seen: it holds white space, format and control characters, or nothing."""
    return text.isspace() or all(character.isspace() or ord(character) in _UNSEEN for character in text)


def is_encodable(text: str) -> bool:
    """Whether a file can hold ``text``: JSON can spell half of a surrogate pair, which is no character."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def inner_span(text: str, start: int, end: int) -> tuple[int, int]:
    """Return ``[start, end)`` of ``text`` without the blanks at its edges; an empty span if there is nothing else."""
    while start < end and is_blank(text[start]):
        start += 1
    while start < end and is_blank(text[end - 1]):
        end -= 1
    return start, end


def seen_characters(text: str) -> np.ndarray:
    """Return the places of the characters of ``text`` that can be seen, in order: (seen,) int."""
    codes = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype=np.uint32)  # (characters,)
    return np.flatnonzero(~_blank_codes()[codes])


@cache
def _blank_codes() -> np.ndarray:
    """Return which of all code points are blank: boolean (code points,)."""
    blank = np.zeros(sys.maxunicode + 1, dtype=bool)
    blank[[*_UNSEEN, *(code for code in range(_LAST_SPACE + 1) if chr(code).isspace())]] = True
    return blank


def strip_blanks(text: str) -> str:
    """Return ``text`` without the blanks at its edges."""
    start, end = inner_span(text, 0, len(text))
    return text[start:end]


def seen_text(text: str) -> str:
    """Return ``text`` composed (NFC) and without what cannot be seen; controls become spaces."""
    return unicodedata.normalize("NFC", text.translate(_UNSEEN))


def escaped(text: str, lines: bool = False) -> str:
    r"""Return ``text`` with controls and what cannot be seen as Python writes them: ``\x1b``, ``\u202e``, ``\ud800``.

    What is written so cannot command a terminal, nor pass for another line; with ``lines`` line breaks and tabs stay.
    """
    return text.translate(_ESCAPED_BUT_LINES if lines else _ESCAPED)


def fold(text: str) -> str:
    """Return ``text`` as it is searched: characters that look alike, or are forms of the same, become one.

    Compatibility forms become plain ones (NFKC, as of ＫＢＳ, ㎝ and ㄱ), every middle dot is ``·``, format characters
    vanish and controls are spaces. Upper and lower case stay.
    """
    return _LONE_DOT.sub("·", unicodedata.normalize("NFKC", text.translate(_FOLDED)))


def comparable(text: str) -> str:
    """Return ``text`` folded and without blanks: texts that agree in this are the same text."""
    return _words(text).replace(" ", "")


def answer_in_text(answers: Collection[str], text: str) -> bool:
    """Whether one of ``answers`` occurs in ``text``, in whatever forms: a reader can answer from it.

    Where its blanks are others (훈민 정음 for 훈민정음) it must begin with a word: 의주 does not occur in 배의 주름.
    Blank answers occur nowhere.
    """
    text = _words(text)
    return any(_occurs(answer, text) for answer in map(_words, answers) if answer)


def answer_in_passage(answers: Collection[str], title: str, text: str) -> bool:
    """Whether one of ``answers`` occurs in the title or the text of a passage, as :func:`answer_in_text` has it.

    Such a passage is no negative of a question: models read "title: text", and would learn that an answer is none.
    """
    return answer_in_text(answers, title) or answer_in_text(answers, text)


def _occurs(answer: str, text: str) -> bool:
    if answer in text:
        return True
    answer = answer.replace(" ", "")
    if answer not in text.replace(" ", ""):
        return False
    return re.search(f"(?<![^ ]){' ?'.join(map(re.escape, answer))}", text) is not None


@lru_cache(maxsize=_TEXTS_KEPT)
def _words(text: str) -> str:
    """Return ``text`` folded, its words between single blanks."""
    return " ".join(fold(text).split())
