"""Composing keeps the text's meaning and knows where every character came from."""

from __future__ import annotations

import random
import unicodedata
from itertools import combinations_with_replacement

import numpy as np
import pytest

from reading.nfc import compose

# jamo, syllables with and without a final, marks that reorder, exclusions, singletons, voiced kana, Indic vowels
_ALPHABET = [*"가각한ᄀ학ᆫa ㄱ", "e\u0301", "\u0301", "\u0323", "\u0958", "\u212b", "\uf900", "か", "\u3099", "ে", "া"]


def test_composed_text_is_returned_as_it_is() -> None:
    composed = compose("세종은 1443년에")
    assert composed == ("세종은 1443년에", None, None)
    assert composed.original_span(2, 5) == (2, 5)


def test_decomposed_hangul_is_composed_syllable_by_syllable() -> None:
    original = unicodedata.normalize("NFD", "강은 A")  # ᄀ ᅡ ᆼ ᄋ ᅳ ᆫ ␣ A
    composed = compose(original)
    assert composed.text == "강은 A"
    assert composed.starts == [0, 3, 6, 7]
    assert composed.ends == [3, 6, 7, 8]
    assert composed.original_span(1, 4) == (3, 8)


@pytest.mark.parametrize(("span", "expected"), [((0, 0), (0, 0)), ((1, 1), (3, 3)), ((2, 2), (6, 6))])
def test_an_empty_span_stays_between_the_same_characters(span: tuple[int, int], expected: tuple[int, int]) -> None:
    assert compose(unicodedata.normalize("NFD", "강산")).original_span(*span) == expected


def test_random_texts_compose_as_unicode_says_and_every_character_comes_from_its_place() -> None:
    rng = random.Random(0)
    composed_texts = 0
    for _ in range(2000):
        original = "".join(rng.choices(_ALPHABET, k=rng.randint(1, 12)))
        text, starts, ends = compose(original)
        assert text == unicodedata.normalize("NFC", original)
        if starts is None:
            continue
        composed_texts += 1
        places = sorted(set(zip(starts, ends, strict=True)))
        assert [start for start, _ in places] == [0, *(end for _, end in places[:-1])]  # no gap, no overlap
        assert places[-1][1] == len(original)
        assert starts == sorted(starts)
        for character, start, end in zip(text, starts, ends, strict=True):
            assert character in unicodedata.normalize("NFC", original[start:end])
    assert composed_texts > 1000


def test_every_span_of_decomposed_hangul_maps_to_the_same_words() -> None:
    text = "훈민정음은 1443년에 만들었다."
    original = unicodedata.normalize("NFD", text)
    composed = compose(original)
    for start in range(len(text)):
        for end in range(start + 1, len(text) + 1):
            there, to = composed.original_span(start, end)
            assert unicodedata.normalize("NFC", original[there:to]) == text[start:end]


@pytest.mark.parametrize("original", ["강산은 A", unicodedata.normalize("NFD", "강산은 A"), ""])
def test_many_spans_are_mapped_as_each_of_them(original: str) -> None:
    composed = compose(original)
    spans = list(combinations_with_replacement(range(len(composed.text) + 1), 2)) if original else []
    starts, ends = np.array(spans, dtype=np.int64).reshape(-1, 2).T
    found = zip(*composed.original_spans(starts, ends), strict=True)
    assert list(found) == [composed.original_span(*span) for span in spans]
