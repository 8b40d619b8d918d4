"""Questions as people also type them: without spaces, with a typo, with numbers in words.

Each changes one text, draws only from the ``rng`` it is given, and returns what it has nothing to change in as it is.
"""

from __future__ import annotations

import random
import re
import unicodedata
from collections.abc import Callable

from runtime.kiwi import kiwi

_TURNS = {"은": "는", "이": "가", "을": "를", "과": "와"}  # after a consonant, after a vowel
_SWAPPED = _TURNS | {after_vowel: after_consonant for after_consonant, after_vowel in _TURNS.items()}
_PARTICLES = ("JX", "JKS", "JKC", "JKO", "JKB", "JC")
_NOUNS = ("NNG", "NNP", "NR", "SL", "SH", "SN", "XR")

_KEYS = ("ㅂㅈㄷㄱㅅㅛㅕㅑㅐㅔ", "ㅁㄴㅇㄹㅎㅗㅓㅏㅣ", "ㅋㅌㅊㅍㅠㅜㅡ")  # the Korean keyboard (KS X 5002)
_INITIALS = "ㄱㄲㄴㄷㄸㄹㅁㅂㅃㅅㅆㅇㅈㅉㅊㅋㅌㅍㅎ"
_VOWELS = "ㅏㅐㅑㅒㅓㅔㅕㅖㅗㅘㅙㅚㅛㅜㅝㅞㅟㅠㅡㅢㅣ"
_FINALS = " ㄱㄲㄳㄴㄵㄶㄷㄹㄺㄻㄼㄽㄾㄿㅀㅁㅂㅄㅅㅆㅇㅈㅊㅋㅌㅍㅎ"
_FIRST_SYLLABLE, _LAST_SYLLABLE = "가", "힣"

_DIGITS = "영일이삼사오육칠팔구"
_TENS = ("", "십", "백", "천")
_MYRIADS = ("", "만", "억", "조", "경")
_NUMBER = re.compile(r"([0-9]{1,3}(?:,[0-9]{3})+|[0-9]+)(?:\.([0-9]+))?")  # the whole, and decimals


def without_spaces(text: str, rng: random.Random) -> str:
    """Leave out what is blank."""
    return "".join(text.split())


def decomposed(text: str, rng: random.Random) -> str:
    """Take syllables apart into letters (NFD), as file names on a Mac are."""
    return unicodedata.normalize("NFD", text)


def swapped_particles(text: str, rng: random.Random) -> str:
    """Write each particle in the form that is wrong there: 왕는, 나라이."""
    swapped = list(text)
    for token in kiwi("swapping particles").tokenize(text):
        if token.tag in _PARTICLES and token.form in _SWAPPED and text[token.start : token.end] == token.form:
            swapped[token.start] = _SWAPPED[token.form]
    return "".join(swapped)


def with_typo(text: str, rng: random.Random) -> str:
    """Hit a neighbouring key once: one letter of one syllable is another."""
    places = [(place, part) for place, syllable in enumerate(text) for part in _replaceable(syllable)]
    if not places:
        return text
    place, part = rng.choice(places)
    letters = _letters(text[place])
    letters[part] = rng.choice(_neighbours(letters[part]))
    return f"{text[:place]}{_syllable(letters)}{text[place + 1 :]}"


def numbers_in_words(text: str, rng: random.Random) -> str:
    """Write numbers as they are read in Sino-Korean: 1443년 as 천사백사십삼년."""

    def read(number: re.Match[str]) -> str:
        decimals = f"점{_one_by_one(number[2])}" if number[2] else ""
        return _in_words(number[1].replace(",", "")) + decimals

    return _NUMBER.sub(read, text)


def only_nouns(text: str, rng: random.Random) -> str:
    """Leave the nouns, foreign words and numbers, as keywords."""
    nouns = [token.form for token in kiwi("leaving the nouns").tokenize(text) if token.tag in _NOUNS]
    return " ".join(nouns) or text


PERTURBATIONS: dict[str, Callable[[str, random.Random], str]] = {
    "spacing": without_spaces,
    "nfd": decomposed,
    "particles": swapped_particles,
    "typo": with_typo,
    "numbers": numbers_in_words,
    "nouns": only_nouns,
}


def perturbed(name: str, texts: list[str], seed: int) -> list[str]:
    """Return ``texts`` changed by the perturbation ``name``; what is drawn for one depends on no other."""
    return [PERTURBATIONS[name](text, random.Random(f"{seed} {name} {text}")) for text in texts]


def _letters(syllable: str) -> list[str]:
    code = ord(syllable) - ord(_FIRST_SYLLABLE)
    return [_INITIALS[code // 588], _VOWELS[code // 28 % 21], _FINALS[code % 28]]


def _syllable(letters: list[str]) -> str:
    initial, vowel, final = (
        among.index(letter) for among, letter in zip((_INITIALS, _VOWELS, _FINALS), letters, strict=True)
    )
    return chr(ord(_FIRST_SYLLABLE) + (initial * 21 + vowel) * 28 + final)


def _replaceable(syllable: str) -> list[int]:
    """Return which of initial, vowel and final are on one key; none of what is no syllable."""
    if not _FIRST_SYLLABLE <= syllable <= _LAST_SYLLABLE:
        return []
    return [part for part, letter in enumerate(_letters(syllable)) if any(letter in row for row in _KEYS)]


def _neighbours(letter: str) -> list[str]:
    """Return the letters beside, above and below, consonants for a consonant and vowels for a vowel."""
    row = next(number for number, keys in enumerate(_KEYS) if letter in keys)
    column = _KEYS[row].index(letter)
    around = [(row, column - 1), (row, column + 1), (row - 1, column), (row + 1, column)]
    keys = [_KEYS[r][c] for r, c in around if 0 <= r < len(_KEYS) and 0 <= c < len(_KEYS[r])]
    return [key for key in keys if (key in _VOWELS) == (letter in _VOWELS)]


def _one_by_one(number: str) -> str:
    return "".join(_DIGITS[int(digit)] for digit in number)


def _in_words(number: str) -> str:
    """Return how digits are read: as a number, or one by one where they are none (007) or more than are counted."""
    if number.startswith("0") or len(number) > 4 * len(_MYRIADS):
        return _one_by_one(number)
    words = ""
    for place, digit in enumerate(reversed(number)):
        myriad, tens = divmod(place, 4)
        if tens == 0 and int(number[: len(number) - place][-4:]):
            words = _MYRIADS[myriad] + words
        if digit != "0":
            words = ("" if digit == "1" and tens else _DIGITS[int(digit)]) + _TENS[tens] + words
    return words.removeprefix("일") if words.startswith("일만") else words
