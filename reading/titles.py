"""The title prefix: a reader reads "title: text", and its offsets stay those of the text."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from models.inputs import titled
from reading.nfc import ComposedText, compose


class TitleAt(NamedTuple):
    """``title`` belongs before the text that begins at character ``start`` of the context."""

    start: int
    title: str


def with_titles(context: str, titles: Sequence[TitleAt]) -> ComposedText:
    """Return ``context`` in NFC with ``title: `` put in where each title belongs (the first at 0; none if empty).

    A character of a title stands for no character of the context, the empty span where its text begins. So the
    context, its answers and their offsets are the same with titles as without, and no answer is read off a title.
    """
    text, starts, ends = "", [], []
    borders = [*(title.start for title in titles), len(context)]
    for (_, title), (begin, end) in zip(titles, pairwise(borders), strict=True):
        prefix = compose(titled(title, "")).text
        piece = compose(context[begin:end])
        indices = np.arange(len(piece.text))
        first, last = piece.original_spans(indices, indices + 1)
        text += prefix + piece.text
        starts += [begin] * len(prefix) + (begin + first).tolist()
        ends += [begin] * len(prefix) + (begin + last).tolist()
    return ComposedText(text, starts, ends)
