"""Composed Hangul (NFC) for the tokenizer, with offsets that stay true to the original text."""

from __future__ import annotations

import unicodedata
from typing import NamedTuple

import numpy as np


class ComposedText(NamedTuple):
    """A text in NFC; character ``i`` of it stands for ``[starts[i], ends[i])`` of the original."""

    text: str
    starts: list[int] | None
    ends: list[int] | None

    def original_span(self, start: int, end: int) -> tuple[int, int]:
        """Map ``[start, end)`` of the composed text to the original."""
        if self.starts is None or self.ends is None:
            return start, end
        first = self.starts[start] if start < len(self.starts) else self.ends[-1]
        return first, self.ends[end - 1] if start < end else first

    def original_spans(self, starts: np.ndarray, ends: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Map many ``[start, end)``, (spans,) each, as :meth:`original_span` does one."""
        if self.starts is None or self.ends is None or not len(starts):
            return starts, ends
        first = np.append(self.starts, self.ends[-1:])[starts]  # (characters + 1,) -> (spans,)
        return first, np.where(starts < ends, np.array(self.ends)[ends - 1], first)  # (spans,) each


def compose(text: str) -> ComposedText:
    """Return ``text`` in NFC and the way back; without it, decomposed Hangul falls into jamo and ``<unk>``.

    The tokenizers library can compose too, but its offsets then end after the first jamo of a syllable.
    """
    if unicodedata.is_normalized("NFC", text):
        return ComposedText(text, None, None)
    pieces: list[str] = []
    starts: list[int] = []
    ends: list[int] = []
    begin = 0
    for index in range(1, len(text) + 1):
        if index < len(text) and _joins(text[begin:index], text[index]):
            continue
        composed = unicodedata.normalize("NFC", text[begin:index])
        pieces.append(composed)
        starts += [begin] * len(composed)
        ends += [index] * len(composed)
        begin = index
    return ComposedText("".join(pieces), starts, ends)


def _joins(cluster: str, character: str) -> bool:
    """Whether ``character`` composes with, or reorders inside, the ``cluster`` before it."""
    if unicodedata.combining(character):
        return True
    apart = unicodedata.normalize("NFC", cluster) + unicodedata.normalize("NFC", character)
    return unicodedata.normalize("NFC", cluster + character) != apart
